"""A cell: what is stored of the calls of one view in one slot of a level.

Of a series with few rows the rows themselves are kept in the cell, and tell its totals. From then on the totals are
kept in the cell, and beside it the newest rows and, once those were many, a sketch of each metric.
"""

import msgspec

from aggregator.packing import Packing
from aggregator.totals import Totals

# Rows of a series that are kept in its cell. More would outweigh the totals, which are 400 bytes.
ROWS_IN_CELL_MAX = 16
# Rows kept beside a cell until they are worth a compression into sketches, which takes some 100 µs a metric.
ROWS_BESIDE_MAX = 512


class Cell(msgspec.Struct, array_like=True):
    """By series: packed rows while few, else packed totals; and totals of rows too large to be packed."""

    calls: int = 0
    errors: int = 0
    rows: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    totals: dict[bytes, bytes] = msgspec.field(default_factory=dict)
    large: dict[bytes, Totals] = msgspec.field(default_factory=dict)

    @property
    def beside(self) -> list[bytes]:
        """The series of which something is stored beside the cell."""
        return [*self.totals, *(name for name in self.large if name not in self.totals)]


CELLS = Packing(Cell)
SKETCHES = Packing(list[bytes])
"""Of a series, one sketch for each metric; empty where none has a value."""


def place_of(slot: int, view: int) -> bytes:
    """A slot of a block, and a view, as a field of the block's rollups."""
    return (slot << 24 | view).to_bytes(5, "big")


def rows_field(place: bytes, name: bytes) -> bytes:
    """The field of a series' rows beside its cell."""
    return place + b"r" + name


def sketches_field(place: bytes, name: bytes) -> bytes:
    """The field of a series' sketches."""
    return place + b"s" + name
