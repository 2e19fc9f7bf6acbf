"""The cells of frames, unpacked as far as an answer needs them: whole cells, or many at once merged into buckets.

Frames are unpacked several at a time (see unpacked_columns.py).
"""

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from aggregator.rollups.accumulator import BucketSeries, Merged
from aggregator.rollups.cell import Cell
from aggregator.rollups.series import KINDS
from aggregator.segments.columns import Integers
from aggregator.segments.gathering import HAS_LARGE, HAS_MORE, HAS_TOTALS, FullCell, PackedOverflow
from aggregator.segments.unpacked_columns import PLACE_BITS, UnpackedColumns


def unpack_frame(packed: bytes, wanted: Collection[int] | None = None) -> dict[int, FullCell]:
    """The cells of a frame by place, of those wanted (None: all). Raises CorruptFrame."""
    frame = Frames([packed])
    places = frame.places if wanted is None else np.fromiter(wanted, dtype=np.int64, count=len(wanted))
    at = frame.find(np.zeros(len(places), dtype=np.int64), places)
    is_here = at >= 0
    return dict(zip(places[is_here].tolist(), frame.full_cells(at[is_here].tolist()), strict=True))


class Frames(UnpackedColumns):
    """The cells of some frames, one frame's after the other's, by position. Methods raise CorruptFrame."""

    def find(self, frames: Integers, places: Integers) -> Integers:
        """Return the positions of the cells of these places, each in the frame that is named with it; -1: none."""
        if not len(self.places):
            return np.full(len(places), -1, dtype=np.int64)
        ours = (self.frame_of << PLACE_BITS) + self.places
        wanted = (frames << PLACE_BITS) + places
        at = np.minimum(np.searchsorted(ours, wanted), len(ours) - 1)
        found: Integers = np.where(ours[at] == wanted, at, -1)
        return found

    def full_cells(self, positions: Sequence[int]) -> list[FullCell]:
        """The cells at these positions, with what is beside them."""
        cells = {at: FullCell(Cell(self._calls[at], self._errors[at]), {}) for at in positions}
        is_wanted = np.zeros(len(self.places), dtype=np.bool_)
        is_wanted[list(cells)] = True
        (entries,) = is_wanted[self._cells].nonzero()
        self._pick(entries)
        rows = [kind.rows(self._values(at)) for at, kind in enumerate(KINDS)]
        totals = [kind.layout.packed(self._totals(at)) for at, kind in enumerate(KINDS)]
        beside_of = self._reading_beside(entries)
        spans = self._row_begins, self._row_ends, self._totals_begins, self._totals_ends
        of_entries = self._cells, self._names_at, self._kinds, *spans
        for entry, at, name_at, has, begin, end, totals_begin, totals_end in np.stack(
            (entries, *(one[entries] for one in of_entries))
        ).T.tolist():
            (cell, beside), name = cells[at], self._names[name_at]
            kind = self._kinds_of[name_at]
            series = KINDS[kind]
            if end > begin:
                cell.rows[name] = rows[kind][begin * series.row_bytes : end * series.row_bytes]
            if has & HAS_TOTALS:
                width = len(series.layout.packed_none)
                cell.totals[name] = totals[kind][totals_begin * width : totals_end * width]
            if has & HAS_LARGE:
                cell.large[name] = self._large[self._large_at[entry]]
            if has & HAS_MORE:
                beside[name] = next(beside_of)
        return [cells[at] for at in positions]

    def _reading_beside(self, entries: Integers) -> Iterator[PackedOverflow]:
        """Yield what is beside the cells of those of some entries that have more than rows."""
        full = entries[self._kinds[entries] & HAS_MORE != 0]
        if not len(full):
            return
        beside = self._beside()
        for entry, name_at in zip(full.tolist(), self._names_at[full].tolist(), strict=True):
            rows = beside.rows[self._kinds_of[name_at]]
            sketches = beside.sketches[beside.sketch_ends[entry] : beside.sketch_ends[entry + 1]]
            yield PackedOverflow(rows[beside.row_begins[entry] : beside.row_ends[entry]], sketches)

    def add_to(
        self, merged: Merged, positions: Integers, buckets: Integers, latency_values: bool, usage_values: bool
    ) -> None:
        """Count the cells at these positions, none of them twice, in their buckets, all that is of one bucket at once.

        `latency_values`, `usage_values`: whether what percentiles are read from is to be added too.
        """
        of_cells = np.full(len(self.places), -1, dtype=np.int64)
        of_cells[positions] = buckets
        for at, bucket in zip(positions.tolist(), buckets.tolist(), strict=True):
            merged.add_counts(bucket, self._calls[at], self._errors[at])
        wants = np.array([merged.wants(name) for name in self._names], dtype=np.bool_)
        of_entries = of_cells[self._cells]
        ours = (of_entries >= 0) & wants[self._names_at]
        wants_values = latency_values, usage_values
        for at, entries in enumerate(self._entries):
            of_kind = entries[ours[entries]]
            if len(of_kind):
                self._pick(of_kind)
                self._add_rows(merged, at, of_kind, of_entries[of_kind], wants_values[at])
                self._add_more(merged, of_kind, of_entries[of_kind], wants_values[at])

    def _add_rows(self, merged: Merged, kind: int, entries: Integers, buckets: Integers, with_values: bool) -> None:
        """Count rows and totals of entries of a kind; rows run by run: neighbours of one series and bucket."""
        names_at = self._names_at[entries]
        is_new = np.ones(len(entries) + 1, dtype=np.bool_)
        is_new[1:-1] = (np.diff(entries) != 1) | (np.diff(names_at) != 0) | (np.diff(buckets) != 0)
        # What follows from others has its rows where these have them, or apart.
        is_new[1:-1] |= self._row_begins[entries[1:]] != self._row_ends[entries[:-1]]
        begins, ends = self._row_begins[entries[is_new[:-1]]], self._row_ends[entries[is_new[1:]]]
        has_rows = ends > begins
        of_runs = names_at[is_new[:-1]][has_rows], buckets[is_new[:-1]][has_rows], begins[has_rows], ends[has_rows]
        series, keys = KINDS[kind], self._keys(*of_runs[:2])
        sums_alone = series in merged.sums_alone
        of_rows = self._totals_of_rows(kind, *of_runs[2:], sums_alone)
        merged.add_rows_of_totals(series, keys, of_rows)
        (full,) = self._has_totals[entries].nonzero()
        if len(full):
            (starts,) = np.append(True, (np.diff(names_at[full]) != 0) | (np.diff(buckets[full]) != 0)).nonzero()
            begins = self._totals_begins[entries[full]]  # they ascend
            stored = self._totals(kind, sums_alone)[begins[0] : begins[-1] + 1]
            if len(stored) != len(begins):
                stored = stored.T.take(begins - begins[0], axis=1).T
            of_each = series.layout.merged_segments(stored, starts)
            merged.add_rows_of_totals(series, self._keys(names_at[full[starts]], buckets[full[starts]]), of_each)
        if with_values:
            rows, size = series.rows(self._values(kind)), series.row_bytes
            for (bucket, name), begin, end in zip(keys, *(one.tolist() for one in of_runs[2:]), strict=True):
                merged.add_values(bucket, name, rows[begin * size : end * size])

    def _keys(self, names_at: Integers, buckets: Integers) -> list[BucketSeries]:
        return list(zip(buckets.tolist(), [self._names[at] for at in names_at.tolist()], strict=True))

    def _totals_of_rows(self, kind: int, begins: Integers, ends: Integers, sums_alone: bool) -> Integers:
        """Return the totals of runs of rows."""
        values, sizes = self._values(kind), ends - begins
        starts = np.cumsum(sizes) - sizes
        count = int(sizes.sum())
        if count != len(values) or (begins[1:] != ends[:-1]).any():
            # Metric by metric in memory, as they are; an index in brackets would turn them.
            values = values.T.take(np.repeat(begins - starts, sizes) + np.arange(count), axis=1).T
        return KINDS[kind].layout.of_segments(values, starts, sums_alone)

    def _add_more(self, merged: Merged, entries: Integers, buckets: Integers, with_values: bool) -> None:
        """Add what entries have besides rows and totals."""
        if not with_values and not self._large:
            return
        is_full = self._kinds[entries] & HAS_MORE != 0
        full = entries[is_full]
        beside_of = self._reading_beside(full) if with_values else None
        of_full = full, buckets[is_full], self._names_at[full], self._kinds[full]
        for entry, bucket, name_at, has in np.stack(of_full).T.tolist():
            if has & HAS_LARGE:
                merged.add_large(bucket, self._names[name_at], self._large[self._large_at[entry]])
            if beside_of is not None:
                merged.add_beside(bucket, self._names[name_at], *next(beside_of))
