"""Keeps the first calls of busy minutes at hand while calls are folded, so that nobody has to read all of them.

Of a minute with few calls nothing is kept. When it gets many, all that it has is looked through once; from then on,
what changes. Kept are those of all calls and of each op: other views are many, and each has few calls of a minute.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice

from aggregator.calls.call import Call
from aggregator.layout.first_calls import (
    FirstCalls,
    Place,
    minute_field,
    no_first_calls,
    pack_first_calls,
    unpack_first_calls,
    view_field,
)
from aggregator.layout.keys import MINUTE, ShardKeys, day_of
from aggregator.layout.postings import block_field, unpack_block, unpack_latest
from aggregator.layout.slots import ProjectMinute
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.rollups.levels import Retention
from aggregator.rollups.orders import ORDERS, cost_of
from aggregator.rollups.views import ALL_CALLS
from aggregator.time_units import MINUTE_US
from aggregator.writing.batch_changes import BatchChanges
from aggregator.writing.changes import day_expiry
from aggregator.writing.limits import ShardLimits
from aggregator.writing.unsealing import Read, Stored

# A minute with more calls than this has been there before anything was kept, or is of a batch that large: it is read as
# it always was. Some 5 µs each, once a minute.
LOOKED_THROUGH_MAX = 100_000
# Minutes whose first calls are at hand, a megabyte each where there are twenty ops; and minutes that have none.
KEPT_AT_HAND_MAX = 16
KNOWN_MAX = 20_000

_Entry = tuple[int, int, int]
"""Rank, start and record number of a call."""


class _Kept:
    """The first calls of a view by an order, and which these are."""

    __slots__ = ("first", "listed")

    def __init__(self, first: FirstCalls) -> None:
        self.first = first
        self.listed = {number for *_, number in first.entries}

    def put(self, found: list[_Entry], changed: set[int], count_max: int) -> bool:
        """Put entries of calls that have changed in their places instead of those they had; whether any differs.

        All that come before the floor are given, and maybe others.
        """
        first = self.first
        floor, entries = first.floor, first.entries
        if floor is not None:
            found = [entry for entry in found if entry[:2] > floor]
        if moved := self.listed & changed:
            entries = [entry for entry in entries if entry[2] not in moved]
        elif not found:
            return False
        entries = sorted(entries + found, reverse=True)
        if entries == first.entries:
            return False
        if len(entries) > count_max:
            left_out = entries[count_max][:2]
            first.floor = left_out if floor is None else max(floor, left_out)
            del entries[count_max:]
        first.entries = entries
        self.listed = {number for *_, number in entries}
        return True


class _Minute:
    """What is kept of a minute, by view and order. `is_whole`: views that are not here have no calls; else they may be
    stored.
    """

    __slots__ = ("is_whole", "views")

    def __init__(self, is_whole: bool) -> None:
        self.is_whole = is_whole
        self.views: dict[int, list[_Kept]] = {}


class BusyMinutes:
    """The busy minutes of a shard. After any doubt whether what was noted is stored, nothing here is right any more.

    `read` gives what is there of fields by key. `latest` gives the
    latest postings of a key and value that a batch has appended to, `calls_of` how many calls a minute has that it has
    changed. `load` brings records to hand. `view_of` gives the
    number of an op's view on a day, None where there is none.
    """

    def __init__(
        self,
        keys: ShardKeys,
        limits: ShardLimits,
        read: Read,
        latest: Callable[[str, bytes], bytes | None],
        calls_of: Callable[[ProjectMinute], int],
        load: Callable[[Iterable[int]], Mapping[int, Call]],
        view_of: Callable[[int, int, str], int | None],
    ) -> None:
        self._keys = keys
        self._limits = limits
        self._read = read
        self._latest = latest
        self._calls_of = calls_of
        self._load = load
        self._view_of = view_of
        self._minutes: dict[ProjectMinute, _Minute | None] = {}  # None: nothing is kept; those used last are last

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
    ) -> None:
        """Take in what a batch changes in these minutes. `stored`: of the absent fields, those that there are."""
        kept: dict[ProjectMinute, list[tuple[int, Call]]] = {}
        for minute in minutes:
            if self._known(minute, stored) is not None:
                kept[minute] = []
            elif (numbers := self._newly_busy(minute, changes, write)) is not None:
                self._minutes[minute] = _Minute(is_whole=True)
                write.set(self._key(minute), minute_field(minute[1]), b"")
                found = self._load(numbers)
                self._take(minute, [(number, found[number]) for number in numbers if number in found], write)
                write.expiries[self._key(minute)] = day_expiry(day_of(minute[1] * MINUTE_US), retention.calls_s)
        if kept:
            for number in changes.records:
                call = calls[number]
                if call.started_us is not None:
                    of_minute = kept.get((call.project, call.started_us // MINUTE_US))
                    if of_minute is not None:
                        of_minute.append((number, call))
            for minute, changed in kept.items():
                self._take(minute, changed, write)

    def _known(self, minute: ProjectMinute, stored: Stored) -> _Minute | None:
        if minute in self._minutes:
            known = self._minutes.pop(minute)
        else:
            is_kept = (self._key(minute), minute_field(minute[1])) in stored
            known = _Minute(is_whole=False) if is_kept else None
        self._minutes[minute] = known
        return known

    def _newly_busy(self, minute: ProjectMinute, changes: BatchChanges, write: ShardWrite) -> list[int] | None:
        """The record numbers of all calls of a minute that a batch has made busy; else None."""
        project, number = minute
        day, value = day_of(number * MINUTE_US), minute_field(number)
        postings = changes.postings.get((project, day))
        if postings is None or value not in postings.get(MINUTE, ()):
            return None
        calls = self._calls_of(minute)
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

    def _take(self, minute: ProjectMinute, changed: Sequence[tuple[int, Call]], write: ShardWrite) -> None:
        by_op: dict[str, list[tuple[int, Call]]] = {}
        for one in changed:
            of_op = by_op.get(one[1].op_name)
            if of_op is None:
                by_op[one[1].op_name] = [one]
            else:
                of_op.append(one)
        day = day_of(minute[1] * MINUTE_US)
        by_view = {self._view_of(minute[0], day, op_name): of_op for op_name, of_op in by_op.items()}
        views = self._views(minute, [ALL_CALLS, *(view for view in by_view if view is not None)])
        # What is not among the first of its op is not among the first of all calls either.
        of_all: list[list[_Entry]] = [[] for _ in ORDERS]
        for view, of_view in by_view.items():
            # On a day with too many ops, some have no view.
            kept = [_Kept(first) for first in no_first_calls()] if view is None else views[view]
            entries = _entries(of_view, [one.first.floor for one in kept])
            for more, found in zip(of_all, entries, strict=True):
                more += found
            if view is not None:
                self._take_in(minute, view, kept, entries, {number for number, _ in of_view}, write)
        self._take_in(minute, ALL_CALLS, views[ALL_CALLS], of_all, {number for number, _ in changed}, write)

    def _take_in(
        self,
        minute: ProjectMinute,
        view: int,
        kept: list[_Kept],
        entries: Sequence[list[_Entry]],
        changed: set[int],
        write: ShardWrite,
    ) -> None:
        """Put the entries of calls that have changed in their places in a view, by order, and store what differs."""
        count_max = self._limits.first_calls_max
        differs = [one.put(found, changed, count_max) for one, found in zip(kept, entries, strict=True)]
        if any(differs):
            packed = pack_first_calls([one.first for one in kept])
            write.set(self._key(minute), view_field(minute[1], view), packed)

    def _views(self, minute: ProjectMinute, wanted: Iterable[int]) -> dict[int, list[_Kept]]:
        """Return what is kept of these views of a minute, and of others; read where it is not at hand."""
        known = self._minutes[minute]
        assert known is not None
        absent = [view for view in wanted if view not in known.views]
        if absent:
            key = self._key(minute)
            fields: list[Field] = [view_field(minute[1], view) for view in absent]
            stored = {} if known.is_whole else self._read({key: fields})
            for view, field in zip(absent, fields, strict=True):
                packed = stored.get((key, field))
                by_order = no_first_calls() if packed is None else unpack_first_calls(packed)
                known.views[view] = list(map(_Kept, by_order))
        return known.views

    def trim(self) -> None:
        """Forget the minutes that were not used for longest."""
        kept = [minute for minute, known in self._minutes.items() if known is not None]
        for minute in [*kept[: max(0, len(kept) - KEPT_AT_HAND_MAX)]]:
            del self._minutes[minute]
        for minute in list(islice(self._minutes, max(0, len(self._minutes) - KNOWN_MAX))):
            del self._minutes[minute]

    def _key(self, minute: ProjectMinute) -> str:
        return self._keys.first_calls(minute[0], day_of(minute[1] * MINUTE_US))


def _entries(changed: Sequence[tuple[int, Call]], floors: Sequence[Place | None]) -> list[list[_Entry]]:
    """The entries of calls that have changed, by order: those that come before the floors, and some that do not.

    Few of many thousands do, so they are sorted out order by order, without an object for each call. Ranks are those of
    `rank_of`, by which it took twice as long (1.0 µs a call instead of 0.5).
    """
    newest, failing, slowest, dearest = (0 if floor is None else floor[0] for floor in floors)
    started = [(number, call, at_us) for number, call in changed if (at_us := call.started_us) is not None]
    ended = [(number, call, at_us, end_us) for number, call, at_us in started if (end_us := call.ended_us) is not None]
    return [
        [(at_us, at_us, number) for number, _, at_us in started if at_us >= newest],
        [(at_us, at_us, number) for number, call, at_us, _ in ended if call.failed and at_us >= failing],
        [
            (latency_ms, at_us, number)
            for number, _, at_us, end_us in ended
            if (latency_ms := end_us // 1_000 - at_us // 1_000) >= slowest
        ],
        [
            (cost, at_us, number)
            for number, call, at_us, _ in ended
            if call.usage and (cost := cost_of(call)) is not None and cost >= dearest
        ],
    ]
