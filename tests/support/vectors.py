"""Usage vectors in one line each."""

from collections.abc import Sequence

from aggregator.calls.usage_vector import Vector
from aggregator.rollups import series
from aggregator.rollups.series import Row


def vector(numbers: Sequence[int]) -> Vector:
    """One row's vector of its six counts, and of its four costs if it has a price."""
    counts, costs = numbers[:6], numbers[6:]
    return [*counts, 0, *(costs or [0, 0, 0, 0]), int(bool(costs)), 0]


def usage_row(numbers: Sequence[int]) -> Row:
    """The metrics of a row of so many counts, and costs."""
    return series.usage_row(vector(numbers))


def pack_usage(numbers: Sequence[int]) -> bytes | None:
    """Packs one row's vector of usage."""
    return series.pack_usage(vector(numbers))
