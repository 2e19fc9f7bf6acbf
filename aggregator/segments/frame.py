"""A frame: some finished cells with what was beside them, sealed together; what goes in comes out, number by number.

Two parts, each MessagePack compressed by zstandard with a checksum: what the cells themselves hold, and what was beside
them, which only percentiles need. Before them stand `F`, and how many bytes each part takes, 32 bits each,
little-endian. Rows of all series of a kind stand together, series by series, and in each cell by cell. Which order
the rows of a cell have is lost; of views of users also which rows were beside their cell, where there were no sketches.
Rows that follow from those of other cells are not stored (see following.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, pairwise
from struct import Struct

import msgspec
import numpy as np

from aggregator.packing import Packing
from aggregator.rollups.cell import VIEW_MASK
from aggregator.rollups.series import KINDS, OF_LATENCY, OF_USAGE, Series, series_of
from aggregator.rollups.totals import Totals
from aggregator.rollups.view_numbers import are_facets, are_of_users
from aggregator.rollups.views import ALL_CALLS
from aggregator.segments.columns import Integers, pack_column, pack_table
from aggregator.segments.compression import compress
from aggregator.segments.following import Entries, Flags, Following, are_totals_of, picked_facets, users_that_follow
from aggregator.segments.gathering import (
    FOLLOWS,
    HAS_TOTALS,
    FullCell,
    More,
    OfSeries,
    gather,
)
from aggregator.segments.rows import PackedRows, pack_rows

HEADER = Struct("<cII")
MARK = b"F"
# Rows of usage beside a cell that are put to those in it, at most, where there are no sketches; they take fewer bytes
# than their totals, and are read nearly as fast. Of users' views all are, of the view of all calls, whose sums are
# asked for most, none.
JOINED_ROWS_MAX = 64
# Of rollups, 2 to 3 % less than by level 3, for half a microsecond a call.
COMPRESSION_LEVEL = 6


NO_LABELS = np.empty(0, dtype=np.int64)


class CellColumns(msgspec.Struct, array_like=True):
    """What cells hold. A table of their places (as differences), calls and errors; names of series, latencies before
    usage, those of facets of users' combinations apart, and how many of the cells have each; a table of these entries,
    series by series: which cell (difference), how many rows in it (of latencies alone less its calls) and beside it are
    stored, what else there is, and whether rows follow. Rows and totals by kind of series, totals of large rows, and
    labels.
    """

    count: int
    cells: bytes
    names: list[bytes]
    cells_of_names: list[int]
    entries: bytes
    rows: list[PackedRows]
    totals: list[bytes]
    large: bytes
    labels: bytes


class BesideColumns(msgspec.Struct, array_like=True):
    """What is beside cells, in the order of their entries: rows by kind of series, and sketches."""

    rows: list[PackedRows]
    sketch_count: int
    sketch_sizes: bytes
    sketches: bytes


LARGE_CODEC = Packing(list[Totals])
_encoder = msgspec.msgpack.Encoder()


def pack_frame(cells: Mapping[int, FullCell]) -> bytes:
    """The cells by place, sealed."""
    places = np.array(sorted(cells), dtype=np.int64)
    in_order = [cells[place] for place in places.tolist()]
    by_name = gather(in_order, are_facets(places).tolist())
    names = sorted(by_name, key=lambda name: (KINDS.index(series_of(name[0])), name))
    gathered = [by_name[name] for name in names]
    for kind, ours in _by_kind(gathered):
        _join_rows(kind, ours, places)
    labels = _take_what_follows(gathered, places) if are_of_users(places).any() else NO_LABELS
    columns = CellColumns(
        count=len(places),
        cells=pack_table(
            [
                np.diff(places, prepend=0),
                [full.cell.calls for full in in_order],
                [full.cell.errors for full in in_order],
            ]
        ),
        names=[name for name, _ in names],
        cells_of_names=[len(of.cells) for of in gathered],
        entries=_entries(gathered, np.array([full.cell.calls for full in in_order], dtype=np.int64)),
        rows=[
            pack_rows(kind, list(chain.from_iterable(of.rows for of in ours)), [len(of.cells) for of in ours])
            for kind, ours in _by_kind(gathered)
        ],
        totals=[
            _totals(kind, [more.totals for more in _more(ours) if more.totals is not None])
            for kind, ours in _by_kind(gathered)
        ],
        large=LARGE_CODEC.pack([more.large for more in _more(gathered) if more.large is not None]),
        labels=pack_column(labels),
    )
    parts = compress(_encoder.encode(columns), COMPRESSION_LEVEL), _pack_beside(gathered)
    return HEADER.pack(MARK, *map(len, parts)) + b"".join(parts)


def _take_what_follows(gathered: Sequence[OfSeries], places: Integers) -> Integers:
    """Take rows that follow from others; returns the labels of facets."""
    labels = NO_LABELS
    for kind, ours in _by_kind(gathered):
        of_combinations = [of for of in ours if not are_facets(places[of.cells[:1]]).any()]
        if kind is OF_LATENCY and len(ours) == 2:
            follow, labels = picked_facets(*(_as_entries(kind, [of], places) for of in ours))
            _take(ours[1:], follow, {})
        if of_combinations:
            entries = _as_entries(kind, of_combinations, places)
            found = users_that_follow(kind, entries, *_all_totals(kind, of_combinations, entries))
            _take(of_combinations, found.follow, _as_rows(kind, found))
    return labels


def _join_rows(kind: Series, ours: Sequence[OfSeries], places: Integers) -> None:
    """Put rows beside cells to those in the cells, where there are no sketches: their totals follow then."""
    are_ours, are_all = are_of_users(places).tolist(), (places & VIEW_MASK == ALL_CALLS).tolist()
    most_bytes = JOINED_ROWS_MAX * kind.row_bytes if kind is OF_USAGE else 0
    joined = [
        (of, at, more)
        for of in ours
        for at, more in of.more.items()
        if more.kind == HAS_TOTALS
        and more.beside.rows
        and (are_ours[of.cells[at]] or (len(more.beside.rows) <= most_bytes and not are_all[of.cells[at]]))
    ]
    same = are_totals_of(
        kind, [more.beside.rows for _, _, more in joined], [more.totals or b"" for _, _, more in joined]
    )
    for (of, at, more), is_same in zip(joined, same, strict=True):
        if is_same:
            of.rows[at] += more.beside.rows
            del of.more[at]


def _as_entries(kind: Series, ours: Sequence[OfSeries], places: Integers) -> Entries:
    lengths = [len(of.cells) for of in ours]
    rows = list(chain.from_iterable(of.rows for of in ours))
    plain = np.ones(len(rows), dtype=np.bool_)
    begins = np.cumsum(lengths) - lengths
    plain[[begin + at for begin, of in zip(begins.tolist(), ours, strict=True) for at in of.more]] = False
    cells = np.array(list(chain.from_iterable(of.cells for of in ours)), dtype=np.int64)
    return Entries(
        np.repeat(np.arange(len(ours)), lengths),
        places[cells],
        _sizes(rows) // kind.row_bytes,
        kind.values(b"".join(rows)),
        plain,
    )


def _all_totals(kind: Series, ours: Sequence[OfSeries], entries: Entries) -> tuple[Integers, Flags]:
    """Return the totals of all values of entries that have sketches, and which these are."""
    has_totals = np.zeros(len(entries.places), dtype=np.bool_)
    totals = np.empty((len(has_totals), kind.layout.width), dtype=np.int64)
    begin = 0
    for of in ours:
        for at, more in of.more.items():
            if more.totals is not None and more.large is None and more.beside.sketches:
                has_totals[begin + at] = True
                in_cell = kind.layout.of_values(kind.unpack(of.rows[at]))
                kind.layout.merge(in_cell, kind.layout.unpack(more.totals)[0].tolist())
                totals[begin + at] = in_cell
        begin += len(of.cells)
    return totals, has_totals


def _as_rows(kind: Series, found: Following) -> dict[int, bytes]:
    """Return what entries have besides what they follow from, as they are stored, by position."""
    (places,) = found.rest_sizes.nonzero()
    rows = kind.rows(found.rest)
    spans = pairwise([0, *(np.cumsum(found.rest_sizes[places]) * kind.row_bytes).tolist()])
    return {at: rows[begin:end] for at, (begin, end) in zip(places.tolist(), spans, strict=True)}


def _take(ours: Sequence[OfSeries], follow: Flags, rests: Mapping[int, bytes]) -> None:
    """Note which entries follow, and leave nothing of them but what they have besides, by position."""
    begin = 0
    for of in ours:
        end = begin + len(of.cells)
        of.follow = follow[begin:end].nonzero()[0].tolist()
        for at in of.follow:
            of.rows[at] = rests.get(begin + at, b"")
            of.more.pop(at, None)
        begin = end


def _by_kind(gathered: Sequence[OfSeries]) -> list[tuple[Series, list[OfSeries]]]:
    return [(kind, [of for of in gathered if of.series is kind]) for kind in KINDS]


def _more(gathered: Iterable[OfSeries]) -> Iterable[More]:
    """Return what entries have besides rows, in their order."""
    return chain.from_iterable((of.more[at] for at in sorted(of.more)) for of in gathered)


def _entries(gathered: Sequence[OfSeries], calls: Integers) -> bytes:
    cells = list(chain.from_iterable(of.cells for of in gathered))
    in_cell, beside, kinds = np.zeros((3, len(cells)), dtype=np.int64)
    begin = 0
    for of in gathered:
        end = begin + len(of.cells)
        in_cell[begin:end] = _sizes(of.rows) // of.series.row_bytes
        for at, more in of.more.items():
            beside[begin + at] = len(more.beside.rows) // of.series.row_bytes
            kinds[begin + at] = more.kind
        kinds[begin:end][of.follow] |= FOLLOWS
        if of.series is OF_LATENCY:
            in_cell[begin:end] -= np.where(kinds[begin:end] == 0, calls[of.cells], 0)
        begin = end
    return pack_table([np.diff(cells, prepend=0), in_cell, beside, kinds])


def _pack_beside(gathered: Sequence[OfSeries]) -> bytes:
    """Return what is beside cells, packed; nothing where there is none."""
    if not any(of.more for of in gathered):
        return b""
    rows = []
    for kind, ours in _by_kind(gathered):
        of_each = [[of.more[at].beside.rows for at in sorted(of.more)] for of in ours]
        rows.append(pack_rows(kind, list(chain.from_iterable(of_each)), list(map(len, of_each))))
    sketches = list(chain.from_iterable(more.beside.sketches for more in _more(gathered)))
    columns = BesideColumns(rows, len(sketches), pack_column(_sizes(sketches)), b"".join(sketches))
    return compress(_encoder.encode(columns), COMPRESSION_LEVEL)


def _sizes(parts: Sequence[bytes]) -> Integers:
    return np.fromiter(map(len, parts), dtype=np.int64, count=len(parts))


def _totals(series: Series, stored: Sequence[bytes]) -> bytes:
    """Totals of all entries of a kind, one kind of number after the other."""
    return pack_table(series.layout.unpack(b"".join(stored)).T) if stored else b""
