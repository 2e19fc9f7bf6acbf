"""Reading cells, sealed or not, and what is beside them.

A block's directory of what is sealed is read in the same command as its cells, so that a cell is found once: as it is,
or in a frame. It is read again with all that is read later of the block in Redis; if it has changed, cells may have
been sealed in between, and are read again.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from aggregator.layout.sealed import DIRECTORY_FIELD, SealedRange, unpack_directory
from aggregator.objects.frame_cache import DamagedObject, Located
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import CELL_CODEC, SKETCHES_CODEC, Cell, packed_place, rows_field, sketches_field
from aggregator.rollups.series import LATENCY
from aggregator.segments.compression import CorruptFrame
from aggregator.segments.frame import PackedOverflow
from aggregator.segments.unpacked_frame import Frame
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


class FoundFrame(NamedTuple):
    """Cells that were found in a frame: their positions there, each with the bucket it belongs to."""

    key: str
    frame: Frame
    buckets: dict[int, int]
    directory: bytes | None


class Found(NamedTuple):
    """What was found: cells that are not sealed, and those in frames; a cell is in one of them."""

    cells: list[FoundCell]
    frames: list[FoundFrame]


async def add_cells(
    reader: StoreReader, wanted: Sequence[CellsOfBuckets], into: Merged, latency_values: bool, usage_values: bool
) -> int:
    """Merge the cells that are there, sealed or not, and if asked what percentiles are read from.

    Returns how many fields beside cells were read. Raises StateLost where they never hold still, and DamagedCells.
    """
    found = await _found(reader, wanted)
    for one in found.cells:
        into.add_cell(one.bucket, one.cell)
    for one_frame in found.frames:
        with _named_damage(one_frame.key):
            one_frame.frame.add_to(into, one_frame.buckets, latency_values, usage_values)
    if latency_values or usage_values:
        return await _read_percentile_values(reader, found.cells, into, latency_values, usage_values)
    return 0


async def read_cells(reader: StoreReader, wanted: Sequence[CellsOfBuckets]) -> list[FoundCell]:
    """The cells that are there, sealed or not. Raises StateLost where they never hold still, and DamagedCells."""
    cells, frames = await _found(reader, wanted)
    for key, frame, buckets, directory in frames:
        with _named_damage(key):
            full_cells = frame.full_cells(buckets)
        for (at, bucket), (cell, beside) in zip(buckets.items(), full_cells, strict=True):
            cells.append(FoundCell(key, packed_place(frame.places[at]), bucket, cell, directory, beside))
    return cells


@contextmanager
def _named_damage(key: str) -> Iterator[None]:
    try:
        yield
    except CorruptFrame as why:
        raise DamagedCells(f"a frame of {key} is damaged: {why}") from why


async def _found(reader: StoreReader, wanted: Sequence[CellsOfBuckets]) -> Found:
    found = Found([], [])
    for _ in range(READS_MAX):
        wanted = await _read_some(reader, wanted, found)
        if not wanted:
            return found
    raise StateLost("cells were sealed again and again while they were read")


async def _read_some(reader: StoreReader, wanted: Sequence[CellsOfBuckets], found: Found) -> list[CellsOfBuckets]:
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
            found.cells.extend(block.found)
            found.frames.extend(block.frames)
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
    # What a block points into stays as it was, whatever has become of the block since.
    to_check = [key for key in keys if in_redis[key] or (unreadable and located[key])]
    replies = await reader.fetch([("HMGET", key, DIRECTORY_FIELD, *in_redis[key]) for key in to_check])
    checked = dict(zip(to_check, replies, strict=True))
    for key in keys:
        block = blocks[key]
        now, *found = checked.get(key, [block.directory])
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
        self.frames: list[FoundFrame] = []
        self.absent: set[int] = set()
        self.places_absent: list[tuple[bytes, int]] = []

    def add_sealed(self, key: str, ranges: Sequence[SealedRange], frames: Sequence[bytes | None]) -> None:
        """Find cells in frames, which are in the order of their numbers: the last one that has a cell counts."""
        buckets: dict[int, list[int]] = {}
        for stored, bucket in self.places_absent:
            buckets.setdefault(int.from_bytes(stored, "big"), []).append(bucket)
        for one, packed in zip(reversed(ranges), reversed(frames), strict=True):
            try:
                frame = Frame(packed or b"")
            except CorruptFrame as why:
                raise DamagedCells(f"frame {one.number} of {key} is damaged: {why}") from why
            here = {at: buckets.pop(place) for place, at in frame.positions(buckets).items()}
            while here:  # mostly once: a cell is of several buckets where its view is of several values
                of_each = {at: of_cell.pop() for at, of_cell in here.items()}
                self.frames.append(FoundFrame(key, frame, of_each, self.directory))
                here = {at: of_cell for at, of_cell in here.items() if of_cell}


async def _read_percentile_values(
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
        if wanted:
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
            into.add_beside(bucket, name, *beside_of(rows, sketches))
    return sum(map(len, by_key.values()))


def beside_of(rows: bytes | None, sketches: bytes | None) -> PackedOverflow:
    """Return what is beside a cell of a series, of its stored fields."""
    return PackedOverflow(rows or b"", SKETCHES_CODEC.unpack(sketches) if sketches else [])
