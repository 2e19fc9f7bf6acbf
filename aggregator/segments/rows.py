"""Rows of one series, of many cells, as columns: what follows from another column takes nothing.

Which order the rows of a cell have says nothing, so they are stored by their first metric, as distances to the row
before. Costs are stored as what is left after the prices that fit best: nothing where one price was in force and has
no tiers.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from aggregator.rollups.series import OF_LATENCY, Series
from aggregator.rollups.totals import ABSENT
from aggregator.segments.columns import Integers, pack_column, unpack_column

INPUT, OUTPUT, TOTAL, CACHE_READ, CACHE_CREATION, INPUT_COST, OUTPUT_COST = range(7)

# Prices above are no prices, but what a fit of wrong numbers comes to; products with counts stay within 64 bits.
_PRICE_MAX = 2**40

Packed = list[bytes | list[int]]
"""Columns in the order in which `unpack_rows` needs them, and prices."""


def pack_rows(series: Series, rows: bytes, sizes: Sequence[int] | Integers) -> Packed:
    """Packed rows of groups of these sizes, one group after the other."""
    values = series.values(rows)
    groups = np.repeat(np.arange(len(sizes)), sizes)
    values = values[np.lexsort((values[:, 0], groups))]
    packed = _pack_ascending(values[:, 0], _starts(sizes))
    if series is not OF_LATENCY:
        packed += _pack_usage(values)
    return packed


def unpack_rows(series: Series, packed: Packed, sizes: Sequence[int]) -> bytes:
    """The rows of the groups, one group after the other; each in an order of its own."""
    columns = iter(packed)
    first = _unpack_ascending(columns.__next__, _starts(sizes), int(sum(sizes)))
    if series is OF_LATENCY:
        return series.rows(first.reshape(-1, 1))
    return series.rows(_unpack_usage(first, columns.__next__))


def _starts(sizes: Sequence[int] | Integers) -> NDArray[np.bool_]:
    """Return which rows are the first of their group."""
    ends = np.cumsum(sizes, dtype=np.int64)
    starts = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.bool_)
    begins = ends - np.array(sizes, dtype=np.int64)
    starts[begins[begins < ends]] = True
    return starts


def _pack_ascending(values: Integers, starts: NDArray[np.bool_]) -> Packed:
    distances = np.diff(values, prepend=values[:1])[~starts]
    return [pack_column(values[starts]), pack_column(distances)]


def _unpack_ascending(column: Callable[[], bytes | list[int]], starts: NDArray[np.bool_], count: int) -> Integers:
    (begins,) = starts.nonzero()
    firsts, distances = _integers(column(), len(begins)), np.zeros(count, dtype=np.int64)
    distances[~starts] = _integers(column(), count - len(begins))
    reached = np.cumsum(distances)
    return reached + np.repeat(firsts - reached[begins], np.diff(np.append(begins, count)))


def _pack_usage(values: Integers) -> Packed:
    priced = values[:, INPUT_COST] != ABSENT
    packed: Packed = [
        pack_column(values[:, OUTPUT]),
        pack_column(values[:, TOTAL] - values[:, INPUT] - values[:, OUTPUT]),
        pack_column(values[:, CACHE_READ]),
        pack_column(values[:, CACHE_CREATION]),
        pack_column(priced.astype(np.int64)),
    ]
    of_priced = values[priced]
    for counts, cost in ((_input_counts(of_priced), INPUT_COST), (of_priced[:, OUTPUT : OUTPUT + 1], OUTPUT_COST)):
        prices = fitted_prices(counts, of_priced[:, cost])
        packed += [prices, pack_column(of_priced[:, cost] - counts @ np.array(prices, dtype=np.int64))]
    return packed


def _unpack_usage(inputs: Integers, column: Callable[[], bytes | list[int]]) -> Integers:
    count = len(inputs)
    values = np.full((count, 8), ABSENT, dtype=np.int64)
    values[:, INPUT] = inputs
    values[:, OUTPUT] = _integers(column(), count)
    values[:, TOTAL] = _integers(column(), count) + values[:, INPUT] + values[:, OUTPUT]
    values[:, CACHE_READ] = _integers(column(), count)
    values[:, CACHE_CREATION] = _integers(column(), count)
    priced = _integers(column(), count) == 1
    of_priced = values[priced]
    for counts, cost in ((_input_counts(of_priced), INPUT_COST), (of_priced[:, OUTPUT : OUTPUT + 1], OUTPUT_COST)):
        prices = np.array(column(), dtype=np.int64)
        of_priced[:, cost] = _integers(column(), len(of_priced)) + counts @ prices
    values[priced] = of_priced
    return values


def _input_counts(values: Integers) -> Integers:
    """The tokens that an input cost is of: all, read from a cache, written to one."""
    return values[:, [INPUT, CACHE_READ, CACHE_CREATION]]


def fitted_prices(counts: Integers, costs: Integers) -> list[int]:
    """Return what one of each count costs, as nearly as whole pico-dollars say it; wrong ones only take more bytes."""
    none = [0] * counts.shape[1]
    if not costs.any():
        return none
    used = counts.any(axis=0)
    if np.count_nonzero(used) == 1:
        prices = np.where(used, _price(counts[:, used][:, 0], costs), 0)
        if (costs == counts @ prices).all():  # it is so mostly, and told without a fit, which takes some 70 µs
            return [int(price) for price in prices]
    found = np.linalg.lstsq(counts.astype(np.float64), costs.astype(np.float64), rcond=None)[0]
    prices = np.rint(found)
    if not (np.abs(prices) < _PRICE_MAX).all():
        return none
    left = costs - counts @ prices.astype(np.int64)
    return [int(price) for price in prices] if np.ptp(left) < np.ptp(costs) else none


def _price(counts: Integers, costs: Integers) -> int:
    """Return what one costs by the largest of these counts, where costs follow from nothing else."""
    most = int(counts.argmax())
    price = round(int(costs[most]) / int(counts[most])) if counts[most] else 0
    return price if abs(price) < _PRICE_MAX else 0


def _integers(packed: bytes | list[int], count: int) -> Integers:
    if not isinstance(packed, bytes):
        raise ValueError("prices where a column is due")
    return unpack_column(packed, count)
