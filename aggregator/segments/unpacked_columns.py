"""The columns of frames, unpacked: which series which cells have, where their rows are, and what is beside the cells.

Frames are unpacked several at a time: it takes some sixty steps of numpy, however few cells they have together.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import chain, pairwise
from typing import NamedTuple

import msgspec
import numpy as np

from aggregator.rollups.series import KINDS, OF_LATENCY, series_of
from aggregator.rollups.view_numbers import are_facets, blocks_of, combinations_of
from aggregator.segments.columns import Integers, unpack_columns, unpack_tables
from aggregator.segments.compression import CorruptFrame, decompress
from aggregator.segments.following import last_of_blocks
from aggregator.segments.frame import HEADER, LARGE_CODEC, MARK, BesideColumns, CellColumns
from aggregator.segments.gathering import FOLLOWS, HAS_LARGE, HAS_SKETCHES, HAS_TOTALS
from aggregator.segments.rows import PackedRows, unpack_rows

_cells_decoder = msgspec.msgpack.Decoder(CellColumns)
_beside_decoder = msgspec.msgpack.Decoder(BesideColumns)
_DAMAGE = (msgspec.MsgspecError, ValueError, IndexError)
PLACE_BITS = 40
_NOTHING_BESIDE = BesideColumns([PackedRows() for _ in KINDS], 0, b"", b"")


class _Beside(NamedTuple):
    """Rows beside cells by kind of series, and where those of each entry begin and end; sketches, and where those of
    each entry end.
    """

    rows: list[bytes]
    row_begins: list[int]
    row_ends: list[int]
    sketches: list[bytes]
    sketch_ends: list[int]


class UnpackedColumns:
    """The cells of some frames, one frame's after the other's, by their position among all. Methods raise CorruptFrame.

    An entry is a series of a cell. Entries lie frame by frame and in each series by series, and so do rows, totals and
    what is beside cells, kind of series by kind.
    """

    def __init__(self, packed: Sequence[bytes]) -> None:
        parts = [_parts(one) for one in packed]
        self._packed_beside = [beside for _, beside in parts]
        with _told_damage():
            self._unpack([_cells_decoder.decode(decompress(cells)) for cells, _ in parts])

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
        plain = self._entries[KINDS.index(OF_LATENCY)]
        plain = plain[self._kinds[plain] == 0]
        self._in_cell[plain] += calls[self._cells[plain]]
        self._stored_rows = [one.rows for one in frames]
        self._unpacked_values: dict[int, Integers] = {}
        self._row_begins, self._row_ends = self._spans(self._in_cell)
        self._labels = [one.labels for one in frames]
        self._find_what_follows()
        self._has_totals = (self._kinds & HAS_TOTALS != 0).astype(np.int64)
        self._stored_totals = [one.totals for one in frames]
        self._totals_begins, self._totals_ends = self._spans(self._has_totals)
        self._large = list(chain.from_iterable(LARGE_CODEC.unpack(one.large) for one in frames))

    def _find_what_follows(self) -> None:
        """Let the rows of users' cells be those of the cells after them, and find the facets whose rows are picked."""
        (follow,) = (self._kinds & FOLLOWS != 0).nonzero()
        places = self.places[self._cells[follow]]
        is_facet = are_facets(places)
        self._picked = follow[is_facet]
        self._are_picked = False
        users = follow[~is_facet]
        if len(users):
            lasts = last_of_blocks(self._names_at, blocks_of(self.places[self._cells]))
            self._row_ends[users] = self._row_ends[lasts[users]]

    def _pick(self, entries: Integers) -> None:
        """Pick the rows of facets from those of their combinations, if one of these entries has any."""
        if self._are_picked or not (len(self._picked) and np.isin(entries, self._picked).any()):
            return
        keys = (self.frame_of << PLACE_BITS) + self.places
        of_latency = self._entries[KINDS.index(OF_LATENCY)]
        of_latency = of_latency[~are_facets(self.places[self._cells[of_latency]])]
        picked = keys[self._cells[self._picked]]
        combinations = keys[self._cells[of_latency]]
        parents = of_latency[np.isin(combinations, combinations_of(picked))]
        sizes = self._in_cell[parents]
        frames = self.frame_of[self._cells[parents]]
        counts = np.bincount(frames, weights=sizes, minlength=len(self._labels)).astype(np.int64)
        with _told_damage():
            labels = unpack_columns(self._labels, counts.tolist())
        ends = np.cumsum(sizes)
        rows = np.repeat(self._row_begins[parents] - (ends - sizes), sizes) + np.arange(len(labels))
        is_labelled = labels > 0
        targets = np.repeat(keys[self._cells[parents]], sizes)[is_labelled] + labels[is_labelled]
        at = np.searchsorted(picked, targets)
        if (at == len(picked)).any() or (picked[at] != targets).any():
            raise CorruptFrame("rows are of facets that there are not")
        values = self._values(KINDS.index(OF_LATENCY))
        ends = len(values) + np.cumsum(np.bincount(at, minlength=len(picked)))
        self._row_begins[self._picked], self._row_ends[self._picked] = np.append(len(values), ends[:-1]), ends
        self._unpacked_values[KINDS.index(OF_LATENCY)] = np.concatenate(
            [values, values[rows[is_labelled][np.argsort(at, kind="stable")]]]
        )
        self._are_picked = True

    def _spans(self, sizes: Integers) -> tuple[Integers, Integers]:
        """Return where the parts of each entry begin and end among those of its kind: so many each."""
        ends = np.empty(len(sizes), dtype=np.int64)
        for entries in self._entries:
            ends[entries] = np.cumsum(sizes[entries])
        return ends - sizes, ends

    def _values(self, kind: int) -> Integers:
        """Return the rows of a kind, as values."""
        if kind not in self._unpacked_values:
            with _told_damage():
                self._unpacked_values[kind] = self._unpacked_rows(kind, self._stored_rows, self._in_cell)
        return self._unpacked_values[kind]

    def _unpacked_rows(self, kind: int, packed: Sequence[Sequence[PackedRows]], sizes: Integers) -> Integers:
        of_frames = [one[kind] for one in packed]
        return unpack_rows(KINDS[kind], of_frames, sizes[self._entries[kind]], self._cells_of[kind])

    def _totals(self, kind: int, sums_alone: bool = False) -> Integers:
        """Return the totals of a kind, a row each; `sums_alone`: of counts and sums alone, which stand first."""
        ends = np.append(0, np.cumsum(self._has_totals[self._entries[kind]]))
        of_frames = np.diff(ends[np.append(0, np.cumsum([sum(cells) for cells in self._cells_of[kind]]))]).tolist()
        with _told_damage():
            layout, packed = KINDS[kind].layout, [one[kind] for one in self._stored_totals]
            return unpack_tables(packed, layout.width, of_frames, layout.ones if sums_alone else None).T

    def _beside(self) -> _Beside:
        with _told_damage():
            frames = [
                _beside_decoder.decode(decompress(packed)) if packed else _NOTHING_BESIDE
                for packed in self._packed_beside
            ]
            packed_rows = [one.rows for one in frames]
            rows = [kind.rows(self._unpacked_rows(at, packed_rows, self._in_beside)) for at, kind in enumerate(KINDS)]
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

    @cached_property
    def _large_at(self) -> list[int]:
        """Return by entry where its totals of large rows are, if it has some."""
        has_large = (self._kinds & HAS_LARGE != 0).astype(np.int64)
        found: list[int] = (np.cumsum(has_large) - has_large).tolist()
        return found


@contextmanager
def _told_damage() -> Iterator[None]:
    """Raise CorruptFrame where it turns out that bytes are not those of a frame."""
    try:
        yield
    except _DAMAGE as why:
        raise CorruptFrame(str(why)) from why


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
