"""A frame's cells, unpacked as far as an answer needs them: whole cells, or many at once merged into buckets."""

from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import Cell
from aggregator.rollups.series import LATENCY, series_of
from aggregator.segments.columns import Integers, unpack_column, unpack_table
from aggregator.segments.compression import CorruptFrame, decompress
from aggregator.segments.frame import (
    HAS_LARGE,
    HAS_SKETCHES,
    HAS_TOTALS,
    HEADER,
    KINDS,
    LARGE_CODEC,
    MARK,
    BesideColumns,
    CellColumns,
    FullCell,
    PackedOverflow,
)
from aggregator.segments.rows import PackedRows, unpack_rows

_cells_decoder = msgspec.msgpack.Decoder(CellColumns)
_beside_decoder = msgspec.msgpack.Decoder(BesideColumns)
_Damage = (msgspec.MsgspecError, ValueError, IndexError)


def unpack_frame(packed: bytes, wanted: Collection[int] | None = None) -> dict[int, FullCell]:
    """The cells of a frame by place, of those wanted (None: all). Raises CorruptFrame."""
    frame = Frame(packed)
    at = frame.positions(frame.places if wanted is None else wanted)
    return dict(zip(at, frame.full_cells(at.values()), strict=True))


class _Beside(NamedTuple):
    """Rows beside cells, entry by entry, and where those of each entry end; sketches, and where those end."""

    rows: bytes
    row_ends: list[int]
    sketches: list[bytes]
    sketch_ends: list[int]

    def of(self, entry: int) -> PackedOverflow:
        """Return what is beside the cell of an entry."""
        sketches = self.sketches[self.sketch_ends[entry] : self.sketch_ends[entry + 1]]
        return PackedOverflow(self.rows[self.row_ends[entry] : self.row_ends[entry + 1]], sketches)


