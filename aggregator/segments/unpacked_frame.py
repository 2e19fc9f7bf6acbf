"""The cells of frames, unpacked as far as an answer needs them: whole cells, or many at once merged into buckets.

Frames are unpacked several at a time: it takes some sixty steps of numpy, however few cells they have together.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from itertools import chain, pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import Cell
from aggregator.rollups.series import series_of
from aggregator.segments.columns import Integers, unpack_columns, unpack_tables
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
_PLACE_BITS = 40
_NOTHING_BESIDE = BesideColumns([PackedRows() for _ in KINDS], 0, b"", b"")


def unpack_frame(packed: bytes, wanted: Collection[int] | None = None) -> dict[int, FullCell]:
    """The cells of a frame by place, of those wanted (None: all). Raises CorruptFrame."""
    frame = Frames([packed])
    places = frame.places if wanted is None else np.fromiter(wanted, dtype=np.int64, count=len(wanted))
    at = frame.find(np.zeros(len(places), dtype=np.int64), places)
    is_here = at >= 0
    return dict(zip(places[is_here].tolist(), frame.full_cells(at[is_here].tolist()), strict=True))


class _Beside(NamedTuple):
    """Rows beside cells by kind of series, and where those of each entry begin and end; sketches, and where those of
    each entry end.
    """

    rows: list[bytes]
    row_begins: list[int]
    row_ends: list[int]
    sketches: list[bytes]
    sketch_ends: list[int]


class Frames:
    """The cells of some frames, one frame's after the other's, by their position among all. Methods raise CorruptFrame.

    An entry is a series of a cell. Entries lie frame by frame and in each series by series, and so do rows, totals and
    what is beside cells, kind of series by kind.
    """

    def __init__(self, packed: Sequence[bytes]) -> None:
        parts = [_parts(one) for one in packed]
        self._packed_beside = [beside for _, beside in parts]
        try:
            self._unpack([_cells_decoder.decode(decompress(cells)) for cells, _ in parts])
        except _Damage as why:
            raise CorruptFrame(str(why)) from why

    def _unpack(self, frames: Sequence[CellColumns]) -> None:
        counts = [one.count for one in frames]
        differences, calls, errors = unpack_tables([one.cells for one in frames], 3, counts)
        self.places = _sums(differences, counts)
        """The place of each cell; those of a frame ascend."""
        self.frame_of = np.repeat(np.arange(len(frames)), counts)
        """The frame that each cell is of."""
        self._calls, self._errors = calls.tolist(), errors.tolist()
        self._names = list(chain.from_iterable(one.names for one in frames))
        cells_of_names = [*chain.from_iterable(one.cells_of_names for one in frames)]
        self._counts = [sum(one.cells_of_names) for one in frames]
        differences, self._in_cell, self._in_beside, self._kinds = unpack_tables(
            [one.entries for one in frames], 4, self._counts
        )
        self._cells = _sums(differences, self._counts) + np.repeat(np.cumsum(counts) - counts, self._counts)
        self._names_at = np.repeat(np.arange(len(self._names)), cells_of_names)
        self._kinds_of = [KINDS.index(series_of(name)) for name in self._names]
        kinds_at = np.array(self._kinds_of, dtype=np.int64)[self._names_at]
        self._entries = [(kinds_at == at).nonzero()[0] for at in range(len(KINDS))]
        self._cells_of = [
            [
                [cells for cells, name in zip(one.cells_of_names, one.names, strict=True) if series_of(name) is kind]
                for one in frames
            ]
            for kind in KINDS
        ]
        self._values = self._unpacked_rows([one.rows for one in frames], self._in_cell)
        self._row_begins, self._row_ends = self._spans(self._in_cell)
        has_totals = (self._kinds & HAS_TOTALS != 0).astype(np.int64)
        self._totals = self._unpacked_totals([one.totals for one in frames], has_totals)
        self._totals_begins, self._totals_ends = self._spans(has_totals)
        self._large = list(chain.from_iterable(LARGE_CODEC.unpack(one.large) for one in frames))

    def _spans(self, sizes: Integers) -> tuple[Integers, Integers]:
        """Return where the parts of each entry begin and end among those of its kind: so many each."""
        ends = np.empty(len(sizes), dtype=np.int64)
        for entries in self._entries:
            ends[entries] = np.cumsum(sizes[entries])
        return ends - sizes, ends

    def _unpacked_rows(self, packed: Sequence[Sequence[PackedRows]], sizes: Integers) -> list[Integers]:
        """Return rows by kind, as values."""
        return [
            unpack_rows(kind, [one[at] for one in packed], sizes[self._entries[at]], self._cells_of[at])
            for at, kind in enumerate(KINDS)
        ]

    def _unpacked_totals(self, packed: Sequence[Sequence[bytes]], has_totals: Integers) -> list[Integers]:
        """Return totals by kind, a row each."""
        found = []
        for at, kind in enumerate(KINDS):
            ends = np.append(0, np.cumsum(has_totals[self._entries[at]]))
            of_frames = np.diff(ends[np.append(0, np.cumsum([sum(cells) for cells in self._cells_of[at]]))]).tolist()
            found.append(unpack_tables([one[at] for one in packed], kind.layout.width, of_frames).T)
        return found

    def _beside(self) -> _Beside:
        try:
            frames = [
                _beside_decoder.decode(decompress(packed)) if packed else _NOTHING_BESIDE
                for packed in self._packed_beside
            ]
            values = self._unpacked_rows([one.rows for one in frames], self._in_beside)
            rows = [kind.rows(of_kind) for kind, of_kind in zip(KINDS, values, strict=True)]
            kinds_at = np.array(self._kinds_of, dtype=np.int64)[self._names_at]
            row_bytes = np.array([kind.row_bytes for kind in KINDS])[kinds_at]
            row_begins, row_ends = (of_each * row_bytes for of_each in self._spans(self._in_beside))
            sizes = unpack_columns([one.sketch_sizes for one in frames], [one.sketch_count for one in frames])
            stored, ends = b"".join([one.sketches for one in frames]), [0, *np.cumsum(sizes).tolist()]
            sketches = [stored[begin:end] for begin, end in pairwise(ends)]
            metrics = np.array([kind.layout.metrics for kind in KINDS])[kinds_at]
            sketch_ends = np.append(0, np.cumsum(metrics * (self._kinds & HAS_SKETCHES != 0)))
            if len(sketches) != sketch_ends[-1] or ends[-1] != len(stored):
                raise ValueError(f"{len(sketches)} sketches, where cells have {sketch_ends[-1]}")
            return _Beside(rows, row_begins.tolist(), row_ends.tolist(), sketches, sketch_ends.tolist())
        except _Damage as why:
            raise CorruptFrame(str(why)) from why

    @cached_property
    def _large_at(self) -> list[int]:
        """Return by entry where its totals of large rows are, if it has some."""
        has_large = (self._kinds & HAS_LARGE != 0).astype(np.int64)
        found: list[int] = (np.cumsum(has_large) - has_large).tolist()
        return found

    def find(self, frames: Integers, places: Integers) -> Integers:
        """Return the positions of the cells of these places, each in the frame that is named with it; -1: none."""
        if not len(self.places):
            return np.full(len(places), -1, dtype=np.int64)
        ours = (self.frame_of << _PLACE_BITS) + self.places
        wanted = (frames << _PLACE_BITS) + places
        at = np.minimum(np.searchsorted(ours, wanted), len(ours) - 1)
        found: Integers = np.where(ours[at] == wanted, at, -1)
        return found

    def full_cells(self, positions: Sequence[int]) -> list[FullCell]:
        """The cells at these positions, with what is beside them."""
        cells = {at: FullCell(Cell(self._calls[at], self._errors[at]), {}) for at in positions}
        is_wanted = np.zeros(len(self.places), dtype=np.bool_)
        is_wanted[list(cells)] = True
        (entries,) = is_wanted[self._cells].nonzero()
        rows = [kind.rows(values) for kind, values in zip(KINDS, self._values, strict=True)]
        totals = [kind.layout.packed(of_kind) for kind, of_kind in zip(KINDS, self._totals, strict=True)]
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
            if has:
                beside[name] = next(beside_of)
        return [cells[at] for at in positions]

    def _reading_beside(self, entries: Integers) -> Iterator[PackedOverflow]:
        """Yield what is beside the cells of those of some entries that have more than rows."""
        full = entries[self._kinds[entries] != 0]
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
                self._add_rows(merged, at, of_kind, of_entries[of_kind], wants_values[at])
                self._add_more(merged, of_kind, of_entries[of_kind], wants_values[at])

    def _add_rows(self, merged: Merged, kind: int, entries: Integers, buckets: Integers, with_values: bool) -> None:
        """Count rows and totals of entries of a kind, run by run: neighbours of one series and bucket."""
        names_at = self._names_at[entries]
        is_new = np.ones(len(entries) + 1, dtype=np.bool_)
        is_new[1:-1] = (np.diff(entries) != 1) | (np.diff(names_at) != 0) | (np.diff(buckets) != 0)
        first, last = entries[is_new[:-1]], entries[is_new[1:]]
        begins, ends = self._row_begins[first], self._row_ends[last]
        series, width = KINDS[kind], len(KINDS[kind].layout.packed_none)
        of_rows = series.layout.packed(self._totals_of_rows(kind, begins, ends))
        stored = series.layout.packed(self._totals[kind])
        rows = series.rows(self._values[kind]) if with_values else b""
        spans = begins, ends, self._totals_begins[first], self._totals_ends[last]
        at = 0
        for name_at, bucket, begin, end, totals_begin, totals_end in np.stack(
            (names_at[is_new[:-1]], buckets[is_new[:-1]], *spans)
        ).T.tolist():
            name, totals = self._names[name_at], stored[totals_begin * width : totals_end * width]
            if end > begin:
                totals += of_rows[at : at + width]
                at += width
                if with_values:
                    merged.add_values(bucket, name, rows[begin * series.row_bytes : end * series.row_bytes])
            merged.add_packed(bucket, name, b"", totals)

    def _totals_of_rows(self, kind: int, begins: Integers, ends: Integers) -> Integers:
        """Return the totals of runs of rows, of those that have any."""
        values, sizes = self._values[kind], ends - begins
        starts = np.cumsum(sizes) - sizes
        count = int(sizes.sum())
        if count != len(values):
            # Metric by metric in memory, as they are; an index in brackets would turn them.
            values = values.T.take(np.repeat(begins - starts, sizes) + np.arange(count), axis=1).T
        return KINDS[kind].layout.of_segments(values, starts[sizes > 0])

    def _add_more(self, merged: Merged, entries: Integers, buckets: Integers, with_values: bool) -> None:
        """Add what entries have besides rows and totals."""
        if not with_values and not self._large:
            return
        is_full = self._kinds[entries] != 0
        full = entries[is_full]
        beside_of = self._reading_beside(full) if with_values else None
        of_full = full, buckets[is_full], self._names_at[full], self._kinds[full]
        for entry, bucket, name_at, has in np.stack(of_full).T.tolist():
            if has & HAS_LARGE:
                merged.add_large(bucket, self._names[name_at], self._large[self._large_at[entry]])
            if beside_of is not None:
                merged.add_beside(bucket, self._names[name_at], *next(beside_of))


def _parts(packed: bytes) -> tuple[bytes, bytes]:
    """Return the two parts of a frame, as they were packed."""
    mark, size, beside_size = HEADER.unpack_from(packed) if len(packed) >= HEADER.size else (b"", 0, 0)
    if mark != MARK or len(packed) != HEADER.size + size + beside_size:
        raise CorruptFrame("it does not begin as a frame does, or is not as long as it says")
    return packed[HEADER.size : HEADER.size + size], packed[HEADER.size + size :]


def _sums(differences: Integers, counts: Sequence[int]) -> Integers:
    """Return what differences add up to, from the beginning of each frame."""
    reached = np.append(0, np.cumsum(differences))
    begins = np.cumsum(counts) - counts
    found: Integers = reached[1:] - np.repeat(reached[begins], counts)
    return found
