"""What a shard's writer has in memory: all that it knows of what Redis holds, and what it reads of the rest."""

from collections.abc import Iterable, Mapping, Set
from functools import partial

from aggregator.calls.call import Call
from aggregator.layout.slots import TouchedBlock
from aggregator.layout.write import ShardWrite
from aggregator.prices.book import PriceBook
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.writing.batch_changes import BatchChanges
from aggregator.writing.cell_cache import Cells
from aggregator.writing.changes import KnownNumbers, note_blocks, write_changes
from aggregator.writing.closing import Closing
from aggregator.writing.directories import Directories
from aggregator.writing.expiry import ExpiredChunks
from aggregator.writing.first_calls import BusyMinutes
from aggregator.writing.ids import Ids
from aggregator.writing.kept_projects import KeptProjects
from aggregator.writing.kept_retention import KeptRetention
from aggregator.writing.known_expiries import KnownExpiries
from aggregator.writing.latest_starts import LatestStarts
from aggregator.writing.limits import ShardLimits
from aggregator.writing.loading import load_numbers
from aggregator.writing.objects_access import ObjectsAccess
from aggregator.writing.open_minutes import OpenMinutes
from aggregator.writing.posting_tails import PostingTails
from aggregator.writing.present import read_present
from aggregator.writing.records import Records
from aggregator.writing.source_log import SourceLog
from aggregator.writing.unpriced import UnpricedCounts
from aggregator.writing.upkeep import Upkeep
from aggregator.writing.waiting import WaitingEnds


class ShardState:
    """The state of a shard, of which what is not at hand is read when it is needed; `store` reads of one state alone.

    After any doubt whether what came of it is stored, nothing here is right any more: then it is made anew.
    """

    def __init__(
        self,
        store: ShardStore,
        prices: PriceBook,
        retention: Retention,
        limits: ShardLimits,
        objects: ObjectsAccess,
    ) -> None:
        self.store, self.keys, self.frames = store, store.keys, objects.frames
        self.prices, self.retention, self.limits = prices, retention, limits
        fields = store.shard_fields()
        keys = self.keys
        hashes = [keys.projects, keys.until, keys.writer, keys.unpriced, keys.log, keys.open_minutes]
        projects, until, written_by, unpriced, log, opened = store.read_hashes(hashes)
        self.unpriced = UnpricedCounts(unpriced)
        self.log = SourceLog(log)
        self.kept = KeptRetention(retention, written_by.get(b"retention"))
        numbers = {name.decode(): int(number) for name, number in projects.items()}
        self.as_of_us = int(fields.get("as_of_us", 0))
        self.projects = KeptProjects(until, store, retention)
        store.register(dict.fromkeys(self.projects.are_kept(numbers, self.as_of_us), self.projects.longest_s))
        next_number, projects_numbered = (int(fields.get(name, 0)) for name in ("calls_numbered", "projects_numbered"))
        self.records = Records(numbers, next_number, projects_numbered)
        self.ids = Ids(store, limits.seal_after_s, next_number)
        self.waiting = WaitingEnds(store)
        present = partial(read_present, store)
        self.tails = PostingTails(keys)
        self.starts = LatestStarts(keys)
        self.cells = Cells(keys, present, objects.frames)
        latest, calls_of = self.tails.latest, self.cells.calls_of
        self.directories = Directories(store, limits.views_max)
        directory_of, frames = self.directories.of_day, objects.frames
        self.busy = BusyMinutes(keys, limits, present, latest, calls_of, self._load, directory_of, frames)
        self.expiries = KnownExpiries()
        self.minutes = OpenMinutes(keys, limits, present, store.field_names, opened)
        self.closing = Closing(store, retention, self.minutes, self.cells, self.expiries)
        told = self._forget_moved, self.busy.forget, self.minutes.are_open
        self.upkeep = Upkeep(store, retention, limits, present, objects, next_number, *told)
        dropped = (int(fields.get(name, 0)) for name in ("chunks_dropped", "dropped_before_us"))
        self.expired = ExpiredChunks(store, retention, *dropped)

    def _load(self, numbers: Iterable[int]) -> Mapping[int, Call]:
        load_numbers(numbers, self.records, self.store, self.frames)
        return self.records.calls

    def note_as_of(self, as_of_us: int | None) -> None:
        """All that was in the log before this instant is known, or will be with the batch at hand (None: not said)."""
        self.as_of_us = max(self.as_of_us, as_of_us or 0)

    def write_changes(
        self, changes: BatchChanges, known: KnownNumbers, until_us: int, now_us: int, write: ShardWrite
    ) -> None:
        """Note what is to be stored of records, indexes, rollups and what waits to be sealed.

        `until_us`: how far time has come for this shard; `now_us`: the time now.
        """
        write_changes(changes, self.records, known, self.keys, self.retention, write)
        rows_still_shown = self.cells.rows_still_shown
        by_view = self.directories.by_view(changes, write)
        absent = self.tails.absent(changes) | self.starts.absent(by_view) | self.busy.absent(by_view)
        open_views = self.minutes.take_in(by_view, now_us, write)
        touched, stored = self.cells.add(by_view, absent, write, open_views)
        self.starts.add(by_view, changes.latest_starts_us, stored, write)
        self.tails.append(changes, stored, self.retention, write)
        busy = self.busy.note(by_view, changes, self.records.calls, stored, self.retention, write)
        changes.counters["rows_still_shown"] += self.cells.rows_still_shown - rows_still_shown
        note_blocks(self.minutes.touched_too(touched, open_views), self.keys, self.retention, write)
        self.minutes.keep_longer(touched.values(), self.retention, write)
        records = changes.records, changes.postings, busy, self.records.next_number
        self.upkeep.note(touched, *records, until_us, write)
        self.unpriced.add(changes.unpriced, self.keys, write)

    def close(self, until_us: int, now_us: int) -> int:
        """Add up some of the minutes that are over; returns how many cells, 0 where there is nothing to close."""

        def note(touched: Mapping[str, TouchedBlock], write: ShardWrite) -> None:
            self.upkeep.note(touched, (), (), {}, self.records.next_number, until_us, write)

        return self.closing.step(until_us, now_us, note)

    def let_go(self, until_us: int, in_hand: Set[str], write: ShardWrite) -> None:
        """Forget projects of which nothing is kept any more, but those that are `in_hand`."""
        records, dropped = self.records, self.expired.first_number
        if gone := self.projects.go(until_us, dropped, records.next_number, records.projects, in_hand, write):
            self.unpriced.forget_projects(gone.values(), self.keys, write)
            self.waiting.forget_projects(gone.values(), write)
            for project_id in gone:
                records.forget_project(project_id)

    def _forget_moved(self, write: ShardWrite) -> None:
        """Postings have left their keys, which may be gone with them."""
        self.tails.forget_moved(write)
        self.expiries.note(write)

    def forget_excess(self, write: ShardWrite, changed: Iterable[int], dropped: Iterable[int]) -> None:
        """Keep within the limits once `write` has been sent: it changed and dropped records of these numbers."""
        for number in dropped:
            self.records.forget(number)
        self.records.trim(changed, self.limits.calls_cached_max)
        self.cells.trim(self.limits.cells_cached_max)
        self.starts.trim(self.limits.cells_cached_max)
        self.tails.trim(self.limits.posting_tails_bytes_max)
        self.expiries.note(write)
        self.expiries.trim(self.limits.expiries_cached_max)
        self.busy.trim()
        self.directories.trim(self.limits.directories_cached_max)
