"""Cells and single calls merged into what the buckets of an answer are made of."""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from aggregator.rollups.cell import Cell
from aggregator.rollups.series import KINDS, LATENCY, OF_LATENCY, OF_USAGE, Row, Series, is_of_trees, series_of
from aggregator.rollups.tally import CallTally
from aggregator.rollups.totals import Integers, Totals
from aggregator.rollups.values import LARGE_BYTES, SERIES_BYTES, Values

BucketSeries = tuple[int, bytes]
"""The position of a bucket, and the name of a series in it."""

Parts = dict[BucketSeries, list[bytes]]

# From here on, and then each time it has doubled, what was gathered is made small. A month of percentiles of five
# models stays as it is.
COMPACT_BYTES_MIN, COMPACT_BYTES_MAX = 96 * 2**20, 192 * 2**20

# What a bucket takes besides its series.
_BUCKET_BYTES = 16


class SeriesTotals(NamedTuple):
    """Totals of many series of one kind: a row for each of `keys`, and those that may not fit into 64 bits apart."""

    series: Series
    keys: list[BucketSeries]
    rows: Integers
    large: dict[BucketSeries, Totals]


class Merged:
    """Gathers the cells and calls of buckets: counts by bucket, and all that `totals` then adds up at once.

    `size_bytes`: how much that is, about.

    `trees`: usage is that of roots with all that is below them, not that of the calls themselves. `kinds`: the kinds of
    series that anything is asked of; `sums_alone`: those of which nothing but counts and sums is, so that other totals
    may be left out.
    """

    def __init__(
        self,
        buckets: int,
        trees: bool = False,
        kinds: Collection[Series] = KINDS,
        sums_alone: Collection[Series] = (),
    ) -> None:
        self.trees = trees
        self.kinds = kinds
        self.sums_alone = sums_alone
        self.calls = [0] * buckets
        self.errors = [0] * buckets
        self.values: dict[BucketSeries, Values] = {}
        self.size_bytes = 0
        self._rows: dict[Series, Parts] = {OF_LATENCY: {}, OF_USAGE: {}}
        self._totals: dict[Series, Parts] = {OF_LATENCY: {}, OF_USAGE: {}}
        self._found: dict[Series, list[tuple[Sequence[BucketSeries], Integers]]] = {OF_LATENCY: [], OF_USAGE: []}
        self._large: dict[Series, dict[BucketSeries, Totals]] = {OF_LATENCY: {}, OF_USAGE: {}}
        self._compacted_bytes = 0

    def add_cell(self, bucket: int, cell: Cell) -> None:
        """Count a cell, but for the values that percentiles are read from."""
        self.calls[bucket] += cell.calls
        self.errors[bucket] += cell.errors
        self.size_bytes += sum(map(len, cell.rows.values())) + sum(map(len, cell.totals.values()))
        self._add_parts(self._rows, bucket, cell.rows)
        if cell.totals:
            self._add_parts(self._totals, bucket, cell.totals)
        for name, large in cell.large.items():
            if not self.wants(name):
                continue
            series = series_of(name)
            series.layout.merge(self._large[series].setdefault((bucket, name), series.layout.none()), large)

    def add_counts(self, bucket: int, calls: int, errors: int) -> None:
        """Count calls and errors alone."""
        self.calls[bucket] += calls
        self.errors[bucket] += errors

    def add_packed(self, bucket: int, name: bytes, rows: bytes, totals: bytes) -> None:
        """Count packed rows of a series, and packed totals, one or several; `calls` and `errors` are left alone."""
        self.size_bytes += len(rows) + len(totals)
        key, series = (bucket, name), series_of(name)
        if rows:
            self._rows[series].setdefault(key, []).append(rows)
        if totals:
            self._totals[series].setdefault(key, []).append(totals)

    def add_rows_of_totals(self, series: Series, keys: Sequence[BucketSeries], rows: Integers) -> None:
        """Count totals of series of one kind, a row for each of `keys`, none of which is unwanted."""
        if len(keys):
            self.size_bytes += rows.nbytes
            self._found[series].append((keys, rows))

    def add_values(self, bucket: int, name: bytes, rows: bytes) -> None:
        """Add packed rows to the values of a series; they are counted in nothing."""
        self.size_bytes += len(rows)
        self.values_of(bucket, name).rows.append(rows)

    def add_beside(self, bucket: int, name: bytes, rows: bytes, sketches: list[bytes]) -> None:
        """Add to the values of a series what is beside a cell: rows, and a sketch for each metric or none."""
        self.size_bytes += len(rows) + sum(map(len, sketches))
        values = self.values_of(bucket, name)
        if rows:
            values.rows.append(rows)
        if sketches:
            values.sketches.append(sketches)

    def add_calls(self, bucket: int, tally: CallTally) -> None:
        """Count single calls, and their values."""
        packed = tally.packed(with_trees=self.trees)
        self.add_cell(bucket, packed.cell())
        for name, rows in packed.rows.items():
            if self.wants(name):
                self.values_of(bucket, name).rows.append(rows)
        for name, large in packed.large.items():
            if self.wants(name):
                self.values_of(bucket, name).large += large

    def add_totals(self, bucket: int, name: bytes, packed: bytes) -> None:
        """Count packed totals of a series, one row or several; `calls` and `errors` are left alone."""
        self._totals[series_of(name)].setdefault((bucket, name), []).append(packed)

    def add_large(self, bucket: int, name: bytes, large: Totals) -> None:
        """Count totals that may not fit into 64 bits; `calls` and `errors` are left alone."""
        layout = series_of(name).layout
        layout.merge(self._large[series_of(name)].setdefault((bucket, name), layout.none()), large)

    def add_large_row(self, bucket: int, name: bytes, row: Row, is_value: bool) -> None:
        """Count a row that is too large to be packed; `is_value`: percentiles are asked for."""
        self.add_large(bucket, name, series_of(name).layout.of_values([row]))
        if is_value:
            self.values_of(bucket, name).large.append(row)

    def add_merged(self, other: "Merged", targets: Mapping[int, int]) -> None:
        """Add all that another one gathered, its buckets to those that `targets` names; it stays as it is."""
        for bucket, target in targets.items():
            self.calls[target] += other.calls[bucket]
            self.errors[target] += other.errors[bucket]
        self.size_bytes += other.size_bytes
        for ours, theirs in ((self._rows, other._rows), (self._totals, other._totals)):
            for series, parts in theirs.items():
                for (bucket, name), packed in parts.items():
                    ours[series].setdefault((targets[bucket], name), []).extend(packed)
        for series, found in other._found.items():
            self._found[series] += [([(targets[bucket], name) for bucket, name in keys], rows) for keys, rows in found]
        for of_series in other._large.values():
            for (bucket, name), large in of_series.items():
                self.add_large(targets[bucket], name, large)
        for (bucket, name), values in other.values.items():
            more = self.values_of(targets[bucket], name)
            more.rows += values.rows
            more.large += values.large
            more.sketches += values.sketches

    def widen(self, buckets: int) -> None:
        """Make room for so many buckets in all."""
        self.calls += [0] * (buckets - len(self.calls))
        self.errors += [0] * (buckets - len(self.errors))

    def condense(self) -> None:
        """Add up what was gathered, so that memory goes by the series and not by the cells that were added."""
        for series, of_rows in self._rows.items():
            found = self.totals(series)
            of_rows.clear()
            self._found[series].clear()
            packed = found.rows.astype("<i8")
            self._totals[series] = {
                key: [packed[at].tobytes()] for at, key in enumerate(found.keys) if key not in found.large
            }
            self._large[series] = dict(found.large)

    def compact(self) -> None:
        """Condense it where it is large, and keep sketches instead of values that are many."""
        if self.size_bytes <= min(max(COMPACT_BYTES_MIN, 2 * self._compacted_bytes), COMPACT_BYTES_MAX):
            return
        self.condense()
        for (_, name), values in self.values.items():
            values.compact(series_of(name))
        self.size_bytes = self._compacted_bytes = self.kept_bytes

    @property
    def kept_bytes(self) -> int:
        """About how much memory it takes to keep, condensed."""
        found = _BUCKET_BYTES * len(self.calls) + sum(one.kept_bytes for one in self.values.values())
        for parts in (*self._rows.values(), *self._totals.values()):
            found += sum(SERIES_BYTES + sum(map(len, packed)) for packed in parts.values())
        for keys, rows in chain.from_iterable(self._found.values()):
            found += SERIES_BYTES * len(keys) + rows.nbytes
        return found + sum(LARGE_BYTES * len(large) for large in self._large.values())

    def wants(self, name: bytes) -> bool:
        """Whether a series is of a kind that is asked for, and its usage that of trees or of calls, as asked."""
        return series_of(name) in self.kinds and (name == LATENCY or is_of_trees(name) == self.trees)

    def values_of(self, bucket: int, name: bytes) -> Values:
        """The values of a series, to add to."""
        values = self.values.get((bucket, name))
        if values is None:
            values = self.values[bucket, name] = Values()
        return values

    def _add_parts(self, parts: Mapping[Series, Parts], bucket: int, more: Mapping[bytes, bytes]) -> None:
        latencies, usage = parts[OF_LATENCY], parts[OF_USAGE]
        for name, packed in more.items():
            if name == LATENCY:
                of_series = latencies
            elif is_of_trees(name) == self.trees:
                of_series = usage
            else:
                continue
            known = of_series.get((bucket, name))
            if known is None:
                of_series[bucket, name] = [packed]
            else:
                known.append(packed)

    def totals(self, series: Series) -> SeriesTotals:
        """The totals of all series of a kind that have rows, by bucket."""
        layout = series.layout
        parts = self._rows[series], self._totals[series]
        large = {key: list(totals) for key, totals in self._large[series].items()}
        keys = list(chain.from_iterable(keys for keys, _ in self._found[series]))
        places = {key: place for place, key in enumerate(dict.fromkeys([*parts[0], *parts[1], *large, *keys]))}
        if keys and len(keys) == len(places) and not (any(parts) or large):  # each once, and nothing else
            rows = np.concatenate([rows for _, rows in self._found[series]])
            layout.carry_all(rows)
            return SeriesTotals(series, keys, rows, large)
        found = layout.unpack(layout.packed_none * len(places)).astype(np.int64)
        for of_rows, ours in zip((True, False), parts, strict=True):
            if not ours:
                continue
            packed = b"".join([b"".join(pieces) for pieces in ours.values()])
            starts = _starts(ours, series.row_bytes if of_rows else len(layout.packed_none))
            more = (
                layout.of_segments(series.values(packed), starts, series in self.sums_alone)
                if of_rows
                else layout.merged_segments(layout.unpack(packed), starts)
            )
            at = np.fromiter((places[key] for key in ours), dtype=np.int64, count=len(ours))
            found[at] = layout.merged(found[at], more)
        if keys:
            at = np.fromiter(map(places.__getitem__, keys), dtype=np.int64, count=len(keys))
            order = np.argsort(at, kind="stable")
            (starts,) = np.diff(at[order], prepend=-1).nonzero()
            more = layout.merged_segments(np.concatenate([rows for _, rows in self._found[series]])[order], starts)
            at = at[order][starts]
            found[at] = layout.merged(found[at], more)
        for key, totals in large.items():
            layout.merge(totals, found[places[key]].tolist())
        return SeriesTotals(series, list(places), found, large)


def _starts(parts: Mapping[BucketSeries, list[bytes]], size: int) -> Integers:
    counts: Integers = np.array([sum(map(len, packed)) // size for packed in parts.values()])
    return counts.cumsum() - counts
