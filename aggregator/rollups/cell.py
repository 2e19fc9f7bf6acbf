"""A cell: what is stored of the calls of one view in one slot of a level.

The newest rows of a series are kept in the cell. When they get too many they are counted in totals, which are kept in
the cell too, and move beside it; rows there become, once they are many, a sketch of each metric. So a cell that gains a
row now and then is written again, but not all that is beside it. What a cell counts is its totals and its rows.
"""

from collections.abc import Iterable, Sequence

import msgspec
import numpy as np

from aggregator.packing import Packing
from aggregator.rollups.totals import Integers, Totals

# Rows of a series that are kept in its cell: more would outweigh the totals, which are 400 bytes, and all are written
# whenever the cell is; with fewer, those beside it are written more often.
ROWS_IN_CELL_MAX = 16
# Rows kept beside a cell until they are worth a compression into sketches, which takes some 100 µs a metric.
ROWS_BESIDE_MAX = 512
# A place is a slot of a block, and below it, in so many bits, the number of a view on its day.
VIEW_BITS = 24
VIEW_MASK = (1 << VIEW_BITS) - 1
_PLACE_BYTES = 5
# What goes before a place, so that it is a word.
_WORD_BEGIN = bytes(8 - _PLACE_BYTES)


class Cell(msgspec.Struct, array_like=True, gc=False):
    """Counts of a cell, and by series its newest packed rows, packed totals of those beside it, totals of
    large ones.
    """

    calls: int = 0
    errors: int = 0
    rows: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    totals: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    large: dict[bytes, Totals] = msgspec.field(default_factory=dict)

    @property
    def overflow(self) -> list[bytes]:
        """The series of which something is stored beside the cell."""
        return [*self.totals, *(name for name in self.large if name not in self.totals)]


CELL_CODEC = Packing(Cell)
_encode = msgspec.msgpack.Encoder().encode
SKETCHES_CODEC = Packing(list[bytes])
"""Of a series, one sketch for each metric; empty where none has a value."""


def pack_cell(cell: Cell) -> bytes:
    """Pack a cell as it is stored. Only totals of rows that are too large can hold what MessagePack cannot."""
    return CELL_CODEC.pack(cell) if cell.large else _encode(cell)


def place_of(slot: int, view: int) -> bytes:
    """A slot of a block, and a view, as a field of the block's rollups."""
    return packed_place(first_place(slot) + view)


def places_of(slots: Sequence[int], views: Sequence[int]) -> list[bytes]:
    """The fields of all these views, slot by slot."""
    return [((slot << VIEW_BITS) + view).to_bytes(_PLACE_BYTES, "big") for slot in slots for view in views]


def first_place(slot: int) -> int:
    """The place of a slot and view 0, as a number."""
    return slot << VIEW_BITS


def slot_of(place: int) -> int:
    """The slot of a place."""
    return place >> VIEW_BITS


def view_of(place: int) -> int:
    """The view of a place."""
    return place & VIEW_MASK


def packed_place(place: int) -> bytes:
    """A place as a field."""
    return place.to_bytes(_PLACE_BYTES, "big")


def places_among(fields: Iterable[bytes]) -> Integers:
    """The places of the cells that some fields of a block are; others are of what is beside cells, or sealed."""
    places = [_WORD_BEGIN + field for field in fields if len(field) == _PLACE_BYTES]
    return np.frombuffer(b"".join(places), ">i8").astype(np.int64)


def rows_field(place: bytes, name: bytes) -> bytes:
    """The field of a series' rows beside its cell."""
    return place + b"r" + name


def sketches_field(place: bytes, name: bytes) -> bytes:
    """The field of a series' sketches."""
    return place + b"s" + name