class Frame:
    """The cells of a frame, by their position in it. Methods raise CorruptFrame.

    An entry is a series of a cell. Entries lie series by series, and so do rows, totals and what is beside cells.
    """

    def __init__(self, packed: bytes) -> None:
        try:
            mark, size, beside_size = HEADER.unpack_from(packed) if len(packed) >= HEADER.size else (b"", 0, 0)
            if mark != MARK or len(packed) != HEADER.size + size + beside_size:
                raise CorruptFrame("it does not begin as a frame does, or is not as long as it says")
            self._packed_beside = packed[HEADER.size + size :]
            self._unpack(_cells_decoder.decode(decompress(packed[HEADER.size : HEADER.size + size])))
        except _Damage as why:
            raise CorruptFrame(str(why)) from why

    def _unpack(self, columns: CellColumns) -> None:
        places, calls, errors = unpack_table(columns.cells, 3, columns.count)
        self._places = np.cumsum(places)
        self._calls, self._errors = calls.tolist(), errors.tolist()
        self._names, cells_of_names = columns.names, np.array(columns.cells_of_names, dtype=np.int64)
        cells, in_cell, self._in_beside, self._kinds = unpack_table(columns.entries, 4, int(cells_of_names.sum()))
        self._cells = np.cumsum(cells)
        self._names_at = np.repeat(np.arange(len(self._names)), cells_of_names)
        self._series = [series_of(name) for name in self._names]
        self._cells_of_kinds = [
            [cells for cells, kind in zip(columns.cells_of_names, self._series, strict=True) if kind is of]
            for of in KINDS
        ]
        self._rows = self._unpacked_rows(columns.rows, in_cell)
        self._row_ends = self._ends([kind.row_bytes for kind in self._series], in_cell)
        self._totals_ends = self._ends(
            [8 * kind.layout.width for kind in self._series], (self._kinds & HAS_TOTALS != 0).astype(np.int64)
        )
        self._totals = b"".join(self._unpacked_totals(columns.totals))
        self._large = LARGE_CODEC.unpack(columns.large)

    def _ends(self, each: list[int], counts: Integers) -> Integers:
        """Return where the parts of each entry end, after a first 0: so many, each of a length by series."""
        ends = np.zeros(len(counts) + 1, dtype=np.int64)
        np.cumsum(np.array(each, dtype=np.int64)[self._names_at] * counts, out=ends[1:])
        return ends

    def _unpacked_rows(self, packed: list[PackedRows], sizes: Integers) -> bytes:
        of_latency = sum(self._cells_of_kinds[0])
        pieces = sizes[:of_latency], sizes[of_latency:]
        return b"".join(map(unpack_rows, KINDS, packed, pieces, self._cells_of_kinds))

    def _unpacked_totals(self, packed: list[bytes]) -> Iterator[bytes]:
        of_latency = sum(self._cells_of_kinds[0])
        has_totals = self._kinds & HAS_TOTALS != 0
        for kind, of_kind, ours in zip(KINDS, packed, (has_totals[:of_latency], has_totals[of_latency:]), strict=True):
            if count := int(np.count_nonzero(ours)):
                yield unpack_table(of_kind, kind.layout.width, count).T.astype("<i8").tobytes()

    @cached_property
    def _beside(self) -> _Beside:
        try:
            columns = _beside_decoder.decode(decompress(self._packed_beside))
            rows = self._unpacked_rows(columns.rows, self._in_beside)
            row_ends = self._ends([kind.row_bytes for kind in self._series], self._in_beside)
            ends = [0, *np.cumsum(unpack_column(columns.sketch_sizes, columns.sketch_count)).tolist()]
            sketches = [columns.sketches[begin:end] for begin, end in pairwise(ends)]
            sketch_ends = self._ends(
                [kind.layout.metrics for kind in self._series], (self._kinds & HAS_SKETCHES != 0).astype(np.int64)
            )
            return _Beside(rows, row_ends.tolist(), sketches, sketch_ends.tolist())
        except _Damage as why:
            raise CorruptFrame(str(why)) from why

    @cached_property
    def _large_at(self) -> list[int]:
        """Return by entry where its totals of large rows are, if it has some."""
        has_large = (self._kinds & HAS_LARGE != 0).astype(np.int64)
        found: list[int] = (np.cumsum(has_large) - has_large).tolist()
        return found

    @cached_property
    def places(self) -> list[int]:
        """Return the place of each cell; they ascend."""
        found: list[int] = self._places.tolist()
        return found

    def positions(self, wanted: Collection[int]) -> dict[int, int]:
        """Return the positions of the cells of these places, by place, as far as they are here."""
        if not len(self._places):
            return {}
        ours = np.fromiter(wanted, dtype=np.int64, count=len(wanted))
        at = np.minimum(np.searchsorted(self._places, ours), len(self._places) - 1)
        is_here = self._places[at] == ours
        return dict(zip(ours[is_here].tolist(), at[is_here].tolist(), strict=True))

    def full_cells(self, positions: Collection[int]) -> list[FullCell]:
        """The cells at these positions, with what is beside them."""
        cells = {at: FullCell(Cell(self._calls[at], self._errors[at]), {}) for at in positions}
        is_wanted = np.zeros(len(self._places), dtype=np.bool_)
        is_wanted[list(positions)] = True
        (entries,) = is_wanted[self._cells].nonzero()
        of_entries = self._cells[entries], self._names_at[entries], self._kinds[entries]
        ends = self._row_ends[entries], self._row_ends[entries + 1]
        for entry, at, name_at, kind, begin, end in np.stack((entries, *of_entries, *ends)).T.tolist():
            (cell, beside), name = cells[at], self._names[name_at]
            if end > begin:
                cell.rows[name] = self._rows[begin:end]
            if kind & HAS_TOTALS:
                cell.totals[name] = self._totals[self._totals_ends[entry] : self._totals_ends[entry + 1]]
            if kind & HAS_LARGE:
                cell.large[name] = self._large[self._large_at[entry]]
            if kind:
                beside[name] = self._beside.of(entry)
        return list(cells.values())

    def add_to(self, merged: Merged, buckets: Mapping[int, int], latency_values: bool, usage_values: bool) -> None:
        """Count the cells at these positions in their buckets, all that is of one bucket at once.

        `latency_values`, `usage_values`: whether what percentiles are read from is to be added too.
        """
        of_cells = np.full(len(self._places), -1, dtype=np.int64)
        of_cells[list(buckets)] = list(buckets.values())
        for at, bucket in buckets.items():
            merged.add_counts(bucket, self._calls[at], self._errors[at])
        wants = np.array([merged.wants(name) for name in self._names], dtype=np.bool_)
        of_entries = of_cells[self._cells]
        (ours,) = ((of_entries >= 0) & wants[self._names_at]).nonzero()
        if not len(ours):
            return
        names_at, of_entries = self._names_at[ours], of_entries[ours]
        is_new = np.ones(len(ours) + 1, dtype=np.bool_)
        is_new[1:-1] = (np.diff(ours) != 1) | (np.diff(names_at) != 0) | (np.diff(of_entries) != 0)
        first, last = ours[is_new[:-1]], ours[is_new[1:]] + 1
        ends = self._row_ends[first], self._row_ends[last], self._totals_ends[first], self._totals_ends[last]
        runs = (first, last, names_at[is_new[:-1]], of_entries[is_new[:-1]], *ends)
        for begin, end, name_at, bucket, rows_begin, rows_end, totals_begin, totals_end in np.stack(runs).T.tolist():
            name, rows = self._names[name_at], self._rows[rows_begin:rows_end]
            merged.add_packed(bucket, name, rows, self._totals[totals_begin:totals_end])
            wants_values = latency_values if name == LATENCY else usage_values
            if wants_values and rows:
                merged.values_of(bucket, name).rows.append(rows)
            for entry in self._full_entries(begin, end) if wants_values or self._large else ():
                if self._kinds[entry] & HAS_LARGE:
                    merged.add_large(bucket, name, self._large[self._large_at[entry]])
                if wants_values:
                    merged.add_beside(bucket, name, *self._beside.of(entry))

    def _full_entries(self, begin: int, end: int) -> list[int]:
        """Return which of some entries have more than rows."""
        found: list[int] = (self._kinds[begin:end].nonzero()[0] + begin).tolist()
        return found
