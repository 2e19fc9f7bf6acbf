"""Usage of some calls as columns, number by number: what follows from other numbers takes nothing.

Costs are stored as what is left after the prices that fit best, model by model (see rows.py): nothing where one price
was in force and has no tiers.
"""

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.calls.usage_vector import (
    CACHE_CREATION,
    CACHE_CREATION_1H,
    CACHE_CREATION_COST,
    CACHE_READ,
    CACHE_READ_COST,
    INPUT,
    NAMES,
    OUTPUT,
    OUTPUT_COST,
    TOTAL,
    UNCACHED_COST,
    Usage,
)
from aggregator.segments.bit_columns import Numbers, pack_numbers, unpack_numbers
from aggregator.segments.columns import Integers, pack_column, unpack_column
from aggregator.segments.rows import fitted_prices

_UNCACHED = len(NAMES)  # a count that follows from others: input tokens that no cache had, nor took
# What each cost follows from: its price times the first count, and what is less for those of the others.
_COUNTS_OF_COSTS = {
    UNCACHED_COST: (_UNCACHED,),
    CACHE_READ_COST: (CACHE_READ,),
    CACHE_CREATION_COST: (CACHE_CREATION, CACHE_CREATION_1H),
    OUTPUT_COST: (OUTPUT,),
}
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


class PackedUsage(msgspec.Struct, array_like=True):
    """Usage of some calls, row by row: the models of all; the prices of each, in the order of the costs, in a unit that
    all are multiples of; and which model each row is of.
    """

    rows: int
    models: list[str]
    unit: int
    prices: list[list[int]]
    of_rows: bytes


def fits(usage: Usage) -> bool:
    """Whether columns hold these numbers."""
    return not usage or (min(map(min, usage.values())) >= _LOWEST and max(map(max, usage.values())) <= _HIGHEST)


def pack_usage(usages: Sequence[Usage]) -> tuple[PackedUsage, Numbers]:
    """The usage of each call, all of which `fits`, and the numbers of all vectors, number by number."""
    models = sorted({model for usage in usages for model in usage})
    places = {model: place for place, model in enumerate(models)}
    of_rows = np.array([places[model] for usage in usages for model in usage], dtype=np.int64)
    numbers = np.array([vector for usage in usages for vector in usage.values()], dtype=np.int64)
    numbers = _with_uncached(numbers.reshape(-1, len(NAMES)))
    left = numbers[:, : len(NAMES)].copy()
    prices: list[list[int]] = []
    for place in range(len(models)):
        are_of_model = of_rows == place
        of_model = numbers[are_of_model]
        for cost, counts in _COUNTS_OF_COSTS.items():
            of_cost = fitted_prices(of_model[:, counts], of_model[:, cost])
            prices.append(of_cost)
            if any(of_cost):
                left[are_of_model, cost] -= of_model[:, counts] @ np.array(of_cost, dtype=np.int64)
    left[:, TOTAL] -= numbers[:, INPUT] + numbers[:, OUTPUT]
    unit = math.gcd(*(price for of_cost in prices for price in of_cost)) or 1
    in_units = [[price // unit for price in of_cost] for of_cost in prices]
    return PackedUsage(len(of_rows), models, unit, in_units, pack_column(of_rows)), pack_numbers(left.T.ravel())


def _with_uncached(numbers: Integers) -> Integers:
    """Return vectors with one number more, as `aggregator/prices/price.py` reckons it."""
    cached = numbers[:, CACHE_READ] + numbers[:, CACHE_CREATION]
    uncached = np.where(numbers[:, INPUT] < cached, numbers[:, INPUT], numbers[:, INPUT] - cached)
    return np.column_stack([numbers, uncached])


def unpack_usage(packed: PackedUsage, stored: Numbers, sizes: Integers, wanted: NDArray[np.bool_]) -> list[Usage]:
    """The usage of each call that is wanted, where calls have so many rows; raises ValueError or IndexError for what
    `pack_usage` has not made.
    """
    of_rows, numbers = unpack_vectors(packed, stored, sizes, wanted)
    if not len(of_rows):
        return [{} for _ in range(np.count_nonzero(wanted))]
    of_all = list(zip([packed.models[place] for place in of_rows.tolist()], numbers.tolist(), strict=True))
    ends = np.cumsum(sizes[wanted]).tolist()
    return [dict(of_all[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]


def unpack_vectors(
    packed: PackedUsage, stored: Numbers, sizes: Integers, wanted: NDArray[np.bool_]
) -> tuple[Integers, Integers]:
    """The rows of the calls that are wanted, call by call: the place of the model of each, and its vector. These calls
    may be the first of those that `pack_usage` was given.

    Raises what `unpack_usage` raises.
    """
    rows = np.zeros(packed.rows, dtype=np.bool_)
    of_calls = np.repeat(wanted, sizes)
    rows[: len(of_calls)] = of_calls
    if not rows.any():
        return np.empty(0, dtype=np.int64), np.empty((0, len(NAMES)), dtype=np.int64)
    of_rows = unpack_column(packed.of_rows, packed.rows)[rows]
    (places,) = rows.nonzero()
    by_number = np.arange(len(NAMES))[:, np.newaxis] * packed.rows + places
    numbers = unpack_numbers(*stored, by_number.ravel()).reshape(by_number.shape).T
    numbers[:, TOTAL] += numbers[:, INPUT] + numbers[:, OUTPUT]
    _add_costs(numbers, of_rows, packed)
    return of_rows, numbers


def _add_costs(numbers: Integers, of_rows: Integers, packed: PackedUsage) -> None:
    counted = _with_uncached(numbers)
    for at, (cost, counts) in enumerate(_COUNTS_OF_COSTS.items()):
        of_models = packed.prices[at :: len(_COUNTS_OF_COSTS)]
        if any(map(any, of_models)):
            prices = np.array(of_models, dtype=np.int64)[of_rows] * packed.unit
            numbers[:, cost] += (counted[:, counts] * prices).sum(axis=1)
