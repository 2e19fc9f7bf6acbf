"""The cells a writer has at hand, and how a batch changes them."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np

from aggregator.call_tally import CallTally, add_shared
from aggregator.cell import (
    CELLS,
    ROWS_BESIDE_MAX,
    ROWS_IN_CELL_MAX,
    SKETCHES,
    Cell,
    place_of,
    rows_field,
    sketches_field,
)
from aggregator.levels import LEVELS, Level
from aggregator.redis_layout import ShardKeys
from aggregator.series import LATENCY, OF_LATENCY, OF_USAGE, Row, Series, series_of
from aggregator.shard_write import Field, Key, ShardWrite
from aggregator.sketch import compress
from aggregator.totals import ABSENT

LATENCIES_BYTES_MAX = ROWS_IN_CELL_MAX * OF_LATENCY.row_bytes
USAGE_BYTES_MAX = ROWS_IN_CELL_MAX * OF_USAGE.row_bytes

CellKey = tuple[str, bytes]
"""The key of a block of rollups, and the place of the cell in it."""

Stored = Mapping[tuple[Key, Field], bytes]
"""Values that were read, by key and field."""


class ViewMinute(NamedTuple):
    """A view of a project in one minute (since 1970)."""

    project: int
    minute: int
    view: int


class Block(NamedTuple):
    """Consecutive slots of a level that are stored together, of a project."""

    project: int
    level: Level
    number: int


class Gains(NamedTuple):
    """What a batch brings to each cell; by key, the blocks that hold them, and their slots that gain anything."""

    cells: dict[CellKey, CallTally]
    blocks: dict[str, Block]
    slots: dict[str, set[int]]


class _Beside:
    """What is stored beside a cell of one series: the newest rows, and a sketch for each metric."""

    __slots__ = ("rows", "sketches")

    def __init__(self, rows: bytes = b"", sketches: list[bytes] | None = None) -> None:
        self.rows = rows
        self.sketches = sketches or []

    def compress(self, series: Series, large: Iterable[Row] = ()) -> None:
        """Count all rows, and those too large to be packed, in the sketches."""
        values = series.values(self.rows).T.astype(np.float64)
        self.rows = b""
        sketches = self.sketches or [b""] * len(values)
        large = list(large)
        self.sketches = []
        for metric, (sketch, column) in enumerate(zip(sketches, values, strict=True)):
            more = [float(row[metric]) for row in large if metric < len(row)]
            if metric >= series.layout.costs_at:
                column = column[column != ABSENT]
            column = np.concatenate([column, more]) if more else column
            self.sketches.append(compress(sketch, column) if len(column) else sketch)


class _Held:
    """A cell at hand, with what is beside it of the series that batches needed."""

    __slots__ = ("beside", "cell")

    def __init__(self) -> None:
        self.cell = Cell()
        self.beside: dict[bytes, _Beside] = {}


class _Growth(NamedTuple):
    """Rows of a series that are too many to be kept in their cell."""

    key: str
    place: bytes
    held: _Held
    name: bytes
    rows: bytes


def spread(tallies: Mapping[ViewMinute, CallTally], keys: ShardKeys) -> Gains:
    """What each cell of each level gains. A tally that one cell alone gains is shared, so none may be changed."""
    gains = Gains({}, {}, {})
    copied: set[CellKey] = set()
    places: dict[tuple[int, int], list[tuple[str, int]]] = {}
    for (project, minute, view), tally in tallies.items():
        slots = places.get((project, minute))
        if slots is None:
            slots = places[project, minute] = _slots(project, minute, keys, gains)
        for key, slot in slots:
            add_shared(gains.cells, (key, place_of(slot, view)), tally, copied)
    return gains


def _slots(project: int, minute: int, keys: ShardKeys, gains: Gains) -> list[tuple[str, int]]:
    """By level: the key of the block that holds a minute, and the minute's slot in it."""
    found = []
    for level in LEVELS:
        number, slot = level.block_and_slot(minute)
        key = keys.rollups(project, level, number)
        gains.blocks[key] = Block(project, level, number)
        gains.slots.setdefault(key, set()).add(slot)
        found.append((key, slot))
    return found


