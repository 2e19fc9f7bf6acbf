"""What is stored beside a cell of one series: rows that were too many for it, and sketches of still more.

Rows can be taken out again, when what a call counts has changed: sums and counts are then exact always, and so is all
else while no row of the series was compressed into sketches.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, islice

import numpy as np

from aggregator.rollups.cell import Cell
from aggregator.rollups.packed_sketch import Floats
from aggregator.rollups.series import Row, Series, series_of
from aggregator.rollups.sketch import compress_each, take_out
from aggregator.rollups.totals import ABSENT, ROWS


class Overflow:
    """The newest rows, and a sketch for each metric once there are any."""

    __slots__ = ("rows", "sketches")

    def __init__(self, rows: bytes = b"", sketches: list[bytes] | None = None) -> None:
        self.rows = rows
        self.sketches = sketches or []

    def compress(self, series: Series, large: Iterable[Row] = ()) -> None:
        """Count all rows, and those too large to be packed, in the sketches."""
        columns = self._take_columns(series, list(large))
        self.sketches = compress_each(self.sketches or [b""] * len(columns), columns)

    def _take_columns(self, series: Series, large: Sequence[Row]) -> list[Floats]:
        """The values of each metric, of rows that are then no more here."""
        values = series.values(self.rows).T.astype(np.float64)
        self.rows = b""
        columns = []
        for metric, column in enumerate(values):
            more = [float(row[metric]) for row in large if metric < len(row)]
            if metric >= series.layout.costs_at:
                column = column[column != ABSENT]
            columns.append(np.concatenate([column, more]) if more else column)
        return columns

    @staticmethod
    def compress_all(overflows: Sequence["Overflow"], series: Series) -> None:
        """Count the rows of several, which are of one kind of series, in their sketches: once for all of them."""
        columns = [overflow._take_columns(series, ()) for overflow in overflows]
        stored = [overflow.sketches or [b""] * len(of_one) for overflow, of_one in zip(overflows, columns, strict=True)]
        sketches = iter(compress_each(list(chain.from_iterable(stored)), list(chain.from_iterable(columns))))
        for overflow, of_one in zip(overflows, columns, strict=True):
            overflow.sketches = list(islice(sketches, len(of_one)))

    def take_out(self, rows: Sequence[Row]) -> None:
        """Count rows that were compressed no more."""
        for metric, sketch in enumerate(self.sketches):
            values = [float(row[metric]) for row in rows if metric < len(row)]
            if sketch and values:
                self.sketches[metric] = take_out(sketch, values)


def without_rows(rows: bytes, gone: bytes, row_bytes: int) -> tuple[bytes, bytes]:
    """Packed rows without those of `gone`, each taken once; and those of `gone` that were not there."""
    missing = []
    for first in range(0, len(gone), row_bytes):
        row = gone[first : first + row_bytes]
        at = rows.find(row)
        while at > 0 and at % row_bytes:  # not where a row begins
            at = rows.find(row, at + 1)
        if at < 0:
            missing.append(row)
        else:
            rows = rows[:at] + rows[at + row_bytes :]
    return rows, b"".join(missing)


def take_rows_beside(cell: Cell, overflow: Overflow, name: bytes, gone: bytes, large: Sequence[Row]) -> int:
    """Count rows no more that are beside a cell: packed ones, and those that were too large to be packed.

    What is not there is left alone: its block was past its retention. Returns how many rows minimum, maximum and
    percentiles may still show.
    """
    series = series_of(name)
    overflow.rows, compressed = without_rows(overflow.rows, gone, series.row_bytes)
    if not overflow.sketches:
        if overflow.rows:
            values = series.values(overflow.rows)
            cell.totals[name] = series.layout.of_segments(values, np.zeros(1, np.int64)).astype("<i8").tobytes()
        else:
            cell.totals.pop(name, None)
        return 0
    taken = _take_from_totals(cell, series, name, series.unpack(gone))
    taken += _take_from_large(cell, series, name, large)
    overflow.take_out([*series.unpack(compressed), *large] if taken else [])
    if name not in cell.totals and name not in cell.large:
        overflow.sketches = []
    return taken


def _take_from_totals(cell: Cell, series: Series, name: bytes, rows: Sequence[Row]) -> int:
    layout, packed = series.layout, cell.totals.get(name)
    if packed is None or not rows:
        return 0
    totals = layout.unpack(packed)[0].tolist()
    layout.take(totals, layout.of_values(rows))
    if totals[ROWS] > 0:
        cell.totals[name] = np.array(totals, dtype="<i8").tobytes()
    else:
        del cell.totals[name]
    return len(rows)


def _take_from_large(cell: Cell, series: Series, name: bytes, rows: Sequence[Row]) -> int:
    totals = cell.large.get(name)
    if totals is None or not rows:
        return 0
    series.layout.take(totals, series.layout.of_values(rows))
    if totals[ROWS] <= 0:
        del cell.large[name]
    return len(rows)
