"""Keeps the first calls of busy minutes at hand while calls are folded, so that nobody has to read all of them.

Of a minute with few calls nothing is kept. When it gets many, all that it has is looked through once; from then on,
what changes. Of a busy minute is kept which view each call is of, and, of each view that many of its calls are of, the
first by each order: so who asks for the first calls of any view finds them, or few calls that they are among.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

import numpy as np

from aggregator.calls.call import Call
from aggregator.layout.first_calls import (
    minute_field,
    no_first_calls,
    pack_first_calls,
    unpack_first_calls,
    view_field,
)
from aggregator.layout.keys import MINUTE, ShardKeys
from aggregator.layout.minute_calls import (
    OP_ALONE,
    UNKNOWN,
    MinuteCalls,
    minute_calls,
    pack_minute_calls,
    piece_field,
    unpack_minute_calls,
)
from aggregator.layout.moved_minutes import unpack_place
from aggregator.layout.postings import block_field, unpack_block, unpack_latest
from aggregator.layout.sealed import Location
from aggregator.layout.slots import ProjectDay, ProjectMinute, day_of_minute
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.objects.frame_cache import FrameCache
from aggregator.rollups.levels import Retention
from aggregator.rollups.view import OP
from aggregator.rollups.views import ALL_CALLS, ViewDirectory
from aggregator.time_units import MINUTE_US
from aggregator.writing.batch_changes import BatchChanges
from aggregator.writing.busy_minute import BusyMinute, bring_back
from aggregator.writing.changes import day_expiry
from aggregator.writing.combinations import Combination, Combinations, NumberedCall, Values, by_values
from aggregator.writing.kept_view import KeptView, offer
from aggregator.writing.limits import ShardLimits
from aggregator.writing.unsealing import Read, Stored

# A minute with more calls than this has been there before anything was kept, or is of a batch that large: it is read as
# it always was. Some 5 µs each, once a minute.
LOOKED_THROUGH_MAX = 100_000
# Busy minutes at hand: of 10,000 calls and 20 views some 300 KB each; and minutes that have none.
KEPT_AT_HAND_MAX = 16
KNOWN_MAX = 20_000


class BusyMinutes:
    """The busy minutes of a shard. After any doubt whether what was noted is stored, nothing here is right any more.

    `read` gives what is there of fields by key. `latest` gives the latest postings of a key and value that a batch has
    appended to, `calls_of` how many calls a view of a minute has that it has changed. `load` brings records to hand.
    `directory_of` gives the views of a day of the batch. `frames` reads minutes that have moved into objects.
    """

    def __init__(
        self,
        keys: ShardKeys,
        limits: ShardLimits,
        read: Read,
        latest: Callable[[str, bytes], bytes | None],
        calls_of: Callable[[ProjectMinute, Iterable[int]], list[int]],
        load: Callable[[Iterable[int]], Mapping[int, Call]],
        directory_of: Callable[[int, int], ViewDirectory],
        frames: FrameCache,
    ) -> None:
        self._keys = keys
        self._limits = limits
        self._read = read
        self._latest = latest
        self._calls_of = calls_of
        self._load = load
        self._directory_of = directory_of
        self._frames = frames
        self._minutes: dict[ProjectMinute, BusyMinute | None] = {}  # None: nothing is kept; those used last are last
        self._combinations = Combinations()

    def absent(self, minutes: Iterable[ProjectMinute]) -> dict[Key, list[Field]]:
        """Return the fields of those minutes of which it is not known whether anything is kept: to be read."""
        wanted: dict[Key, list[Field]] = {}
        for minute in minutes:
            if minute not in self._minutes:
                wanted.setdefault(self._key(minute), []).append(minute_field(minute[1]))
        return wanted

    def note(
        self,
        minutes: Iterable[ProjectMinute],
        changes: BatchChanges,
        calls: Mapping[int, Call],
        stored: Stored,
        retention: Retention,
        write: ShardWrite,
    ) -> dict[ProjectMinute, str | None]:
        """Take in what a batch changes in these minutes. `stored`: of the absent fields, those that there are.

        Returns those of them that are busy, each with the name of the object that it has come back from, if it has.
        Raises what reading raises.
        """
        kept: dict[ProjectMinute, dict[Values, list[NumberedCall]]] = {}
        busy: dict[ProjectMinute, str | None] = {}
        for minute in minutes:
            place = self._bring(minute, stored, write)
            if self._minutes[minute] is not None:
                kept[minute] = {}
                busy[minute] = None if place is None else place.name
            elif (numbers := self._newly_busy(minute, changes, write)) is not None:
                busy[minute] = None
                self._minutes[minute] = BusyMinute(is_whole=True, pieces=0)
                found = self._load(numbers)
                of_minute = by_values((number, found[number]) for number in numbers if number in found)
                self._take(minute, of_minute, set(numbers), write)
                write.expiries[self._key(minute)] = day_expiry(day_of_minute(minute)[1], retention.calls_s)
        if kept:
            for group, tally in changes.groups.items():
                changed = kept.get(group[:2])
                if changed is not None:
                    changed[group[2:]] = [(number, calls[number]) for number in tally.numbers]
            for minute, changed in kept.items():
                self._take(minute, changed, _new_calls(minute, changes), write)
        return busy

    def _bring(self, minute: ProjectMinute, stored: Stored, write: ShardWrite) -> Location | None:
        """Have at hand what is kept of a minute; where it lay in an object, and does so no more, it returns where."""
        if minute in self._minutes:
            self._minutes[minute] = self._minutes.pop(minute)
            return None
        key = self._key(minute)
        said = stored.get((key, minute_field(minute[1])))
        place = unpack_place(said)
        if place is not None:
            self._minutes[minute] = bring_back(minute[1], key, place, self._frames, write)
        else:
            self._minutes[minute] = None if said is None else BusyMinute(is_whole=False, pieces=int(said))
        return place

    def forget(self, minutes: Iterable[ProjectMinute]) -> None:
        """Have these minutes at hand no more: they have moved, or others are needed."""
        for minute in minutes:
            self._minutes.pop(minute, None)

    def _newly_busy(self, minute: ProjectMinute, changes: BatchChanges, write: ShardWrite) -> list[int] | None:
        """The record numbers of all calls of a minute that a batch has made busy; else None."""
        (project, day), value = day_of_minute(minute), minute_field(minute[1])
        if not _new_calls(minute, changes):
            return None
        calls = self._calls_of(minute, [ALL_CALLS])[0]
        stored = self._latest(self._keys.postings(project, MINUTE, day), value)
        if stored is None or not self._limits.busy_calls_min <= calls <= LOOKED_THROUGH_MAX:
            return None
        latest = unpack_latest(stored)
        if latest.count_max < calls:
            return None
        key = self._keys.posting_blocks(project, MINUTE, day)
        fields: list[Field] = [block_field(block, value) for block in range(latest.full_blocks)]
        new = write.fields.get(key, {})
        before = self._read({key: [field for field in fields if field not in new]}) if fields else {}
        numbers = latest.numbers
        for field in fields:
            block = new.get(field, before.get((key, field)))
            if isinstance(block, bytes):
                numbers += unpack_block(block)
        return numbers if len(numbers) == calls else None  # some have moved to pages: then nothing is kept

    def _take(
        self, minute: ProjectMinute, changed: Mapping[Values, list[NumberedCall]], new: set[int], write: ShardWrite
    ) -> None:
        """Take in calls of a busy minute that have changed; `new`: those that no piece has yet."""
        known = self._minutes[minute]
        assert known is not None
        day = day_of_minute(minute)
        directory, get = self._directory_of(*day), self._combinations.get
        by_combination = [(get(day, values, directory), some) for values, some in changed.items()]
        wanted = set[int]().union(*(combination.views for combination, _ in by_combination))
        self._bring_views(minute, known, wanted)
        if new:
            self._append(minute, known, new, by_combination, write)
        kept, count_max = known.kept, self._limits.first_calls_max
        # Many combinations have views in common, of which something is kept: those of all users of an op.
        offered: dict[tuple[int, ...], list[NumberedCall]] = {}
        for combination, some in by_combination:
            offered.setdefault(tuple([view for view in combination.views if view in kept]), []).extend(some)
        for views, some in offered.items():
            offer(some, [kept[view] for view in views], new, count_max)
        if many := self._with_many(minute, known, wanted):
            self._begin(day, known, self._calls(minute, known, write), many)
        for view in wanted:
            if view in kept and kept[view].take_in(count_max):
                write.set(self._key(minute), view_field(minute[1], view), pack_first_calls(kept[view].first))

    def _with_many(self, minute: ProjectMinute, known: BusyMinute, views: Iterable[int]) -> list[int]:
        """The views of these of which nothing is kept yet though many calls are theirs."""
        others = [view for view in views if view not in known.kept and view not in known.refused]
        calls_min = self._limits.busy_calls_min
        pairs = zip(others, self._calls_of(minute, others), strict=True)
        return [view for view, calls in pairs if calls >= calls_min]

    def _bring_views(self, minute: ProjectMinute, known: BusyMinute, wanted: Iterable[int]) -> None:
        """Have what is kept of these views at hand."""
        absent = [] if known.is_whole else [view for view in wanted if view not in known.looked_for]
        if absent:
            key = self._key(minute)
            fields: list[Field] = [view_field(minute[1], view) for view in absent]
            stored = self._read({key: fields})
            for view, field in zip(absent, fields, strict=True):
                if (packed := stored.get((key, field))) is not None:
                    known.kept[view] = KeptView(view, unpack_first_calls(packed))
            known.looked_for.update(absent)

    def _append(
        self,
        minute: ProjectMinute,
        known: BusyMinute,
        new: set[int],
        by_combination: Sequence[tuple[Combination, Sequence[NumberedCall]]],
        write: ShardWrite,
    ) -> None:
        """Add a piece of the calls that are new."""
        begin_us = minute[1] * MINUTE_US
        numbers: list[int] = []
        views: list[int] = []
        starts_ms: list[int] = []
        for combination, some in by_combination:
            for number, call in some:
                if number in new and call.started_us is not None:
                    numbers.append(number)
                    views.append(combination.named)
                    starts_ms.append((call.started_us - begin_us) // 1_000)
        if not numbers:
            return
        calls = minute_calls(numbers, views, starts_ms)
        write.set(self._key(minute), piece_field(minute[1], known.pieces), pack_minute_calls(calls))
        known.pieces += 1
        write.set(self._key(minute), minute_field(minute[1]), known.pieces)
        if known.calls is not None:
            known.calls.append(calls)

    def _begin(self, day: ProjectDay, known: BusyMinute, calls: MinuteCalls, views: Iterable[int]) -> None:
        """Look once through all calls of these views, which are kept from now on."""
        directory = self._directory_of(*day)
        named, place = np.unique(calls.views, return_inverse=True)
        is_told = bool(((named != UNKNOWN) & (named < OP_ALONE)).all())
        by_number = self._combinations.by_number(day, directory)
        begun: dict[int, KeptView] = {}
        for view in views:
            if is_told or view == ALL_CALLS or by_number[view].dimensions == OP:
                begun[view] = KeptView(view, no_first_calls())
            else:  # the directory is full: whose calls some are only their records tell
                known.refused.add(view)
        groups: dict[tuple[int, ...], int] = {}
        of_named = []
        for one in named.tolist():
            theirs = tuple([view for view in self._combinations.views_of(day, one, directory) if view in begun])
            of_named.append(groups.setdefault(theirs, len(groups)))
        group_of = np.array(of_named)[place]
        for theirs, group in groups.items():
            if theirs:
                numbers = calls.numbers[group_of == group].tolist()
                found = self._load(numbers)
                some = [(number, found[number]) for number in numbers if number in found]
                offer(some, [begun[view] for view in theirs], found.keys(), self._limits.first_calls_max)
        known.kept |= begun

    def _calls(self, minute: ProjectMinute, known: BusyMinute, write: ShardWrite) -> MinuteCalls:
        """All calls that pieces have, those of the batch with them."""
        if known.calls is None:
            key = self._key(minute)
            fields: list[Field] = [piece_field(minute[1], piece) for piece in range(known.pieces)]
            new = write.fields.get(key, {})
            stored = self._read({key: [field for field in fields if field not in new]})
            pieces = [new.get(field) or stored[key, field] for field in fields]
            known.calls = [unpack_minute_calls([piece for piece in pieces if isinstance(piece, bytes)])]
        known.calls = [MinuteCalls(*map(np.concatenate, zip(*known.calls, strict=True)))]
        return known.calls[0]

    def trim(self) -> None:
        """Forget the minutes that were not used for longest."""
        kept = [minute for minute, known in self._minutes.items() if known is not None]
        self.forget(kept[: max(0, len(kept) - KEPT_AT_HAND_MAX)])
        self.forget(list(islice(self._minutes, max(0, len(self._minutes) - KNOWN_MAX))))

    def _key(self, minute: ProjectMinute) -> str:
        return self._keys.busy_minutes(*day_of_minute(minute))


def _new_calls(minute: ProjectMinute, changes: BatchChanges) -> set[int]:
    """The record numbers of the calls of a minute that began to be counted in a batch."""
    postings = changes.postings.get(day_of_minute(minute))
    of_minute = None if postings is None else postings.get(MINUTE)
    return set(map(int.from_bytes, () if of_minute is None else of_minute.get(minute_field(minute[1]), ())))
