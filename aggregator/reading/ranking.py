"""The first calls of an order, of all that are shown one after the other."""

from bisect import insort
from collections.abc import Callable, Iterable
from typing import NamedTuple

from aggregator.calls.call import Call
from aggregator.layout.first_calls import Place
from aggregator.rollups.orders import Order, rank_of
from aggregator.rollups.series import Row, usage_row


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
    def size(self) -> int:
        """Return how many there is room for."""
        return self._size

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
