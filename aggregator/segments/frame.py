"""A frame: some finished cells with what was beside them, sealed together; what goes in comes out, number by number.

Two parts, each MessagePack compressed by zstandard with a checksum: what the cells themselves hold, and what was beside
them, which only percentiles need. Before them stand `F`, and how many bytes each part takes, 32 bits each,
little-endian. Rows of all series of a kind stand together, series by series, and in each cell by cell. Only which order
the rows of a cell have is lost.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from struct import Struct
from typing import NamedTuple

import msgspec
import numpy as np

from aggregator.packing import Packing
from aggregator.rollups.cell import Cell
from aggregator.rollups.series import OF_LATENCY, OF_USAGE, Series, series_of
from aggregator.rollups.totals import Totals
from aggregator.segments.columns import Integers, pack_column, pack_table
from aggregator.segments.compression import compress
from aggregator.segments.rows import PackedRows, pack_rows

HEADER = Struct("<cII")
MARK = b"F"
HAS_TOTALS, HAS_LARGE, HAS_SKETCHES = 1, 2, 4
KINDS = (OF_LATENCY, OF_USAGE)


class PackedOverflow(NamedTuple):
    """What is beside a cell of one series: rows, and a sketch for each metric (or none at all)."""

    rows: bytes
    sketches: list[bytes]


class FullCell(NamedTuple):
    """A cell, and by series what is beside it."""

    cell: Cell
    beside: dict[bytes, PackedOverflow]


NO_OVERFLOW = PackedOverflow(b"", [])


class CellColumns(msgspec.Struct, array_like=True):
    """What cells hold. A table of their places (as differences), calls and errors; names of series, latencies before
    usage, and how many of the cells have each; a table of these entries, series by series: which cell (difference),
    how many rows in it and beside it, what else there is. Rows and totals by kind of series, and totals of large rows.
    """

    count: int
    cells: bytes
    names: list[bytes]
    cells_of_names: list[int]
    entries: bytes
    rows: list[PackedRows]
    totals: list[bytes]
    large: bytes


class BesideColumns(msgspec.Struct, array_like=True):
    """What is beside cells, in the order of their entries: rows by kind of series, and sketches."""

    rows: list[PackedRows]
    sketch_count: int
    sketch_sizes: bytes
    sketches: bytes


LARGE_CODEC = Packing(list[Totals])
_encoder = msgspec.msgpack.Encoder()


class _Of:
    """A series of some cells: which of them, in their order, with the rows in each; of those that have more than rows,
    by their position here, what that is.
    """

    __slots__ = ("cells", "more", "rows", "series")

    def __init__(self, name: bytes) -> None:
        self.series = series_of(name)
        self.cells: list[int] = []
        self.rows: list[bytes] = []
        self.more: dict[int, _More] = {}


class _More(NamedTuple):
    """What a cell has of a series besides rows."""

    totals: bytes | None
    large: Totals | None
    beside: PackedOverflow

    @property
    def kind(self) -> int:
        """Return what there is."""
        return (
            HAS_TOTALS * (self.totals is not None)
            | HAS_LARGE * (self.large is not None)
            | HAS_SKETCHES * bool(self.beside.sketches)
        )


def pack_frame(cells: Mapping[int, FullCell]) -> bytes:
    """The cells by place, sealed."""
    places = sorted(cells)
    in_order = [cells[place] for place in places]
    by_name = _gathered(in_order)
    names = sorted(by_name, key=lambda name: (KINDS.index(series_of(name)), name))
    gathered = [by_name[name] for name in names]
    columns = CellColumns(
        count=len(places),
        cells=pack_table(
            [
                np.diff(places, prepend=0),
                [full.cell.calls for full in in_order],
                [full.cell.errors for full in in_order],
            ]
        ),
        names=names,
        cells_of_names=[len(of.cells) for of in gathered],
        entries=_entries(gathered),
        rows=[
            pack_rows(kind, list(chain.from_iterable(of.rows for of in ours)), [len(of.cells) for of in ours])
            for kind, ours in _by_kind(gathered)
        ],
        totals=[
            _totals(kind, [more.totals for more in _more(ours) if more.totals is not None])
            for kind, ours in _by_kind(gathered)
        ],
        large=LARGE_CODEC.pack([more.large for more in _more(gathered) if more.large is not None]),
    )
    parts = compress(_encoder.encode(columns)), _pack_beside(gathered)
    return HEADER.pack(MARK, *map(len, parts)) + b"".join(parts)


def _gathered(cells: Iterable[FullCell]) -> dict[bytes, _Of]:
    by_name: dict[bytes, _Of] = {}
    for at, (cell, beside) in enumerate(cells):
        of_cell = cell.rows
        for name, rows in of_cell.items():  # nearly all that most cells have: this loop is much of what sealing takes
            of = by_name.get(name)
            if of is None:
                of = by_name[name] = _Of(name)
            of.cells.append(at)
            of.rows.append(rows)
        if beside or cell.totals or cell.large:
            for name in {*cell.totals, *cell.large, *beside}:
                of = by_name.setdefault(name, _Of(name))
                if name not in of_cell:
                    of.cells.append(at)
                    of.rows.append(b"")
                more = _More(cell.totals.get(name), cell.large.get(name), beside.get(name, NO_OVERFLOW))
                of.more[len(of.cells) - 1] = more
    return by_name


def _by_kind(gathered: Sequence[_Of]) -> list[tuple[Series, list[_Of]]]:
    return [(kind, [of for of in gathered if of.series is kind]) for kind in KINDS]


def _more(gathered: Iterable[_Of]) -> Iterable[_More]:
    """Return what entries have besides rows, in their order."""
    return chain.from_iterable((of.more[at] for at in sorted(of.more)) for of in gathered)


def _entries(gathered: Sequence[_Of]) -> bytes:
    cells = list(chain.from_iterable(of.cells for of in gathered))
    in_cell, beside, kinds = np.zeros((3, len(cells)), dtype=np.int64)
    begin = 0
    for of in gathered:
        end = begin + len(of.cells)
        in_cell[begin:end] = _sizes(of.rows) // of.series.row_bytes
        for at, more in of.more.items():
            beside[begin + at] = len(more.beside.rows) // of.series.row_bytes
            kinds[begin + at] = more.kind
        begin = end
    return pack_table([np.diff(cells, prepend=0), in_cell, beside, kinds])


def _pack_beside(gathered: Sequence[_Of]) -> bytes:
    """Return what is beside cells, packed; nothing where there is none."""
    if not any(of.more for of in gathered):
        return b""
    rows = []
    for kind, ours in _by_kind(gathered):
        of_each = [[of.more[at].beside.rows for at in sorted(of.more)] for of in ours]
        rows.append(pack_rows(kind, list(chain.from_iterable(of_each)), list(map(len, of_each))))
    sketches = list(chain.from_iterable(more.beside.sketches for more in _more(gathered)))
    columns = BesideColumns(rows, len(sketches), pack_column(_sizes(sketches)), b"".join(sketches))
    return compress(_encoder.encode(columns))


def _sizes(parts: Sequence[bytes]) -> Integers:
    return np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))


def _totals(series: Series, stored: Sequence[bytes]) -> bytes:
    """Totals of all entries of a kind, one kind of number after the other."""
    return pack_table(series.layout.unpack(b"".join(stored)).T) if stored else b""
