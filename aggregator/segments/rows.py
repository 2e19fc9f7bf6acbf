"""Rows of many series of one kind, of many cells, as columns: what follows from another column takes nothing.

Which order the rows of a cell have says nothing, so they are stored by their first metric, as distances to the row
before. Costs are stored as what is left after the prices that fit best, series by series: nothing where one price was
in force and has no tiers.
"""

from collections.abc import Sequence
from itertools import chain, pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.rollups.series import OF_LATENCY, Series
from aggregator.rollups.totals import ABSENT
from aggregator.segments.columns import Integers, pack_column, pack_table, unpack_columns, unpack_tables

INPUT, OUTPUT, TOTAL, CACHE_READ, CACHE_CREATION, INPUT_COST, OUTPUT_COST = range(7)

# Prices above are no prices, but what a fit of wrong numbers comes to; products with counts stay within 64 bits.
_PRICE_MAX = 2**40
# What an input cost is of: all tokens, those read from a cache, those written to one. An output cost is of one count.
_OF_INPUT = [INPUT, CACHE_READ, CACHE_CREATION]
_NO_PRICES = [0] * (len(_OF_INPUT) + 1)
_PRICED, _TABLE = OUTPUT_COST, OUTPUT_COST + 1  # a table has all but the input, and whether a row is priced


class PackedRows(msgspec.Struct, array_like=True):
    """Rows of series after series, each cell by cell: how many; the first value of each first row of a cell; distances
    to it of the others; a table of the other metrics; and the prices of each series, three of input and one of output.
    """

    count: int = 0
    firsts: bytes = b""
    distances: bytes = b""
    table: bytes = b""
    prices: list[list[int]] = []


def pack_rows(series: Series, rows: Sequence[bytes], cells: Sequence[int]) -> PackedRows:
    """Packed rows of series that have so many cells each; `rows`: those of each cell of each series."""
    sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)) // series.row_bytes
    values = series.values(b"".join(rows))
    if not len(values):
        return PackedRows()
    values = values[np.lexsort((values[:, 0], np.repeat(np.arange(len(sizes)), sizes)))]
    starts = _starts(sizes)
    packed = PackedRows(
        count=len(values),
        firsts=pack_column(values[starts, 0]),
        distances=pack_column(np.diff(values[:, 0], prepend=0)[~starts]),
    )
    if series is not OF_LATENCY:
        left = values[:, OUTPUT:_TABLE].copy()
        left[:, TOTAL - 1] -= values[:, INPUT] + values[:, OUTPUT]
        ends = np.append(0, np.cumsum(sizes))[np.append(0, np.cumsum(cells))].tolist()
        packed.prices = [_take_costs(values[begin:end], left[begin:end]) for begin, end in pairwise(ends)]
        packed.table = pack_table([*left.T, values[:, INPUT_COST] != ABSENT])
    return packed


def unpack_rows(
    series: Series, packed: Sequence[PackedRows], sizes: Integers, cells: Sequence[Sequence[int]]
) -> Integers:
    """The rows of all cells of all series of frames, frame by frame, as values; of a cell in an order of their own.

    `sizes`: how many each cell has; `cells`: how many cells each series of each frame has.
    Raises ValueError or IndexError for what `pack_rows` has not made.
    """
    counts = [one.count for one in packed]
    ends = np.append(0, np.cumsum(sizes))  # of the rows of each cell
    cells_ends = np.append(0, np.cumsum([sum(of_frame) for of_frame in cells]))
    if np.diff(ends[cells_ends]).tolist() != counts:
        raise ValueError(f"{counts} rows, where cells have {np.diff(ends[cells_ends]).tolist()}")
    starts = _starts(sizes)
    (begins,) = starts.nonzero()
    filled = np.diff(np.append(0, np.cumsum(sizes > 0))[cells_ends]).tolist()
    distances = np.zeros(len(starts), dtype=np.int64)
    rest = [count - first for count, first in zip(counts, filled, strict=True)]
    distances[~starts] = unpack_columns([one.distances for one in packed], rest)
    reached = np.cumsum(distances)
    firsts = unpack_columns([one.firsts for one in packed], filled) - reached[begins]
    reached += np.repeat(firsts, np.diff(begins, append=len(starts)))
    if series is OF_LATENCY:
        return reached.reshape(-1, 1)
    columns = np.empty((series.layout.metrics, len(starts)), dtype=np.int64)  # the last one is the sum of two others
    table = unpack_tables([one.table for one in packed], _TABLE, counts)
    columns[INPUT], columns[OUTPUT:_TABLE] = reached, table[:_PRICED]
    columns[TOTAL] += columns[INPUT] + columns[OUTPUT]
    of_series = np.array(list(chain.from_iterable(cells)), dtype=np.int64)
    of_each = [one.prices or [_NO_PRICES] * len(of_frame) for one, of_frame in zip(packed, cells, strict=True)]
    prices = np.array(list(chain.from_iterable(of_each)), dtype=np.int64).reshape(len(of_series), len(_NO_PRICES))
    rows_of_series = np.diff(ends[np.append(0, np.cumsum(of_series))])
    for at, (count, cost) in enumerate([*((count, INPUT_COST) for count in _OF_INPUT), (OUTPUT, OUTPUT_COST)]):
        if prices[:, at].any():
            columns[cost] += columns[count] * np.repeat(prices[:, at], rows_of_series)
    if not table[_PRICED].all():
        columns[INPUT_COST:_TABLE, table[_PRICED] == 0] = ABSENT
    np.add(columns[INPUT_COST], columns[OUTPUT_COST], out=columns[_TABLE])
    np.maximum(columns[_TABLE], ABSENT, out=columns[_TABLE])  # two that are absent
    return columns.T


def _starts(sizes: Integers) -> NDArray[np.bool_]:
    """Return which rows are the first of their cell."""
    ends = np.cumsum(sizes)
    starts = np.zeros(int(ends[-1]) if len(ends) else 0, dtype=np.bool_)
    starts[(ends - sizes)[sizes > 0]] = True
    return starts


def _take_costs(values: Integers, left: Integers) -> list[int]:
    """Take from what is left of the rows of a series what their costs come to by the prices that fit, and return those.

    Of rows without costs nothing is left.
    """
    priced = values[:, INPUT_COST] != ABSENT
    of_priced = values if priced.all() else values[priced]
    found: list[int] = []
    for counts, cost in ((of_priced[:, _OF_INPUT], INPUT_COST), (of_priced[:, OUTPUT : OUTPUT + 1], OUTPUT_COST)):
        prices = fitted_prices(counts, of_priced[:, cost])
        left[priced, cost - 1] = of_priced[:, cost] - counts @ np.array(prices, dtype=np.int64)
        left[~priced, cost - 1] = 0
        found += prices
    return found


def fitted_prices(counts: Integers, costs: Integers) -> list[int]:
    """Return what one of each count costs, as nearly as whole pico-dollars say it; wrong ones only take more bytes."""
    none = [0] * counts.shape[1]
    if not costs.any():
        return none
    used = counts.any(axis=0)
    if np.count_nonzero(used) == 1:
        prices = np.where(used, _price(counts[:, used][:, 0], costs), 0)
        if (costs == counts @ prices).all():  # it is so mostly
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
