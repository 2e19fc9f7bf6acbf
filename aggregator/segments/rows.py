"""Rows of many series of one kind, of many cells, as columns: what follows from another column takes nothing.

Which order the rows of a cell have says nothing, so they are stored by their first metric, as distances to the row
before. Numbers of no pattern, as latencies and tokens mostly are, are stored by their bits (see bit_columns.py), column
by column. Costs are stored as what is left after the prices that fit best, series by series: nothing where one price
was in force and has no tiers.
"""

from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.rollups.series import OF_LATENCY, Series
from aggregator.rollups.totals import ABSENT
from aggregator.segments.bit_columns import pack_numbers, take_fewer_bytes, unpack_many
from aggregator.segments.columns import Integers, pack_table, unpack_column, unpack_tables
from aggregator.segments.compression import compress_symbols, decompress

INPUT, OUTPUT, TOTAL, CACHE_READ, CACHE_CREATION, INPUT_COST, OUTPUT_COST = range(7)

# Prices above are no prices, but what a fit of wrong numbers comes to; products with counts stay within 64 bits.
_PRICE_MAX = 2**40
# What an input cost is of: all tokens, those read from a cache, those written to one. An output cost is of one count.
_OF_INPUT = [INPUT, CACHE_READ, CACHE_CREATION]
_NO_PRICES = [0] * (len(_OF_INPUT) + 1)
_PRICED, _TABLE = OUTPUT_COST, OUTPUT_COST + 1  # a table has all but the input, and whether a row is priced


class PackedRows(msgspec.Struct, array_like=True):
    """Rows of series after series, each cell by cell: how many; a table of all metrics but the first; the prices of
    each series, three of input and one of output; how many bits each number has, compressed, and these bits.

    By their bits are stored, in this order, less the lowest value where that is above 0: the first value of each first
    row of a cell, less `lowest`; distances to it of the others; and those columns of the table that `of_bits` names,
    which the table has only the lowest value of. Where `of_bits` is None, as earlier versions wrote it, the table has
    all, and `firsts` and `distances` are columns.
    """

    count: int = 0
    firsts: bytes = b""
    distances: bytes = b""
    table: bytes = b""
    prices: list[list[int]] = []
    of_bits: list[int] | None = None
    lowest: int = 0
    lengths: bytes = b""
    bits: bytes = b""


def pack_rows(series: Series, rows: Sequence[bytes], cells: Sequence[int]) -> PackedRows:
    """Packed rows of series that have so many cells each; `rows`: those of each cell of each series."""
    sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)) // series.row_bytes
    values = series.values(b"".join(rows))
    if not len(values):
        return PackedRows()
    values = values[np.lexsort((values[:, 0], np.repeat(np.arange(len(sizes)), sizes)))]
    starts = _starts(sizes)
    firsts = values[starts, 0]
    packed = PackedRows(len(values), of_bits=[], lowest=max(0, int(firsts.min())))
    columns = [firsts - packed.lowest, np.diff(values[:, 0], prepend=0)[~starts]]
    if series is not OF_LATENCY:
        left = values[:, OUTPUT:_TABLE].copy()
        left[:, TOTAL - 1] -= values[:, INPUT] + values[:, OUTPUT]
        ends = np.append(0, np.cumsum(sizes))[np.append(0, np.cumsum(cells))].tolist()
        packed.prices = [_take_costs(values[begin:end], left[begin:end]) for begin, end in pairwise(ends)]
        table = np.vstack([left.T, values[:, INPUT_COST] != ABSENT])
        packed.of_bits = _take_bits(table, columns)
        packed.table = pack_table(table)
    lengths, packed.bits = pack_numbers(np.concatenate(columns))
    begins = pairwise([0, *np.cumsum(list(map(len, columns))).tolist()])
    packed.lengths = compress_symbols([lengths[begin:end] for begin, end in begins if begin < end])
    return packed


class _Numbers:
    """The numbers of some frames that are stored by their bits, to be taken column by column in their order."""

    def __init__(self, packed: Sequence[PackedRows]) -> None:
        numbers = [(decompress(one.lengths) if one.lengths else b"", one.bits) for one in packed]
        self._values = unpack_many(numbers)
        self._ends = list(accumulate(len(lengths) for lengths, _ in numbers))
        self._reached = [0, *self._ends[:-1]]

    def take(self, frame: int, count: int) -> Integers:
        """Return the next numbers of a frame; raises ValueError where it has no more."""
        begin = self._reached[frame]
        end = self._reached[frame] = begin + count
        if end > self._ends[frame]:
            raise ValueError(f"{count} numbers are more than are left")
        return self._values[begin:end]


