"""Usage of some calls as columns, number by number: what follows from other numbers takes nothing.

Costs are stored as what is left after the prices that fit best, model by model (see rows.py): nothing where one price
was in force and has no tiers.
"""

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
from aggregator.segments.columns import Integers, pack_table, unpack_table
from aggregator.segments.rows import fitted_prices

# What each cost follows from: its price times the first count, and what is less for those of the others.
_COUNTS_OF_COSTS = {
    UNCACHED_COST: (INPUT, CACHE_READ, CACHE_CREATION),
    CACHE_READ_COST: (CACHE_READ,),
    CACHE_CREATION_COST: (CACHE_CREATION, CACHE_CREATION_1H),
    OUTPUT_COST: (OUTPUT,),
}
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


class PackedUsage(msgspec.Struct, array_like=True):
    """Usage of some calls, row by row: the models of all, the prices of each, in the order of the costs, and a table of
    which model a row is of and of the numbers of its vector.
    """

    rows: int
    models: list[str]
    prices: list[list[int]]
    numbers: bytes


def fits(usage: Usage) -> bool:
    """Whether columns hold these numbers."""
    return all(min(vector) >= _LOWEST and max(vector) <= _HIGHEST for vector in usage.values())


def pack_usage(usages: Sequence[Usage]) -> PackedUsage:
    """The usage of each call, all of which `fits`."""
    models = sorted({model for usage in usages for model in usage})
    places = {model: place for place, model in enumerate(models)}
    of_rows = np.array([places[model] for usage in usages for model in usage], dtype=np.int64)
    numbers = np.array([vector for usage in usages for vector in usage.values()], dtype=np.int64)
    numbers = numbers.reshape(-1, len(NAMES))
    left = numbers.copy()
    prices: list[list[int]] = []
    for place in range(len(models)):
        of_model = numbers[of_rows == place]
        for cost, counts in _COUNTS_OF_COSTS.items():
            of_cost = fitted_prices(of_model[:, counts], of_model[:, cost])
            prices.append(of_cost)
            left[of_rows == place, cost] -= of_model[:, counts] @ np.array(of_cost, dtype=np.int64)
    left[:, TOTAL] -= numbers[:, INPUT] + numbers[:, OUTPUT]
    return PackedUsage(len(of_rows), models, prices, pack_table([of_rows, *left.T]))


def unpack_usage(packed: PackedUsage, sizes: Integers, wanted: NDArray[np.bool_]) -> list[Usage]:
    """The usage of each call that is wanted, where calls have so many rows; raises ValueError or IndexError for what
    `pack_usage` has not made.
    """
    of_rows, numbers = unpack_vectors(packed, sizes, wanted)
    if not len(of_rows):
        return [{} for _ in range(np.count_nonzero(wanted))]
    of_all = list(zip([packed.models[place] for place in of_rows.tolist()], numbers.tolist(), strict=True))
    ends = np.cumsum(sizes[wanted]).tolist()
    return [dict(of_all[begin:end]) for begin, end in zip([0, *ends], ends, strict=False)]


def unpack_vectors(packed: PackedUsage, sizes: Integers, wanted: NDArray[np.bool_]) -> tuple[Integers, Integers]:
    """The rows of the calls that are wanted, call by call: the place of the model of each, and its vector.

    Raises what `unpack_usage` raises.
    """
    rows = np.repeat(wanted, sizes)
    if not rows.any():
        return np.empty(0, dtype=np.int64), np.empty((0, len(NAMES)), dtype=np.int64)
    table = unpack_table(packed.numbers, 1 + len(NAMES), packed.rows)[:, rows]
    of_rows, numbers = table[0], table[1:].T
    numbers[:, TOTAL] += numbers[:, INPUT] + numbers[:, OUTPUT]
    _add_costs(numbers, of_rows, packed)
    return of_rows, numbers


def _add_costs(numbers: Integers, of_rows: Integers, packed: PackedUsage) -> None:
    for at, (cost, counts) in enumerate(_COUNTS_OF_COSTS.items()):
        of_models = packed.prices[at :: len(_COUNTS_OF_COSTS)]
        if any(map(any, of_models)):
            prices = np.array(of_models, dtype=np.int64)[of_rows]
            numbers[:, cost] += (numbers[:, counts] * prices).sum(axis=1)
