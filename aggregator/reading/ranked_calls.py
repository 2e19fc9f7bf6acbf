"""The first calls of an order among all calls of a window: looked up only in the slots that can hold them.

Rollups say what the calls of a slot can be at most. So slots are looked into from the most promising one on, hours into
five minutes into minutes into calls, until no slot that is left can hold a call that comes before those found. However
long the window is, the calls of a few minutes are read.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from aggregator.calls.call import Call
from aggregator.layout.first_calls import Place
from aggregator.layout.keys import day_of
from aggregator.reading.calls import CALLS_AT_ONCE_MAX, Selected, calls_in_pieces, select_shard_minutes
from aggregator.reading.first_calls import KeptFirst, read_first_calls
from aggregator.reading.slot_bounds import Slot, read_bounds
from aggregator.reading.value_rollups import DayViews
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Level
from aggregator.rollups.orders import Order, rank_of
from aggregator.rollups.series import Row, usage_row
from aggregator.store.reader import ProjectShard, StoreReader
from aggregator.time_units import MINUTE_US


class RankingLimits(NamedTuple):
    """What one answer may cost. Where a limit stops it, what was found is the answer, and it says so."""

    # Call records read, some 5 µs each, those that came last first: where calls are so many that those of a few minutes
    # are more.
    calls_read_max: int = 100_000
    # The same once there are as many as were asked for, where the newest are: nearly always they are those that came
    # last. A page that watches a project of thousands of calls a second asks each second.
    newest_calls_read_max: int = 20_000


# Slots looked into at once: more round trips would cost more than what is read too much.
SLOTS_AT_ONCE = 4
_FINER: dict[Level, Level] = {HOURS: FIVE_MINUTES, FIVE_MINUTES: MINUTES}


class RankedCall(NamedTuple):
    """A call with its place in the order: a larger rank comes first, then what began later."""

    rank: int
    call: Call


class Ranking:
    """The first `size` of all calls that it is shown."""

    def __init__(self, order: Order, size: int, passes: Callable[[Call], bool]) -> None:
        self._order = order
        self._size = size
        self._passes = passes
        self._found: list[tuple[tuple[int, int, bytes], RankedCall]] = []

    def show(self, calls: Iterable[Call]) -> None:
        """Take in those that pass and belong to the first; none is to be shown twice."""
        for call in calls:
            if not self._passes(call) or (rank := rank_of(call, self._order)) is None:
                continue
            assert call.started_us is not None
            key = (-rank, -call.started_us, call.packed_id)
            if len(self._found) < self._size or key < self._found[-1][0]:
                insort(self._found, (key, RankedCall(rank, call)), key=lambda one: one[0])
                del self._found[self._size :]

    @property
    def is_full(self) -> bool:
        """Whether as many were found as there is room for."""
        return len(self._found) == self._size

    def is_beyond(self, place: Place) -> bool:
        """Whether no call at this place, or behind it, comes before those found; equals of these may."""
        if not self.is_full:
            return False
        (rank, started, _), _ = self._found[-1]
        return (-rank, -started) >= place

    @property
    def first(self) -> list[RankedCall]:
        """Return the calls found, in their order."""
        return [ranked for _, ranked in self._found]


def usage_of(call: Call) -> list[Row]:
    """The metrics of what a call used of each model, in the order of USAGE_METRICS; without costs where unknown."""
    return [usage_row(numbers) for numbers in call.usage.values()]


class _Rest(NamedTuple):
    """All calls of a minute in a shard but these, which have been shown."""

    shard: ProjectShard
    minute: int
    shown: frozenset[int]


class _Looks:
    """What is to be looked into, the most promising first: slots, and what is not kept of busy minutes."""

    def __init__(self) -> None:
        self._left: list[tuple[int, int, int, Slot | _Rest]] = []
        self._pushed = 0

    def push(self, one: Slot | _Rest, place: Place) -> None:
        """Add one none of whose calls comes before this place."""
        self._pushed += 1  # so that those of equal places are not compared
        heappush(self._left, (-place[0], -place[1], self._pushed, one))

    def push_slots(self, bounds: Mapping[Slot, int]) -> None:
        """Add slots, each with the largest rank that a call of it may have."""
        for slot, bound in bounds.items():
            self.push(slot, (bound, 0))

    def pop(self, ranking: Ranking) -> Slot | _Rest | None:
        """The next one; None where none can hold a call that comes before those found."""
        if not self._left or ranking.is_beyond((-self._left[0][0], -self._left[0][1])):
            return None
        return heappop(self._left)[3]


async def rank_calls(
    reader: StoreReader,
    views: DayViews,
    slots: Sequence[Slot],
    order: Order,
    ranking: Ranking,
    has_level: Callable[[Slot], bool],
    are_kept: bool,
    limits: RankingLimits,
) -> bool:
    """Show the ranking what can be among the first of the calls in these slots; False if that was too much to read.

    `has_level`: whether a slot is still kept. `are_kept`: whether shards keep the first calls of such views, where many
    calls are in a minute. Raises TooMuchToRead.
    """
    looks = _Looks()
    looks.push_slots(await read_bounds(reader, views, slots, order))
    calls_read = 0
    while popped := [one for _ in range(SLOTS_AT_ONCE) if (one := looks.pop(ranking)) is not None]:
        to_split: list[Slot] = []
        minutes: list[int] = []
        for slot in (one for one in popped if isinstance(one, Slot)):
            finer = _FINER.get(slot.level)
            if finer is not None and has_level(slot.split_into(finer)[0]):
                to_split += slot.split_into(finer)
            else:
                minutes += [one.number for one in _minutes(slot)]
        looks.push_slots(await read_bounds(reader, views, to_split, order))
        kept = await read_first_calls(reader, views, minutes, order) if are_kept and minutes else {}
        calls_read += await _show_kept(reader, kept, ranking, looks)
        selected = await select_shard_minutes(reader, [one for one in _in_shards(views, minutes) if one not in kept])
        await _add_rests(reader, [one for one in popped if isinstance(one, _Rest)], selected)
        for piece in _last_first(selected):
            is_enough = ranking.is_full and order in (Order.NEWEST, Order.FAILING)
            if calls_read >= (limits.newest_calls_read_max if is_enough else limits.calls_read_max):
                return False
            async for some in calls_in_pieces(reader, piece):
                calls_read += len(some)
                ranking.show(some.values())
    return True


async def _show_kept(
    reader: StoreReader, kept: Mapping[tuple[ProjectShard, int], KeptFirst], ranking: Ranking, looks: _Looks
) -> int:
    """Show the first calls of busy minutes, and note what is not kept of these. Returns how many it read."""
    numbers: Selected = {}
    for (shard, minute), first in kept.items():
        numbers.setdefault(shard, set()).update(first.numbers)
        if first.floor is not None:
            rank, started_us = first.floor  # its equals may come before those found
            looks.push(_Rest(shard, minute, frozenset(first.numbers)), (rank, started_us + 1))
    await rank_selected(reader, numbers, ranking)
    return sum(len(first.numbers) for first in kept.values())


def _in_shards(views: DayViews, minutes: Sequence[int]) -> Iterator[tuple[ProjectShard, int]]:
    """Yield each of these minutes in each shard."""
    return ((shard, minute) for shard, day, _ in views for minute in minutes if day_of(minute * MINUTE_US) == day)


async def _add_rests(reader: StoreReader, rests: Iterable[_Rest], selected: Selected) -> None:
    """Select the calls of these minutes too, but for those that have been shown."""
    for rest in rests:
        of_minute = await select_shard_minutes(reader, [(rest.shard, rest.minute)])
        selected.setdefault(rest.shard, set()).update(of_minute.get(rest.shard, set()) - rest.shown)


def _last_first(selected: Selected) -> Iterator[Selected]:
    """Records some at a time, those that came last first, of all shards in turn."""
    of_shards = [(shard, sorted(numbers, reverse=True)) for shard, numbers in selected.items()]
    longest = max((len(numbers) for _, numbers in of_shards), default=0)
    for at in range(0, longest, CALLS_AT_ONCE_MAX):
        yield {shard: set(some) for shard, numbers in of_shards if (some := numbers[at : at + CALLS_AT_ONCE_MAX])}


async def rank_selected(reader: StoreReader, selected: dict[ProjectShard, set[int]], ranking: Ranking) -> None:
    """Show the ranking these records."""
    async for some in calls_in_pieces(reader, selected):
        ranking.show(some.values())


def _minutes(slot: Slot) -> list[Slot]:
    return [slot] if slot.level is MINUTES else slot.split_into(MINUTES)