def _take_bits(table: Integers, columns: list[Integers]) -> list[int]:
    """Take those columns that take fewer bytes so, and leave their lowest value; returns which."""
    lowest = table.min(axis=1)
    found = []
    for at in (lowest != table.max(axis=1)).nonzero()[0].tolist():
        base = int(lowest[at])
        if at != _PRICED and base >= 0 and take_fewer_bytes(table[at] - base):
            columns.append(table[at] - base)
            table[at] = base
            found.append(at)
    return found


def unpack_rows(
    series: Series, packed: Sequence[PackedRows], sizes: Integers, cells: Sequence[Sequence[int]]
) -> Integers:
    """The rows of all cells of all series of frames, frame by frame, as values; of a cell in an order of their own.

    `sizes`: how many each cell has; `cells`: how many cells each series of each frame has.
    Raises ValueError, IndexError or CorruptFrame for what `pack_rows` has not made.
    """
    counts = [one.count for one in packed]
    ends = np.append(0, np.cumsum(sizes))  # of the rows of each cell
    cells_ends = np.append(0, np.cumsum([sum(of_frame) for of_frame in cells]))
    if np.diff(ends[cells_ends]).tolist() != counts:
        raise ValueError(f"{counts} rows, where cells have {np.diff(ends[cells_ends]).tolist()}")
    starts = _starts(sizes)
    (begins,) = starts.nonzero()
    filled = np.diff(np.append(0, np.cumsum(sizes > 0))[cells_ends]).tolist()
    numbers = _Numbers(packed)
    firsts, rest = _unpacked_steps(packed, filled, numbers)
    distances = np.zeros(len(starts), dtype=np.int64)
    distances[~starts] = rest
    reached = np.cumsum(distances)
    reached += np.repeat(firsts - reached[begins], np.diff(begins, append=len(starts)))
    if series is OF_LATENCY:
        return reached.reshape(-1, 1)
    found = np.empty((series.layout.metrics, len(starts)), dtype=np.int64)  # the last one is the sum of two others
    table = unpack_tables([one.table for one in packed], _TABLE, counts)
    row_ends = np.append(0, np.cumsum(counts)).tolist()
    for frame, one in enumerate(packed):
        for at in one.of_bits or ():
            table[at, row_ends[frame] : row_ends[frame + 1]] += numbers.take(frame, one.count)
    found[INPUT], found[OUTPUT:_TABLE] = reached, table[:_PRICED]
    found[TOTAL] += found[INPUT] + found[OUTPUT]
    of_series = np.array(list(chain.from_iterable(cells)), dtype=np.int64)
    of_each = [one.prices or [_NO_PRICES] * len(of_frame) for one, of_frame in zip(packed, cells, strict=True)]
    prices = np.array(list(chain.from_iterable(of_each)), dtype=np.int64).reshape(len(of_series), len(_NO_PRICES))
    rows_of_series = np.diff(ends[np.append(0, np.cumsum(of_series))])
    for at, (count, cost) in enumerate([*((count, INPUT_COST) for count in _OF_INPUT), (OUTPUT, OUTPUT_COST)]):
        if prices[:, at].any():
            found[cost] += found[count] * np.repeat(prices[:, at], rows_of_series)
    if not table[_PRICED].all():
        found[INPUT_COST:_TABLE, table[_PRICED] == 0] = ABSENT
    np.add(found[INPUT_COST], found[OUTPUT_COST], out=found[_TABLE])
    np.maximum(found[_TABLE], ABSENT, out=found[_TABLE])  # two that are absent
    return found.T


def _unpacked_steps(
    packed: Sequence[PackedRows], filled: Sequence[int], numbers: _Numbers
) -> tuple[Integers, Integers]:
    """Return the first values of cells that have rows, so many in each frame, and the distances of other rows."""
    firsts, rest = [], []
    for frame, (one, first) in enumerate(zip(packed, filled, strict=True)):
        if one.of_bits is None:
            firsts.append(unpack_column(one.firsts, first))
            rest.append(unpack_column(one.distances, one.count - first))
        else:
            firsts.append(numbers.take(frame, first) + one.lowest)
            rest.append(numbers.take(frame, one.count - first))
    return np.concatenate(firsts), np.concatenate(rest)


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
