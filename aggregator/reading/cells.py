"""Reading cells, sealed or not, and what is beside them.

A block's directory of what is sealed is read in the same command as its cells, so that a cell is found once: as it is,
or in a frame. It is read again with all that is read later of the block; if it has changed, cells may have been sealed
in between, and are read again.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aggregator.layout.sealed import DIRECTORY_FIELD, SealedRange, unpack_directory
from aggregator.objects.frame_cache import DamagedObject, Located
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import CELL_CODEC, SKETCHES_CODEC, Cell, rows_field, sketches_field
from aggregator.rollups.series import LATENCY
from aggregator.segments.frame import CorruptFrame, FullCell, PackedOverflow, unpack_frame
from aggregator.store.reader import StateLost, StoreReader, UnknownLayout

# Blocks are sealed once an hour at most, each in some steps a second.
READS_MAX = 10


class DamagedCells(UnknownLayout):
    """Sealed cells cannot be read: the message says which."""


CellsOfBuckets = tuple[str, list[bytes], list[int]]
"""The key of a block, places in it, and the bucket that each belongs to."""


class FoundCell(NamedTuple):
    """A cell that was found, where, and the bucket it belongs to; of a sealed one what is beside it.

    `directory`: what was sealed of the block when it was read, as it is stored.
    """

    key: str
    place: bytes
    bucket: int
    cell: Cell
    directory: bytes | None = None
    beside: Mapping[bytes, PackedOverflow] | None = None


async def read_cells(reader: StoreReader, wanted: Sequence[CellsOfBuckets]) -> list[FoundCell]:
    """The cells that are there, sealed or not. Raises StateLost where they never hold still, and DamagedCells."""
    found: list[FoundCell] = []
    for _ in range(READS_MAX):
        wanted = await _read_some(reader, wanted, found)
        if not wanted:
            return found
    raise StateLost("cells were sealed again and again while they were read")


async def _read_some(
    reader: StoreReader, wanted: Sequence[CellsOfBuckets], found: list[FoundCell]
) -> list[CellsOfBuckets]:
    """Read cells into `found`; returns those to read again, all of a block or nothing."""
    replies = await reader.fetch([("HMGET", key, DIRECTORY_FIELD, *places) for key, places, _ in wanted])
    blocks: dict[str, _Block] = {}
    for (directory, *values), one in zip(replies, wanted, strict=True):
        block = blocks.setdefault(one[0], _Block(directory))
        block.is_still &= block.directory == directory
        block.wanted.append(one)
        for packed, place, bucket in zip(values, one[1], one[2], strict=True):
            if packed is not None:
                block.found.append(FoundCell(one[0], place, bucket, CELL_CODEC.unpack(packed), directory))
            elif directory is not None:
                block.absent.add(int.from_bytes(place, "big"))
                block.places_absent.append((place, bucket))
    await _read_sealed(reader, blocks)
    again: list[CellsOfBuckets] = []
    for block in blocks.values():
        if block.is_still:
            found += block.found
        else:
            again += block.wanted
    return again


async def _read_sealed(reader: StoreReader, blocks: Mapping[str, "_Block"]) -> None:
    """Find in frames what is not there as it is: first in objects, which never change, then in Redis."""
    ranges = {key: unpack_directory(block.directory).of_places(block.absent) for key, block in blocks.items()}
    keys = [key for key in blocks if ranges[key] and blocks[key].is_still]
    located = {key: [one.location.located(key) for one in ranges[key] if one.location is not None] for key in keys}
    unreadable: ObjectStoreAway | DamagedObject | None = None
    in_objects: dict[Located, bytes] = {}
    try:
        in_objects = await reader.frames.read_aside([one for of_key in located.values() for one in of_key])
    except (ObjectStoreAway, DamagedObject) as why:
        unreadable = why
    in_redis = {key: [one.field for one in ranges[key] if one.location is None] for key in keys}
    replies = await reader.fetch([("HMGET", key, DIRECTORY_FIELD, *in_redis[key]) for key in keys])
    for (now, *found), key in zip(replies, keys, strict=True):
        block = blocks[key]
        block.is_still = now == block.directory
        if block.is_still and not (unreadable and located[key]):
            values = iter(found)
            frames = [
                in_objects[one.location.located(key)] if one.location is not None else next(values)
                for one in ranges[key]
            ]
            block.add_sealed(key, ranges[key], frames)
    if unreadable:
        if all(blocks[key].is_still for key in keys if located[key]):
            raise DamagedCells(str(unreadable)) from unreadable
        for key in keys:
            blocks[key].is_still &= not located[key]


class _Block:
    """What was found of a block, and what was not there; whether that is of one moment."""

    def __init__(self, directory: bytes | None) -> None:
        self.directory = directory
        self.is_still = True
        self.wanted: list[CellsOfBuckets] = []
        self.found: list[FoundCell] = []
        self.absent: set[int] = set()
        self.places_absent: list[tuple[bytes, int]] = []

    def add_sealed(self, key: str, ranges: Sequence[SealedRange], frames: Sequence[bytes | None]) -> None:
        """Find cells in frames, which are in the order of their numbers: the last one that has a cell counts."""
        cells: dict[int, FullCell] = {}
        for one, frame in zip(ranges, frames, strict=True):
            try:
                cells |= unpack_frame(frame or b"", self.absent)
            except CorruptFrame as why:
                raise DamagedCells(f"frame {one.number} of {key} is damaged: {why}") from why
        for place, bucket in self.places_absent:
            full = cells.get(int.from_bytes(place, "big"))
            if full is not None:
                self.found.append(FoundCell(key, place, bucket, full.cell, self.directory, full.beside))


async def read_percentile_values(
    reader: StoreReader, places: Sequence[FoundCell], into: Merged, latency: bool, usage: bool
) -> int:
    """Add to each cell's bucket what percentiles are read from: rows in the cells and beside them, and sketches.

    Returns how many fields beside cells were read. Raises StateLost where cells have been sealed meanwhile.
    """
    by_key: dict[str, list[tuple[bytes, int, bytes]]] = {}
    directories: dict[str, bytes | None] = {}
    for place in places:
        wanted = [name for name in place.cell.overflow if (latency if name == LATENCY else usage) and into.wants(name)]
        for name, rows in place.cell.rows.items():
            if (latency if name == LATENCY else usage) and into.wants(name):
                into.values_of(place.bucket, name).rows.append(rows)
        if place.beside is not None:
            for name in wanted:
                _add_beside(into, place.bucket, name, place.beside[name])
        elif wanted:
            directories[place.key] = place.directory
            fields = by_key.setdefault(place.key, [])
            for name in wanted:
                fields.append((rows_field(place.place, name), place.bucket, name))
                fields.append((sketches_field(place.place, name), place.bucket, name))
    replies = await reader.fetch(
        [("HMGET", key, DIRECTORY_FIELD, *(field[0] for field in fields)) for key, fields in by_key.items()]
    )
    for (directory, *found), (key, fields) in zip(replies, by_key.items(), strict=True):
        if directory != directories[key]:
            raise StateLost("cells were sealed while they were read")
        for at in range(0, len(fields), 2):
            _, bucket, name = fields[at]
            rows, sketches = found[at : at + 2]
            _add_beside(into, bucket, name, beside_of(rows, sketches))
    return sum(map(len, by_key.values()))


def beside_of(rows: bytes | None, sketches: bytes | None) -> PackedOverflow:
    """Return what is beside a cell of a series, of its stored fields."""
    return PackedOverflow(rows or b"", SKETCHES_CODEC.unpack(sketches) if sketches else [])


def _add_beside(into: Merged, bucket: int, name: bytes, beside: PackedOverflow) -> None:
    into.size_bytes += len(beside.rows) + sum(map(len, beside.sketches))
    values = into.values_of(bucket, name)
    if beside.rows:
        values.rows.append(beside.rows)
    if beside.sketches:
        values.sketches.append(beside.sketches)
