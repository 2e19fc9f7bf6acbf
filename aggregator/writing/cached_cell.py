"""A cell that a writer has at hand: what it gains and loses, in itself and beside it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from aggregator.layout.write import ShardWrite
from aggregator.rollups.cell import (
    ROWS_BESIDE_MAX,
    ROWS_IN_CELL_MAX,
    SKETCHES_CODEC,
    Cell,
    pack_cell,
    rows_field,
    sketches_field,
)
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, Row, Series, series_of
from aggregator.rollups.tally import PackedTally
from aggregator.rollups.totals import Integers
from aggregator.segments.gathering import PackedOverflow
from aggregator.writing.overflow import Overflow, take_rows_beside, without_rows

LATENCIES_BYTES_MAX = ROWS_IN_CELL_MAX * OF_LATENCY.row_bytes
USAGE_BYTES_MAX = ROWS_IN_CELL_MAX * OF_USAGE.row_bytes


class CachedCell:
    """A cell at hand, where it is stored, and what is beside it of the series that batches needed."""

    __slots__ = ("batch", "cell", "key", "overflow", "place")

    def __init__(self, key: str, place: bytes) -> None:
        self.key = key
        self.place = place
        self.cell = Cell()
        self.overflow: dict[bytes, Overflow] = {}
        self.batch = 0  # the last one that it was in; 0: it has not been read yet

    def take_over(self, cell: Cell, beside: Mapping[bytes, PackedOverflow], write: ShardWrite) -> None:
        """Be what was sealed of this place: it is stored again, and beside it what was beside it."""
        self.cell = cell
        write.set(self.key, self.place, pack_cell(cell))
        for name, (rows, sketches) in beside.items():
            self.overflow[name] = Overflow(rows, sketches)
            write.set(self.key, rows_field(self.place, name), rows)
            if sketches:
                write.set(self.key, sketches_field(self.place, name), SKETCHES_CODEC.pack(sketches))


CachedSeries = tuple[CachedCell, bytes]
"""A cell, and the name of a series of it."""

Gain = tuple[CachedCell, PackedTally]
"""A cell, and what it gains in the batch at hand."""


class Loss(NamedTuple):
    """Rows of a series that a cell counts no more and that are not in the cell: packed ones, and large ones."""

    cached: CachedCell
    name: bytes
    rows: bytes
    large: list[Row]


class Growth(NamedTuple):
    """Rows of a series that are too many for their cell."""

    cached: CachedCell
    name: bytes
    rows: bytes


def take(cached: CachedCell, packed: PackedTally) -> Iterator[Loss]:
    """Take rows that are counted no more out of their cell; yields those that are not in it."""
    rows_of = cached.cell.rows
    for name in dict.fromkeys([*packed.lost, *packed.lost_large]):
        missing = packed.lost.get(name, b"")
        if missing and name in rows_of:
            rows_of[name], missing = without_rows(rows_of[name], missing, series_of(name).row_bytes)
            if not rows_of[name]:
                del rows_of[name]
        large = packed.lost_large.get(name, [])
        if missing or large:
            yield Loss(cached, name, missing, large)


def take_beside(loss: Loss, write: ShardWrite) -> int:
    """Take rows out of what is beside their cell; returns how many may still show in minimum, maximum, percentiles."""
    cached, name, rows, large = loss
    overflow = cached.overflow.get(name)
    if overflow is None:  # nothing was read: the block was past its retention
        return 0
    still_shown = take_rows_beside(cached.cell, overflow, name, rows, large)
    write.set(cached.key, rows_field(cached.place, name), overflow.rows)
    if still_shown:
        write.set(cached.key, sketches_field(cached.place, name), SKETCHES_CODEC.pack(overflow.sketches))
    return still_shown


def count(
    gains: Iterable[Gain],
) -> tuple[list[Growth], list[tuple[CachedCell, bytes, list[Row]]]]:
    """Add what cells gain to the cells; returns rows that are too many for theirs, and rows that are too large."""
    growths: list[Growth] = []
    large: list[tuple[CachedCell, bytes, list[Row]]] = []
    for cached, packed in gains:
        cell = cached.cell
        rows_of = cell.rows
        cell.calls += packed.calls
        cell.errors += packed.errors
        for name, rows in packed.rows.items():
            known = rows_of.get(name)
            if known is not None:
                rows = known + rows
            if len(rows) <= (LATENCIES_BYTES_MAX if name == LATENCY else USAGE_BYTES_MAX):
                rows_of[name] = rows
            else:
                growths.append(Growth(cached, name, rows))
                if known is not None:
                    del rows_of[name]
        if packed.large:
            large += [(cached, name, of_series) for name, of_series in packed.large.items()]
    return growths, large


def grow(growths: list[Growth], series: Series, write: ShardWrite) -> None:
    """Add rows to the totals of their cells, all at once, and to what is beside these."""
    if not growths:
        return
    grown = [(growth.cached, growth.name) for growth in growths]
    sizes = np.array([len(growth.rows) // series.row_bytes for growth in growths])
    gained = series.layout.of_segments(
        series.values(b"".join(growth.rows for growth in growths)), np.cumsum(sizes) - sizes
    )
    add_totals(series, grown, gained)
    for cached, name, rows in growths:
        cached.overflow.setdefault(name, Overflow()).rows += rows
    write_beside(series, grown, (), write)


def add_totals(series: Series, of: Sequence[CachedSeries], gained: Integers) -> None:
    """Add totals, a row for each, to those of these series of cells."""
    layout = series.layout
    before = b"".join(cached.cell.totals.get(name, layout.packed_none) for cached, name in of)
    after = layout.packed(layout.merged(layout.unpack(before), gained))
    width = len(layout.packed_none)
    for at, (cached, name) in enumerate(of):
        cached.cell.totals[name] = after[at * width : (at + 1) * width]


def write_beside(series: Series, of: Sequence[CachedSeries], merged: Iterable[CachedSeries], write: ShardWrite) -> None:
    """Compress rows beside cells that have become too many, and note what is beside these cells; `merged`: of which the
    sketches have changed already.
    """
    full = [one for one in of if len(one[0].overflow[one[1]].rows) > ROWS_BESIDE_MAX * series.row_bytes]
    Overflow.compress_all([cached.overflow[name] for cached, name in full], series)
    for cached, name in (*full, *merged):
        write.set(cached.key, sketches_field(cached.place, name), SKETCHES_CODEC.pack(cached.overflow[name].sketches))
    for cached, name in of:
        write.set(cached.key, rows_field(cached.place, name), cached.overflow[name].rows)


def add_large(cached: CachedCell, name: bytes, rows: list[Row], write: ShardWrite) -> None:
    """Count rows that are too large to be packed: exact totals of any size, and at once in the sketches."""
    series = series_of(name)
    series.layout.merge(cached.cell.large.setdefault(name, series.layout.none()), series.layout.of_values(rows))
    overflow = cached.overflow.setdefault(name, Overflow())
    overflow.compress(series, rows)
    write.set(cached.key, sketches_field(cached.place, name), SKETCHES_CODEC.pack(overflow.sketches))
    write.set(cached.key, rows_field(cached.place, name), overflow.rows)