class Cells:
    """A bounded cache of cells. What is beside a cell is loaded only when a batch first needs it."""

    def __init__(self) -> None:
        self._held: dict[CellKey, _Held] = {}

    def missing(self, gains: Gains) -> dict[Key, list[Field]]:
        """The cells that must be read before `gains` can be added."""
        wanted: dict[Key, list[Field]] = {}
        for cell_key in gains.cells:
            if cell_key not in self._held:
                wanted.setdefault(cell_key[0], []).append(cell_key[1])
        return wanted

    def take(self, stored: Stored, gains: Gains) -> None:
        """Take in the cells that were read."""
        for cell_key in gains.cells:
            if cell_key not in self._held:
                held = self._held[cell_key] = _Held()
                packed = stored.get(cell_key)
                if packed is not None:
                    held.cell = CELLS.unpack(packed)

    def missing_beside(self, gains: Gains) -> dict[Key, list[Field]]:
        """What must be read beside the cells, all of them being here."""
        wanted: dict[Key, list[Field]] = {}
        for key, place, name in self._not_here(gains):
            wanted.setdefault(key, []).extend((rows_field(place, name), sketches_field(place, name)))
        return wanted

    def take_beside(self, stored: Stored, gains: Gains) -> None:
        """Take in what was read beside the cells."""
        for key, place, name in list(self._not_here(gains)):
            sketches = stored.get((key, sketches_field(place, name)))
            self._held[key, place].beside[name] = _Beside(
                stored.get((key, rows_field(place, name)), b""), SKETCHES.unpack(sketches) if sketches else None
            )

    def _not_here(self, gains: Gains) -> Iterable[tuple[str, bytes, bytes]]:
        for (key, place), gain in gains.cells.items():
            held = self._held[key, place]
            cell = held.cell
            if cell.totals or cell.large:
                for name in dict.fromkeys([*gain.rows, *gain.large]):
                    if (name in cell.totals or name in cell.large) and name not in held.beside:
                        yield key, place, name

    def add(self, gains: Gains, write: ShardWrite) -> None:
        """Count a batch, everything it needs being here, and note what to store."""
        growths: list[_Growth] = []
        for (key, place), gain in gains.cells.items():
            held = self._held[key, place]
            cell = held.cell
            cell.calls += gain.calls
            cell.errors += gain.errors
            for name, rows in gain.rows.items():
                more = rows[0] if len(rows) == 1 else b"".join(rows)
                if name not in cell.totals:
                    more = cell.rows.get(name, b"") + more
                    if len(more) <= (LATENCIES_BYTES_MAX if name == LATENCY else USAGE_BYTES_MAX):
                        cell.rows[name] = more
                        continue
                    cell.rows.pop(name, None)
                growths.append(_Growth(key, place, held, name, more))
            for name, large in gain.large.items():
                _add_large(key, place, held, name, large, write)
        for series in (OF_LATENCY, OF_USAGE):
            _grow([growth for growth in growths if series_of(growth.name) is series], series, write)
        pack = CELLS.pack
        for cell_key in gains.cells:
            write.set(*cell_key, pack(self._held[cell_key].cell))

    def trim(self, used: Iterable[CellKey], cells_max: int) -> None:
        """Keep the cells used last, `cells_max` in all (more where `used` is more)."""
        for key in used:
            self._held[key] = self._held.pop(key)
        excess = len(self._held) - cells_max
        if excess > 0:
            for key in list(islice(self._held, excess)):
                del self._held[key]


def _grow(growths: list[_Growth], series: Series, write: ShardWrite) -> None:
    """Add rows to the totals of their cells, all at once, and to what is beside these."""
    if not growths:
        return
    layout = series.layout
    sizes = np.array([len(growth.rows) // series.row_bytes for growth in growths])
    gained = layout.of_segments(series.values(b"".join(growth.rows for growth in growths)), np.cumsum(sizes) - sizes)
    before = b"".join(growth.held.cell.totals.get(growth.name, layout.packed_none) for growth in growths)
    after = layout.merged(layout.unpack(before), gained).astype("<i8").tobytes()
    width = len(layout.packed_none)
    for at, growth in enumerate(growths):
        growth.held.cell.totals[growth.name] = after[at * width : (at + 1) * width]
        beside = growth.held.beside.setdefault(growth.name, _Beside())
        beside.rows += growth.rows
        if len(beside.rows) > ROWS_BESIDE_MAX * series.row_bytes:
            beside.compress(series)
            write.set(growth.key, sketches_field(growth.place, growth.name), SKETCHES.pack(beside.sketches))
        write.set(growth.key, rows_field(growth.place, growth.name), beside.rows)


def _add_large(key: str, place: bytes, held: _Held, name: bytes, rows: list[Row], write: ShardWrite) -> None:
    """Count rows that are too large to be packed: exact totals of any size, and at once in the sketches."""
    series = series_of(name)
    series.layout.merge(held.cell.large.setdefault(name, series.layout.none()), series.layout.of_values(rows))
    beside = held.beside.setdefault(name, _Beside())
    beside.compress(series, rows)
    write.set(key, sketches_field(place, name), SKETCHES.pack(beside.sketches))
    write.set(key, rows_field(place, name), beside.rows)
