"""A frame: some finished cells with what was beside them, sealed together; what goes in comes out, number by number.

A frame is MessagePack of the columns below, compressed by zstandard with a checksum. Rows of a series, of all cells,
stand together: in a cell's order of series those in the cell, then those beside it. Only which order rows have is lost.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from aggregator.packing import Packing
from aggregator.rollups.cell import Cell
from aggregator.rollups.series import OF_LATENCY, OF_USAGE, Series, series_of
from aggregator.rollups.totals import Totals
from aggregator.segments.columns import Integers, pack_column, unpack_column
from aggregator.segments.compression import CorruptFrame as CorruptFrame
from aggregator.segments.compression import compress, decompress
from aggregator.segments.rows import Packed, pack_rows, unpack_rows

_TOTALS, _LARGE, _SKETCHES = 1, 2, 4


class PackedOverflow(NamedTuple):
    """What is beside a cell of one series: rows, and a sketch for each metric (or none at all)."""

    rows: bytes
    sketches: list[bytes]


class FullCell(NamedTuple):
    """A cell, and by series what is beside it."""

    cell: Cell
    beside: dict[bytes, PackedOverflow]


_NO_OVERFLOW = PackedOverflow(b"", [])


class _Columns(msgspec.Struct, array_like=True):
    """Columns with a row for each cell: place, calls, errors, number of series. By series of a cell: its name, rows in
    the cell and beside it, what else there is. Then all rows by name, totals by kind of series, totals of large rows,
    and sketches.
    """

    count: int
    places: bytes
    calls: bytes
    errors: bytes
    series_counts: bytes
    entries: int
    names: list[bytes]
    entry_names: bytes
    rows_in_cell: bytes
    rows_beside: bytes
    kinds: bytes
    rows: list[Packed]
    totals: list[bytes]
    large: bytes
    sketch_count: int
    sketch_sizes: bytes
    sketches: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Columns)
_LARGE_CODEC = Packing(list[Totals])


class _Gathered(NamedTuple):
    """What is in cells, cell by cell, and the series of each in their order. Rows by series: of each cell two parts,
    those in it, and those beside it. `kinds` has only those entries that have more than rows.
    """

    series_counts: list[int]
    entries: list[bytes]
    rows: defaultdict[bytes, list[bytes]]
    kinds: dict[int, int]
    totals: dict[Series, list[bytes]]
    large: list[Totals]
    sketches: list[bytes]


def pack_frame(cells: Mapping[int, FullCell]) -> bytes:
    """The cells by place, sealed."""
    places = sorted(cells)
    in_order = [cells[place] for place in places]
    found = _gathered(in_order)
    names = sorted(found.rows)
    places_of_names = {name: at for at, name in enumerate(names)}
    of_entries = np.array([places_of_names[name] for name in found.entries], dtype=np.int64)
    in_cell, beside, kinds = np.zeros((3, len(of_entries)), dtype=np.int64)
    kinds[list(found.kinds)] = list(found.kinds.values())
    rows: list[Packed] = []
    for at, name in enumerate(names):
        series, parts = series_of(name), found.rows[name]
        sizes = _sizes(parts) // series.row_bytes
        ours = of_entries == at
        in_cell[ours], beside[ours] = sizes[::2], sizes[1::2]
        rows.append(pack_rows(series, b"".join(parts), sizes))
    columns = _Columns(
        count=len(places),
        places=_column(np.diff(places, prepend=0).tolist()),
        calls=_column([one.cell.calls for one in in_order]),
        errors=_column([one.cell.errors for one in in_order]),
        series_counts=_column(found.series_counts),
        entries=len(of_entries),
        names=names,
        entry_names=pack_column(of_entries),
        rows_in_cell=pack_column(in_cell),
        rows_beside=pack_column(beside),
        kinds=pack_column(kinds),
        rows=rows,
        totals=[_totals(series, found.totals[series]) for series in (OF_LATENCY, OF_USAGE)],
        large=_LARGE_CODEC.pack(found.large),
        sketch_count=len(found.sketches),
        sketch_sizes=pack_column(_sizes(found.sketches)),
        sketches=b"".join(found.sketches),
    )
    return compress(_encoder.encode(columns))


def unpack_frame(packed: bytes, wanted: Collection[int] | None = None) -> dict[int, FullCell]:
    """The cells of a frame by place, of those wanted (None: all). Raises CorruptFrame."""
    try:
        return dict(_unpacked(_decoder.decode(decompress(packed)), wanted))
    except (msgspec.MsgspecError, ValueError, IndexError, StopIteration) as why:
        raise CorruptFrame(str(why)) from why


def _column(values: Sequence[int]) -> bytes:
    return pack_column(np.array(values, dtype=np.int64))


def _sizes(parts: Sequence[bytes]) -> Integers:
    return np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))


def _gathered(cells: Iterable[FullCell]) -> _Gathered:
    found = _Gathered([], [], defaultdict(list), {}, {OF_LATENCY: [], OF_USAGE: []}, [], [])
    series_counts, entries, rows = found[:3]
    for cell, beside in cells:
        of_cell = cell.rows
        if beside or cell.totals or cell.large:
            series_counts.append(_gather_full(cell, beside, found))
            continue
        # Nearly all cells: this loop is most of what sealing takes.
        series_counts.append(len(of_cell))
        for name in sorted(of_cell) if len(of_cell) > 1 else of_cell:
            entries.append(name)
            rows[name] += of_cell[name], b""
    return found


def _gather_full(cell: Cell, beside: Mapping[bytes, PackedOverflow], found: _Gathered) -> int:
    """Add a cell that has more than rows; returns of how many series."""
    names = sorted({*cell.rows, *cell.totals, *cell.large, *beside})
    for name in names:
        kind = 0
        if name in cell.totals:
            kind |= _TOTALS
            found.totals[series_of(name)].append(cell.totals[name])
        if name in cell.large:
            kind |= _LARGE
            found.large.append(cell.large[name])
        more = beside.get(name, _NO_OVERFLOW)
        if more.sketches:
            kind |= _SKETCHES
            found.sketches.extend(more.sketches)
        if kind:
            found.kinds[len(found.entries)] = kind
        found.entries.append(name)
        found.rows[name] += cell.rows.get(name, b""), more.rows
    return len(names)


def _totals(series: Series, stored: Sequence[bytes]) -> bytes:
    """Totals of all cells, one kind of number after the other."""
    return pack_column(series.layout.unpack(b"".join(stored)).T.ravel()) if stored else b""


class _Entries(NamedTuple):
    """The series of all cells: name, rows in the cell and beside it, what else there is, and where its parts begin: in
    the rows of its series, in the totals of its kind, among large totals, among sketches.
    """

    names: list[int]
    in_cell: list[int]
    beside: list[int]
    kinds: list[int]
    rows_at: list[int]
    totals_at: list[int]
    large_at: list[int]
    sketches_at: list[int]


def _unpacked(columns: _Columns, wanted: Collection[int] | None) -> Iterator[tuple[int, FullCell]]:
    places = np.cumsum(unpack_column(columns.places, columns.count)).tolist()
    calls, errors = (unpack_column(column, columns.count).tolist() for column in (columns.calls, columns.errors))
    ends = np.cumsum(unpack_column(columns.series_counts, columns.count)).tolist()
    entries, totals = _entries(columns)
    rows = _rows_by_name(columns, entries)
    large = _LARGE_CODEC.unpack(columns.large)
    sizes = unpack_column(columns.sketch_sizes, columns.sketch_count)
    sketch_ends = [0, *np.cumsum(sizes).tolist()]
    for place, of_calls, of_errors, begin, end in zip(places, calls, errors, [0, *ends], ends, strict=False):
        if wanted is not None and place not in wanted:
            continue
        cell, beside = Cell(of_calls, of_errors), {}
        for at in range(begin, end):
            name, kind = columns.names[entries.names[at]], entries.kinds[at]
            series = series_of(name)
            first = entries.rows_at[at]
            middle = first + entries.in_cell[at] * series.row_bytes
            if middle > first:
                cell.rows[name] = rows[entries.names[at]][first:middle]
            if kind & _TOTALS:
                width = len(series.layout.packed_none)
                cell.totals[name] = totals[series][entries.totals_at[at] * width : (entries.totals_at[at] + 1) * width]
            if kind & _LARGE:
                cell.large[name] = large[entries.large_at[at]]
            if kind & (_TOTALS | _LARGE):
                first_sketch = entries.sketches_at[at]
                last = first_sketch + (series.layout.metrics if kind & _SKETCHES else 0)
                beside[name] = PackedOverflow(
                    rows[entries.names[at]][middle : middle + entries.beside[at] * series.row_bytes],
                    [columns.sketches[sketch_ends[one] : sketch_ends[one + 1]] for one in range(first_sketch, last)],
                )
        yield place, FullCell(cell, beside)


def _entries(columns: _Columns) -> tuple[_Entries, dict[Series, bytes]]:
    """Return what stands where; and the totals of each kind of series."""
    names, in_cell, beside, kinds = (
        unpack_column(column, columns.entries)
        for column in (columns.entry_names, columns.rows_in_cell, columns.rows_beside, columns.kinds)
    )
    of_latency = np.array([series_of(name) is OF_LATENCY for name in columns.names], dtype=np.bool_)[names]
    row_bytes = np.where(of_latency, OF_LATENCY.row_bytes, OF_USAGE.row_bytes)
    metrics = np.where(of_latency, OF_LATENCY.layout.metrics, OF_USAGE.layout.metrics)
    rows_at = np.zeros(len(names), dtype=np.int64)
    for name in range(len(columns.names)):
        ours = names == name
        rows_at[ours] = _before(((in_cell + beside) * row_bytes)[ours])
    has_totals = (kinds & _TOTALS) != 0
    totals_at = np.zeros(len(names), dtype=np.int64)
    totals: dict[Series, bytes] = {}
    for series, ours in ((OF_LATENCY, of_latency), (OF_USAGE, ~of_latency)):
        totals_at[ours] = _before(has_totals[ours].astype(np.int64))
        width, count = series.layout.width, int((has_totals & ours).sum())
        packed = columns.totals[0 if series is OF_LATENCY else 1]
        totals[series] = unpack_column(packed, count * width).reshape(width, count).T.astype("<i8").tobytes()
    large_at = _before(((kinds & _LARGE) != 0).astype(np.int64))
    sketches_at = _before(np.where((kinds & _SKETCHES) != 0, metrics, 0))
    found = (names, in_cell, beside, kinds, rows_at, totals_at, large_at, sketches_at)
    return _Entries(*(column.tolist() for column in found)), totals


def _rows_by_name(columns: _Columns, entries: _Entries) -> list[bytes]:
    """All rows of each series."""
    sizes: list[list[int]] = [[] for _ in columns.names]
    for name, in_cell, beside in zip(entries.names, entries.in_cell, entries.beside, strict=True):
        sizes[name] += (in_cell, beside)
    return [
        unpack_rows(series_of(name), packed, of_name)
        for name, packed, of_name in zip(columns.names, columns.rows, sizes, strict=True)
    ]


def _before(sizes: Integers) -> Integers:
    """Return what comes before each of these: the sum of those before it."""
    before: Integers = np.cumsum(sizes) - sizes
    return before
