"""The cells a writer has at hand, and how a batch changes them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from aggregator.layout.keys import ShardKeys
from aggregator.layout.sealed import DIRECTORY_FIELD
from aggregator.layout.slots import ProjectMinute, Slot, TouchedBlock
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.objects.frame_cache import FrameCache
from aggregator.rollups.cell import (
    CELL_CODEC,
    ROWS_BESIDE_MAX,
    ROWS_IN_CELL_MAX,
    SKETCHES_CODEC,
    Cell,
    first_place,
    pack_cell,
    packed_place,
    rows_field,
    sketches_field,
)
from aggregator.rollups.levels import MINUTES
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, Row, Series, series_of
from aggregator.rollups.tally import PackedTally
from aggregator.segments.frame import PackedOverflow
from aggregator.writing.overflow import Overflow, take_rows_beside, without_rows
from aggregator.writing.slot_gains import Gains, gains_by_slot
from aggregator.writing.unsealing import Read, Stored, sealed_cells

LATENCIES_BYTES_MAX = ROWS_IN_CELL_MAX * OF_LATENCY.row_bytes
USAGE_BYTES_MAX = ROWS_IN_CELL_MAX * OF_USAGE.row_bytes

# Of the cells that may be at hand, those that are kept when there are more.
KEPT_OF_TEN = 9


class _CachedCell:
    """A cell at hand, where it is stored, and what is beside it of the series that batches needed."""

    __slots__ = ("batch", "cell", "key", "overflow", "place")

    def __init__(self, key: str, place: bytes) -> None:
        self.key = key
        self.place = place
        self.cell = Cell()
        self.overflow: dict[bytes, Overflow] = {}
        self.batch = 0  # the last one that it was in; 0: it has not been read yet

    def take_over(self, cell: Cell, beside: Mapping[bytes, PackedOverflow], write: ShardWrite) -> None:
        """Be what was sealed of this place: what was beside the cell is stored beside it again."""
        self.cell = cell
        for name, (rows, sketches) in beside.items():
            self.overflow[name] = Overflow(rows, sketches)
            write.set(self.key, rows_field(self.place, name), rows)
            if sketches:
                write.set(self.key, sketches_field(self.place, name), SKETCHES_CODEC.pack(sketches))


_Gain = tuple[_CachedCell, PackedTally]
"""A cell, and what it gains in the batch at hand."""


class _Loss(NamedTuple):
    """Rows of a series that a cell counts no more and that are not in the cell: packed ones, and large ones."""

    cached: _CachedCell
    name: bytes
    rows: bytes
    large: list[Row]


class _Growth(NamedTuple):
    """Rows of a series that are too many for their cell."""

    cached: _CachedCell
    name: bytes
    rows: bytes


class Cells:
    """A bounded cache of cells. What is beside a cell is loaded only when a batch first needs it.

    `read` gives what is there of fields by key, `frames` what is in objects. After one of them has raised, or what was
    to be stored is not, nothing here is right any more.
    """

    def __init__(self, keys: ShardKeys, read: Read, frames: FrameCache) -> None:
        self._keys = keys
        self._read = read
        self._frames = frames
        self._blocks: dict[str, dict[int, _CachedCell]] = {}
        self._batches = 0
        self.rows_still_shown = 0
        """Rows that were replaced after they had been compressed: minimum, maximum, percentiles may still show them."""

    def add(
        self,
        gained: Mapping[ProjectMinute, Mapping[int, PackedTally]],
        more: Mapping[Key, list[Field]],
        write: ShardWrite,
    ) -> tuple[dict[str, TouchedBlock], Stored]:
        """Count what a batch brings to each view, in all levels, and note what to store; returns the blocks by key.

        And what there is of these `more` fields: they are read together with the cells.
        """
        self._batches += 1
        blocks: dict[str, TouchedBlock] = {}
        gains: list[_Gain] = []
        for slot, of_slot in gains_by_slot(gained, self._keys):
            blocks.setdefault(slot.key, TouchedBlock(slot.block, set())).slots.add(slot.number)
            self._find(slot, of_slot, gains)
        stored = self._load([cached for cached, _ in gains if not cached.batch], more, write)
        losses = [loss for cached, gain in gains if gain.lost or gain.lost_large for loss in _take(cached, gain)]
        growths, large = _count(gains)
        self._load_overflow(
            [
                *((cached, name) for cached, name, _, _ in losses),
                *((cached, name) for cached, name, _ in growths),
                *((cached, name) for cached, name, _ in large),
            ]
        )
        for loss in losses:
            self.rows_still_shown += _take_beside(loss, write)
        for cached, name, rows in large:
            _add_large(cached, name, rows, write)
        for series in (OF_LATENCY, OF_USAGE):
            _grow([growth for growth in growths if series_of(growth.name) is series], series, write)
        for key, of_key in groupby(gains, lambda gain: gain[0].key):
            fields = write.fields.setdefault(key, {})
            for cached, _ in of_key:
                cached.batch = self._batches
                fields[cached.place] = pack_cell(cached.cell)
        return blocks, stored

    def _find(self, slot: Slot, of_slot: Gains, gains: list[_Gain]) -> None:
        """Add the cells of a slot that gain anything to `gains`, each with what it gains."""
        block, first = self._blocks.setdefault(slot.key, {}), first_place(slot.number)
        for view, packed in of_slot.items():
            place = first + view
            cached = block.get(place)
            if cached is None:
                cached = block[place] = _CachedCell(slot.key, packed_place(place))
            gains.append((cached, packed))

    def _load(self, unknown: Sequence[_CachedCell], more: Mapping[Key, list[Field]], write: ShardWrite) -> Stored:
        wanted = dict(more)
        for cached in unknown:
            wanted.setdefault(cached.key, [DIRECTORY_FIELD]).append(cached.place)
        if not wanted:
            return {}
        stored = self._read(wanted)
        absent: dict[str, dict[int, _CachedCell]] = {}
        for cached in unknown:
            packed = stored.get((cached.key, cached.place))
            if packed is not None:
                cached.cell = CELL_CODEC.unpack(packed)
            else:
                absent.setdefault(cached.key, {})[int.from_bytes(cached.place, "big")] = cached
        for (key, place), (cell, beside) in sealed_cells(absent, stored, self._read, self._frames).items():
            absent[key][place].take_over(cell, beside, write)
        return stored

    def calls_of(self, minute: ProjectMinute, views: Iterable[int]) -> list[int]:
        """How many calls there are of each of these views of a minute, of those that are at hand; 0 of others."""
        block, slot = MINUTES.block_and_slot(minute[1])
        of_block, first = self._blocks.get(self._keys.rollups(minute[0], MINUTES, block), {}), first_place(slot)
        return [0 if (one := of_block.get(first + view)) is None else one.cell.calls for view in views]

    def forget(self, key: str, places: Iterable[int]) -> None:
        """Drop cells that have been sealed, if they are at hand."""
        block = self._blocks.get(key, {})
        for place in places:
            block.pop(place, None)

    def _load_overflow(self, needed: Iterable[tuple[_CachedCell, bytes]]) -> None:
        """Load what is beside cells, of series that have something there and are not at hand yet."""
        unknown = {
            (cached.key, cached.place, name): cached
            for cached, name in needed
            if name not in cached.overflow and (name in cached.cell.totals or name in cached.cell.large)
        }
        wanted: dict[Key, list[Field]] = {}
        for key, place, name in unknown:
            wanted.setdefault(key, []).extend((rows_field(place, name), sketches_field(place, name)))
        if wanted:
            stored = self._read(wanted)
            for (key, place, name), cached in unknown.items():
                sketches = stored.get((key, sketches_field(place, name)))
                cached.overflow[name] = Overflow(
                    stored.get((key, rows_field(place, name)), b""),
                    SKETCHES_CODEC.unpack(sketches) if sketches else None,
                )

    def trim(self, cells_max: int) -> None:
        """Keep the cells used last, `cells_max` at most (more where the last batch has more)."""
        cached = sum(map(len, self._blocks.values()))
        if cached <= cells_max:
            return
        # One time in many, since all must be looked at: what is dropped makes room for some batches.
        used = sorted(one.batch for block in self._blocks.values() for one in block.values())
        last_dropped = used[cached - cells_max * KEPT_OF_TEN // 10 - 1]
        first_kept = min(last_dropped + 1, self._batches)
        for key, block in list(self._blocks.items()):
            kept = {place: one for place, one in block.items() if one.batch >= first_kept}
            self._blocks[key] = kept
            if not kept:
                del self._blocks[key]


def _take(cached: _CachedCell, packed: PackedTally) -> Iterator[_Loss]:
    """Take rows that are counted no more out of their cell; yields those that are not in it."""
    rows_of = cached.cell.rows
    for name in dict.fromkeys([*packed.lost, *packed.lost_large]):
        missing = packed.lost.get(name, b"")
        if missing and name in rows_of:
            rows_of[name], missing = without_rows(rows_of[name], missing, series_of(name).row_bytes)
            if not rows_of[name]:
                del rows_of[name]
        large = packed.lost_large.get(name, [])
        if missing or large:
            yield _Loss(cached, name, missing, large)


def _take_beside(loss: _Loss, write: ShardWrite) -> int:
    """Take rows out of what is beside their cell; returns how many may still show in minimum, maximum, percentiles."""
    cached, name, rows, large = loss
    overflow = cached.overflow.get(name)
    if overflow is None:  # nothing was read: the block was past its retention
        return 0
    still_shown = take_rows_beside(cached.cell, overflow, name, rows, large)
    write.set(cached.key, rows_field(cached.place, name), overflow.rows)
    if still_shown:
        write.set(cached.key, sketches_field(cached.place, name), SKETCHES_CODEC.pack(overflow.sketches))
    return still_shown


def _count(
    gains: Iterable[_Gain],
) -> tuple[list[_Growth], list[tuple[_CachedCell, bytes, list[Row]]]]:
    """Add what cells gain to the cells; returns rows that are too many for theirs, and rows that are too large."""
    growths: list[_Growth] = []
    large: list[tuple[_CachedCell, bytes, list[Row]]] = []
    for cached, packed in gains:
        cell = cached.cell
        rows_of = cell.rows
        cell.calls += packed.calls
        cell.errors += packed.errors
        for name, rows in packed.rows.items():
            known = rows_of.get(name)
            if known is not None:
                rows = known + rows
            if len(rows) <= (LATENCIES_BYTES_MAX if name == LATENCY else USAGE_BYTES_MAX):
                rows_of[name] = rows
            else:
                growths.append(_Growth(cached, name, rows))
                if known is not None:
                    del rows_of[name]
        if packed.large:
            large += [(cached, name, of_series) for name, of_series in packed.large.items()]
    return growths, large


def _grow(growths: list[_Growth], series: Series, write: ShardWrite) -> None:
    """Add rows to the totals of their cells, all at once, and to what is beside these."""
    if not growths:
        return
    layout = series.layout
    sizes = np.array([len(growth.rows) // series.row_bytes for growth in growths])
    gained = layout.of_segments(series.values(b"".join(growth.rows for growth in growths)), np.cumsum(sizes) - sizes)
    before = b"".join(growth.cached.cell.totals.get(growth.name, layout.packed_none) for growth in growths)
    after = layout.merged(layout.unpack(before), gained).astype("<i8").tobytes()
    width = len(layout.packed_none)
    full = []
    for at, (cached, name, rows) in enumerate(growths):
        cached.cell.totals[name] = after[at * width : (at + 1) * width]
        overflow = cached.overflow.setdefault(name, Overflow())
        overflow.rows += rows
        if len(overflow.rows) > ROWS_BESIDE_MAX * series.row_bytes:
            full.append((cached, name, overflow))
    Overflow.compress_all([overflow for _, _, overflow in full], series)
    for cached, name, overflow in full:
        write.set(cached.key, sketches_field(cached.place, name), SKETCHES_CODEC.pack(overflow.sketches))
    for cached, name, _ in growths:
        write.set(cached.key, rows_field(cached.place, name), cached.overflow[name].rows)


def _add_large(cached: _CachedCell, name: bytes, rows: list[Row], write: ShardWrite) -> None:
    """Count rows that are too large to be packed: exact totals of any size, and at once in the sketches."""
    series = series_of(name)
    series.layout.merge(cached.cell.large.setdefault(name, series.layout.none()), series.layout.of_values(rows))
    overflow = cached.overflow.setdefault(name, Overflow())
    overflow.compress(series, rows)
    write.set(cached.key, sketches_field(cached.place, name), SKETCHES_CODEC.pack(overflow.sketches))
    write.set(cached.key, rows_field(cached.place, name), overflow.rows)
