"""The first calls of an order among all calls of a window: looked up only in the slots that can hold them.

Rollups say what the calls of a slot can be at most. So slots are looked into from the most promising one on, hours into
five minutes into minutes, these shard by shard, of a busy one view by view, until nothing that is left can hold a call
that comes before those found. However long the window is, each place that calls are read of has one of those found, as
far as rollups can say, and of busy minutes no view of many calls is read whole.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from typing import NamedTuple

from aggregator.layout.first_calls import Place
from aggregator.reading.calls import CALLS_AT_ONCE_MAX, Selected, calls_in_pieces
from aggregator.reading.first_calls import Window
from aggregator.reading.minute_looks import Look, MinuteLooks, Places
from aggregator.reading.ranking import Ranking
from aggregator.reading.slot_bounds import Slot, read_bounds
from aggregator.reading.value_rollups import DayViews
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Level
from aggregator.rollups.orders import Order
from aggregator.rollups.views import ViewFilter
from aggregator.store.reader import ProjectShard, StoreReader


class RankingLimits(NamedTuple):
    """What one answer may cost. Where a limit stops it, what was found is the answer, and it says so."""

    # Call records read, some 5 µs each, those that came last first. Of a hundred places that each have one of a hundred
    # calls, and fewer calls than make a view kept, it is all (ShardLimits.busy_calls_min).
    calls_read_max: int = 100_000
    # Calls of busy minutes of which it is read which views they are of, some 0.1 µs each: of minutes that promise more
    # than they hold, since a full directory did not keep the views of the filter, or costs of models are added up.
    calls_told_max: int = 5_000_000


# Looked into at once: more round trips would cost more than what is read too much.
SLOTS_AT_ONCE = 4
LOOKS_AT_ONCE = 16
_FINER: dict[Level, Level] = {HOURS: FIVE_MINUTES, FIVE_MINUTES: MINUTES}


class _Left:
    """What is to be looked into, the most promising first."""

    def __init__(self) -> None:
        self._left: list[tuple[int, int, int, Slot | Look]] = []
        self._pushed = 0

    def push(self, one: Slot | Look, place: Place) -> None:
        """Add one none of whose calls comes before this place."""
        self._pushed += 1  # so that those of equal places are not compared
        heappush(self._left, (-place[0], -place[1], self._pushed, one))

    def push_slots(self, bounds: Mapping[Slot, int]) -> None:
        """Add slots, each with the largest rank that a call of it may have."""
        for slot, bound in bounds.items():
            self.push(slot, (bound, 0))

    def push_looks(self, looks: Places) -> None:
        """Add looks, each with the place that none of its calls comes before."""
        for look, place in looks:
            self.push(look, place)

    def pop(self, ranking: Ranking) -> tuple[list[Slot], list[Look]]:
        """The next ones, as many as are looked into at once; none where none can hold a call that comes before those
        found.
        """
        slots: list[Slot] = []
        looks: list[Look] = []
        calls = 0
        while self._left and not ranking.is_beyond((-self._left[0][0], -self._left[0][1])):
            if len(slots) == SLOTS_AT_ONCE or len(looks) == LOOKS_AT_ONCE or calls >= CALLS_AT_ONCE_MAX:
                break
            one = heappop(self._left)[3]
            if isinstance(one, Look):
                looks.append(one)
                calls += one.calls
            else:
                slots.append(one)
        return slots, looks


async def rank_calls(
    reader: StoreReader,
    views: DayViews,
    wanted: ViewFilter,
    window: Window,
    slots: Sequence[Slot],
    order: Order,
    ranking: Ranking,
    has_level: Callable[[Slot], bool],
    limits: RankingLimits,
) -> bool:
    """Show the ranking what can be among the first of the calls in these slots; False if that was too much to read.

    `views`: those of the filter `wanted`. `has_level`: whether a slot is still kept. Raises TooMuchToRead.
    """
    left = _Left()
    left.push_slots(await read_bounds(reader, views, slots, order))
    into = MinuteLooks(reader, views, wanted, window, order, ranking.size)
    shown: Selected = {}
    calls_read = 0
    while any(popped := left.pop(ranking)):
        to_split: list[Slot] = []
        minutes: list[int] = []
        for slot in popped[0]:
            finer = _FINER.get(slot.level)
            if finer is not None and has_level(slot.split_into(finer)[0]):
                to_split += slot.split_into(finer)
            else:
                minutes += [one.number for one in _minutes(slot)]
        left.push_slots(await read_bounds(reader, views, to_split, order))
        if into.told >= limits.calls_told_max:
            return False
        selected: Selected = {}
        for found, looks in (await into.minutes(minutes), await into.looks(popped[1])):
            left.push_looks(looks)
            for shard, numbers in found.items():
                selected.setdefault(shard, set()).update(numbers - shown.get(shard, set()))
        for piece in _last_first(selected):
            if calls_read >= limits.calls_read_max:
                return False
            for shard, numbers in piece.items():
                shown.setdefault(shard, set()).update(numbers)
                calls_read += len(numbers)
            await rank_selected(reader, piece, ranking)
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
