"""Cells merged into what one bucket of an answer is made of."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from aggregator.call_tally import CallTally
from aggregator.cell import Cell
from aggregator.series import LATENCY, OF_LATENCY, OF_USAGE, Row, Series, series_of
from aggregator.sketch import Floats, quantiles
from aggregator.totals import ABSENT, Integers, Totals

Buckets = Mapping[int, "Merged"] | Sequence["Merged"]


class Values:
    """What percentiles of one series are read from: its rows, where they are still kept, and sketches."""

    __slots__ = ("_columns", "large", "rows", "sketches")

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.large: list[Row] = []
        self.sketches: list[list[bytes]] = []
        self._columns: Floats | None = None

    def quantiles(
        self, series: Series, metric: int, wanted: Sequence[float], minimum: float, maximum: float
    ) -> list[float] | None:
        """Quantiles (0-1) of a metric between its exact ends; None where no value is here."""
        if self._columns is None:
            self._columns = series.values(b"".join(self.rows)).T.astype(np.float64)
        values = self._columns[metric]
        if metric >= series.layout.costs_at:
            values = values[values != ABSENT]
        if self.large:
            values = np.concatenate([values, [float(row[metric]) for row in self.large if metric < len(row)]])
        sketches = [sketch[metric] for sketch in self.sketches if sketch[metric]]
        if not sketches and not len(values):
            return None
        return quantiles(sketches, values, wanted, minimum, maximum)


class Merged:
    """Exact totals by series (none of a series without rows), and the values to read percentiles from, if asked for."""

    __slots__ = ("calls", "errors", "totals", "values")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.totals: dict[bytes, Totals] = {}
        self.values: dict[bytes, Values] = {}

    @property
    def models(self) -> Iterable[bytes]:
        """The series of its models."""
        return (name for name in self.totals if name != LATENCY)

    def values_of(self, name: bytes) -> Values:
        """The values of a series, to add to."""
        values = self.values.get(name)
        if values is None:
            values = self.values[name] = Values()
        return values

    def add_totals(self, name: bytes, totals: Totals) -> None:
        """Merge the totals of a series, which may be changed later."""
        known = self.totals.get(name)
        if known is None:
            self.totals[name] = totals
        else:
            series_of(name).layout.merge(known, totals)


def merge_tallies(tallies: Mapping[int, CallTally], into: Buckets) -> None:
    """Add single calls, by bucket."""
    merge_cells([(bucket, tally.cell()) for bucket, tally in tallies.items()], into)
    for bucket, tally in tallies.items():
        for name, rows in tally.rows.items():
            into[bucket].values_of(name).rows += rows
        for name, large in tally.large.items():
            into[bucket].values_of(name).large += large


def merge_cells(cells: Iterable[tuple[int, Cell]], into: Buckets) -> None:
    """Add the totals of cells, each to its bucket: those of all series at once."""
    rows: dict[tuple[int, bytes], list[bytes]] = {}
    totals: dict[tuple[int, bytes], list[bytes]] = {}
    for bucket, cell in cells:
        merged = into[bucket]
        merged.calls += cell.calls
        merged.errors += cell.errors
        for name, packed in cell.rows.items():
            rows.setdefault((bucket, name), []).append(packed)
        for name, packed in cell.totals.items():
            totals.setdefault((bucket, name), []).append(packed)
        for name, large in cell.large.items():
            merged.add_totals(name, list(large))
    for series in (OF_LATENCY, OF_USAGE):
        layout = series.layout
        ours = {key: packed for key, packed in rows.items() if series_of(key[1]) is series}
        if ours:
            found = layout.of_segments(series.values(_joined(ours)), _starts(ours, series.row_bytes))
            _add_all(ours, found.tolist(), into)
        ours = {key: packed for key, packed in totals.items() if series_of(key[1]) is series}
        if ours:
            found = layout.merged_segments(layout.unpack(_joined(ours)), _starts(ours, len(layout.packed_none)))
            _add_all(ours, found.tolist(), into)


def _joined(parts: Mapping[tuple[int, bytes], list[bytes]]) -> bytes:
    return b"".join([b"".join(packed) for packed in parts.values()])


def _starts(parts: Mapping[tuple[int, bytes], list[bytes]], size: int) -> Integers:
    counts: Integers = np.array([sum(map(len, packed)) // size for packed in parts.values()])
    return np.cumsum(counts) - counts


def _add_all(keys: Iterable[tuple[int, bytes]], totals: list[Totals], into: Buckets) -> None:
    for (bucket, name), one in zip(keys, totals, strict=True):
        into[bucket].add_totals(name, one)
