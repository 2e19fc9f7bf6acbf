"""The first calls of an order among all calls of a window: looked up only in the slots that can hold them.

Rollups say what the calls of a slot can be at most. So slots are looked into from the most promising one on, hours into
five minutes into minutes into calls, until no slot that is left can hold a call that comes before those found. However
long the window is, the calls of a few minutes are read.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from aggregator.calls.call import Call
from aggregator.reading.calls import CALLS_AT_ONCE_MAX, Selected, calls_in_pieces, select_minutes
from aggregator.reading.slot_bounds import Order, Slot, read_bounds
from aggregator.reading.value_rollups import DayViews
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Level
from aggregator.rollups.series import USAGE_METRICS, Row, usage_row
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader


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
_TOTAL_COST = USAGE_METRICS.index("total_cost")
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

    def is_beyond(self, bound: int) -> bool:
        """Whether no call whose rank is at most this comes before those found."""
        return self.is_full and self._found[-1][1].rank >= bound

    @property
    def first(self) -> list[RankedCall]:
        """Return the calls found, in their order."""
        return [ranked for _, ranked in self._found]


def rank_of(call: Call, order: Order) -> int | None:
    """Return what a call is ranked by; None: it has no place in the order, or is no started call."""
    if call.started_us is None or order is Order.NEWEST:
        return call.started_us
    if order is Order.FAILING:
        return call.started_us if call.failed and call.ended_us is not None else None
    return call.latency_ms if order is Order.SLOWEST else cost_of(call)


def usage_of(call: Call) -> list[Row]:
    """The metrics of what a call used of each model, in the order of USAGE_METRICS; without costs where unknown."""
    return [usage_row(numbers) for numbers in call.usage.values()]


def cost_of(call: Call) -> int | None:
    """Return what a call cost, in pico-dollars, of what has a price; None where nothing has."""
    costs = [row[_TOTAL_COST] for row in usage_of(call) if len(row) > _TOTAL_COST]
    return sum(costs) if costs else None


async def rank_calls(
    reader: StoreReader,
    project: OpenedProject,
    views: DayViews,
    slots: Sequence[Slot],
    order: Order,
    ranking: Ranking,
    has_level: Callable[[Slot], bool],
    limits: RankingLimits,
) -> bool:
    """Show the ranking what can be among the first of the calls in these slots; False if that was too much to read.

    `has_level`: whether a slot is still kept. Raises TooMuchToRead.
    """
    left = [(-bound, slot) for slot, bound in (await read_bounds(reader, views, slots, order)).items()]
    heapify(left)
    calls_read = 0
    while left and not ranking.is_beyond(-left[0][0]):
        to_split: list[Slot] = []
        minutes: list[int] = []
        for _ in range(min(SLOTS_AT_ONCE, len(left))):
            slot = heappop(left)[1]
            finer = _FINER.get(slot.level)
            if finer is not None and has_level(slot.split_into(finer)[0]):
                to_split += slot.split_into(finer)
            else:
                minutes += [one.number for one in _minutes(slot)]
        for one, bound in (await read_bounds(reader, views, to_split, order)).items():
            heappush(left, (-bound, one))
        for piece in _last_first(await select_minutes(reader, project, minutes)) if minutes else ():
            is_enough = ranking.is_full and order in (Order.NEWEST, Order.FAILING)
            if calls_read >= (limits.newest_calls_read_max if is_enough else limits.calls_read_max):
                return False
            async for some in calls_in_pieces(reader, piece):
                calls_read += len(some)
                ranking.show(some.values())
    return True


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
