"""A shard's writer: takes batches of events, folds them with what Redis holds, and applies them with their next offset.

The order of a batch: load what it touches, fold in memory, apply in one atomic step. After any doubt (an apply
refused or cut off) `recover` drops everything in memory and starts again from what Redis holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from functools import partial

from aggregator.calls.event import Event
from aggregator.layout.write import ShardWrite
from aggregator.prices.book import PriceBook
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.batch_changes import Applied, BatchChanges
from aggregator.writing.cell_cache import Cells
from aggregator.writing.changes import Known, count, note_blocks, write_changes
from aggregator.writing.directories import Directories
from aggregator.writing.expiry import ExpiredChunks
from aggregator.writing.fold import Fold
from aggregator.writing.ids import Ids
from aggregator.writing.kept_projects import KeptProjects
from aggregator.writing.kept_retention import KeptRetention
from aggregator.writing.known_expiries import KnownExpiries
from aggregator.writing.limits import ShardLimits
from aggregator.writing.loading import load_records
from aggregator.writing.objects_access import NO_OBJECTS, ObjectsAccess
from aggregator.writing.present import read_present
from aggregator.writing.records import Records
from aggregator.writing.repricing import reprice_calls
from aggregator.writing.source_log import SourceLog
from aggregator.writing.unpriced import UnpricedCounts
from aggregator.writing.upkeep import Upkeep
from aggregator.writing.waiting import WaitingEnds


class Shard:
    """The one writer of a shard. Not thread-safe. Methods raise what the store raises; then call `recover`."""

    def __init__(
        self,
        store: ShardStore,
        prices: PriceBook,
        retention: Retention,
        limits: ShardLimits = ShardLimits(),  # noqa: B008  frozen
        objects: ObjectsAccess = NO_OBJECTS,
    ) -> None:
        self._store = store
        self._objects = objects
        self._keys = store.keys
        self._prices = prices
        self._retention = retention
        self._limits = limits
        self.recover()

    def recover(self) -> None:
        """Forget everything but what Redis holds."""
        self._store.check_policy()
        # Before the rest: the store then refuses what is read of any other state.
        self._next_offset = self._sent_offset = self._store.next_offset()
        self._under_way: Callable[[], None] | None = None
        fields = self._store.shard_fields()
        hashes = [self._keys.projects, self._keys.until, self._keys.writer, self._keys.unpriced, self._keys.log]
        projects, until, written_by, unpriced, log = self._store.read_hashes(hashes)
        self._unpriced = UnpricedCounts(unpriced)
        self._log = SourceLog(log)
        self._kept = KeptRetention(self._retention, written_by.get(b"retention"))
        numbers = {name.decode(): int(number) for name, number in projects.items()}
        self._as_of_us = int(fields.get("as_of_us", 0))
        self._projects = KeptProjects(until, self._store, self._retention)
        self._store.register(dict.fromkeys(self._projects.are_kept(numbers, self._as_of_us), self._projects.longest_s))
        next_number, projects_numbered = (int(fields.get(name, 0)) for name in ("calls_numbered", "projects_numbered"))
        self._records = Records(numbers, next_number, projects_numbered)
        self._ids = Ids(self._store, self._limits.seal_after_s, next_number)
        self._waiting = WaitingEnds(self._store)
        present = partial(read_present, self._store)
        self._cells = Cells(self._keys, present, self._objects.frames)
        self._upkeep = Upkeep(self._store, self._retention, self._limits, present, self._objects)
        self._directories = Directories(self._store, self._limits.views_max)
        self._expiries = KnownExpiries()
        dropped = (int(fields.get(name, 0)) for name in ("chunks_dropped", "dropped_before_us"))
        self._expired = ExpiredChunks(self._store, self._retention, *dropped)

    @property
    def next_offset(self) -> int | None:
        """The first offset not yet applied, as this writer knows it; None for a new shard."""
        return self._next_offset

    @property
    def sent_offset(self) -> int | None:
        """The first offset that is neither applied nor under way to Redis."""
        return self._sent_offset

    @property
    def dropped_before_us(self) -> int:
        """Calls from before this instant may have no record any more: whether they were counted is not known."""
        return self._expired.dropped_before_us

    @property
    def next_element(self) -> int:
        """How many elements of the message at the next offset, which is a batch, are applied already."""
        return self._store.next_element

    @property
    def store(self) -> ShardStore:
        """Return the store of the shard."""
        return self._store

    @property
    def log(self) -> Mapping[str, str]:
        """Return which log has been folded: `topic_id`, and `leader_epoch` of the message before the next offset."""
        return self._log.notes

    def note_log(self, name: str, value: str) -> None:
        """Say which log is folded; stored with the next step."""
        self._log.note(name, value)

    def apply(
        self, events: Sequence[Event], next_offset: int, as_of_us: int | None, now_us: int, counters: Mapping[str, int]
    ) -> Applied:
        """Fold the events of all messages from the stored next offset up to `next_offset`, and store both.

        `as_of_us`: all that was in the log before this instant is among them or was applied before; None: not known.
        What the shard is as of never goes back. `now_us` decides what is past its retention. `counters`: more to add
        to the shard's counters, which count since the shard began.
        """
        applied = self.begin(events, next_offset, as_of_us, now_us, counters)
        self.finish()
        return applied

    def take_in(self, events: Sequence[Event], now_us: int) -> None:
        """Fold events that another shard's log holds, where nobody else writes: the next offset stays as it is."""
        self.begin(events, self._next_offset, None, now_us, {}, self._store.next_element)
        self.finish()

    def begin(
        self,
        events: Sequence[Event],
        next_offset: int | None,
        as_of_us: int | None,
        now_us: int,
        counters: Mapping[str, int],
        next_element: int = 0,
    ) -> Applied:
        """Do what `apply` does, up to where Redis has been sent everything; `finish`, or the next step, sees it stored.

        `next_element`: of the message at `next_offset`, a batch, the elements before this one are among the events.
        """
        self.finish()
        self._as_of_us = max(self._as_of_us, as_of_us or 0)
        self._seal(now_us, len(events))
        known = Known(self._records.next_number, self._records.projects_numbered)
        fields = load_records(events, self._records, self._ids, self._store)
        fold = Fold(self._records, self._prices, self._limits.error_bytes_max)
        for event, field in zip(events, fields, strict=True):
            fold.add(event, field)
        changes = fold.finish()
        write = ShardWrite()
        self._waiting.note(events, fields, self._records, write)
        until_us = min(now_us, self._as_of_us)
        self._write_changes(changes, known, until_us, write)
        changes.counters.update(counters)  # some may be negative: what was unpriced may not be counted any more
        dropped = set(self._expired.drop(until_us, known.records, self._records.calls, write))
        self._kept.note(now_us, self._keys, write)
        longer = self._projects.note(events, self._records.projects, now_us, write)
        self._let_go(until_us, {event.project_id for event in events}, write)
        self._log.write(self._keys, write)
        count(changes.counters, self._records.next_number, self._as_of_us, self._keys, write)
        self._expiries.leave_known(now_us, write)
        if longer:
            self._store.register(longer)
        self._under_way = self._store.send(self._next_offset, next_offset, write, next_element)
        self._sent_offset = next_offset
        self._forget_excess(changes, write, dropped)
        return Applied(*(changes.counters[name] for name in Applied.__struct_fields__))

    def reprice(self, numbers: range, now_us: int) -> int:
        """Give the calls of these record numbers, unless they are about to go, the cost that they have by the prices of
        this writer; returns how many cost otherwise than before.
        """
        self.finish()
        known = Known(self._records.next_number, self._records.projects_numbered)
        fold = Fold(self._records, self._prices)
        oldest_us = now_us - self._retention.calls_s * SECOND_US
        repriced = reprice_calls(fold, numbers, oldest_us, self._records, self._store)
        changes, write = fold.finish(), ShardWrite()
        if repriced:
            self._write_changes(changes, known, min(now_us, self._as_of_us), write)
            count(changes.counters, self._records.next_number, self._as_of_us, self._keys, write)
            self._store.replace(write)
        self._forget_excess(changes, write, set())
        return repriced

    def _write_changes(self, changes: BatchChanges, known: Known, until_us: int, write: ShardWrite) -> None:
        """Note what is to be stored of records, indexes, rollups and what waits to be sealed."""
        write_changes(changes, self._records, known, self._keys, self._retention, write)
        rows_still_shown = self._cells.rows_still_shown
        touched = self._cells.add(self._directories.by_view(changes, write), write)
        changes.counters["rows_still_shown"] += self._cells.rows_still_shown - rows_still_shown
        note_blocks(touched, changes.latest_starts_us, self._keys, self._retention, write)
        self._upkeep.note(touched, changes.records, self._records.next_number, until_us, write)
        self._unpriced.add(changes.unpriced, self._keys, write)

    def seal(self, now_us: int) -> int:
        """Seal or move some of what is due, while nothing else is to be done; returns how much, 0 where nothing is."""
        self.finish()
        return self._seal(now_us, 1)

    def _seal(self, now_us: int, count_min: int) -> int:
        """Seal as many cells, records and ids as a batch of so many events may have finished, or a step's more."""
        if self._next_offset is None:  # filled from other shards' logs, without a fence yet
            return 0
        until_us, numbers = min(now_us, self._as_of_us), range(self._expired.first_number, self._records.next_number)
        sealed = self._upkeep.step(until_us, now_us, count_min, self._cells.forget)
        return sealed + self._ids.move(until_us, numbers, count_min)

    def finish(self) -> None:
        """Return when what was begun is stored."""
        if self._under_way is not None:
            wait, self._under_way = self._under_way, None
            wait()
            self._next_offset = self._sent_offset

    def touch(self, as_of_us: int) -> None:
        """Everything has been applied as of this instant, without a new message."""
        self.note_end(self._next_offset, as_of_us)

    def note_end(self, next_offset: int | None, as_of_us: int | None) -> None:
        """Everything there is has been applied, without a new message: as of `as_of_us`, if that is known.

        `next_offset`: where the log ends; what lies before it and was not read holds no message, and is counted as
        `offsets_skipped`.
        """
        self.finish()
        self._as_of_us = max(self._as_of_us, as_of_us or 0)
        write = ShardWrite()
        if self._as_of_us:
            write.set(self._keys.shard, "as_of_us", self._as_of_us)
        if next_offset is not None and self._next_offset is not None and next_offset > self._next_offset:
            write.increments["offsets_skipped"] = next_offset - self._next_offset
            self.note_log("leader_epoch", "-1")
        self._log.write(self._keys, write)
        self._let_go(self._as_of_us, frozenset(), write)
        self._projects.sweep(self._as_of_us)
        element = self._store.next_element if next_offset == self._next_offset else 0
        self._store.send(self._next_offset, next_offset, write, element)()
        self._next_offset = self._sent_offset = next_offset
        if as_of_us is not None:
            self._seal(as_of_us, 1)

    @property
    def partition(self) -> int:
        """The partition that it belongs to."""
        return self._store.shard.partition

    @property
    def waiting(self) -> WaitingEnds:
        """The ends whose starts have not come."""
        return self._waiting

    def forget_waiting(self, fields: Iterable[bytes]) -> None:
        """Let these ends wait no more: another shard has them."""
        self.finish()
        write = self._waiting.forget(fields)
        self._store.send(self._next_offset, self._next_offset, write, self._store.next_element)()

    def have_started(self, events: Sequence[Event]) -> list[bool]:
        """Return for each event whether this shard holds the start of its call."""
        projects, numbers, calls = self._records.projects, self._records.numbers, self._records.calls
        known = [event for event in events if event.project_id in projects]
        fields = dict(zip(map(id, known), load_records(known, self._records, self._ids, self._store), strict=True))
        found = (numbers.get(fields.get(id(event), b"")) for event in events)
        return [number is not None and calls[number].is_started for number in found]

    def skip_lost(self, next_offset: int) -> None:
        """Go on at `next_offset`: what lies before it is gone from the log unread, and is counted as `offsets_lost`."""
        self.finish()
        assert self._next_offset is not None
        write = ShardWrite(increments={"offsets_lost": next_offset - self._next_offset})
        self._store.apply(self._next_offset, next_offset, write)
        self._next_offset = self._sent_offset = next_offset

    def _let_go(self, until_us: int, in_hand: Set[str], write: ShardWrite) -> None:
        """Forget projects of which nothing is kept any more."""
        records, dropped = self._records, self._expired.first_number
        if gone := self._projects.go(until_us, dropped, records.next_number, records.projects, in_hand, write):
            self._unpriced.forget_projects(gone.values(), self._keys, write)
            self._waiting.forget_projects(gone.values(), write)
            for project_id in gone:
                records.forget_project(project_id)

    def _forget_excess(self, changes: BatchChanges, write: ShardWrite, dropped: set[int]) -> None:
        for number in dropped:
            self._records.forget(number)
        self._records.trim(changes.records, self._limits.calls_cached_max)
        self._cells.trim(self._limits.cells_cached_max)
        self._expiries.note(write)
        self._expiries.trim(self._limits.expiries_cached_max)
        self._directories.trim(self._limits.directories_cached_max)
