"""Reading cells, sealed or not, and what is beside them.

A block's directory of what is sealed is read in the same command as its cells, so that a cell is found once: as it is,
or in a frame. It is read again with all that is read later of the block in Redis; if it has changed, cells may have
been sealed in between, and are read again. What a cell of a coarser level lacks of open minutes is read in the same
command too; the cells of these minutes are read after it, and say what they say whenever that is.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aggregator.layout.open_minutes import OPEN_FIELD, lacking
from aggregator.layout.sealed import DIRECTORY_FIELD, unpack_directory
from aggregator.objects.frame_cache import DamagedObject, Located
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.reading.frame_search import BlockFrame, FoundFrames, Search, found_in_frames, named_damage
from aggregator.reading.frame_search import DamagedCells as DamagedCells
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import CELL_CODEC, SKETCHES_CODEC, Cell, packed_place, rows_field, sketches_field
from aggregator.rollups.series import LATENCY
from aggregator.segments.gathering import PackedOverflow
from aggregator.store.pieces import PIECE_PARTS_MAX
from aggregator.store.reader import StateLost, StoreReader

# Blocks are sealed once an hour at most, each in some steps a second.
READS_MAX = 10
# Of one command, which has the directory and the open minutes too: a longer one is cut into pieces, and Redis does
# others in between.
_FIELDS_MAX = PIECE_PARTS_MAX - len(("HMGET", "key", DIRECTORY_FIELD, OPEN_FIELD))  # an even number


CellsOfBuckets = tuple[str, list[bytes], list[int]]
"""The key of a block, places in it, and the bucket that each belongs to."""


class FoundCell(NamedTuple):
    """A cell that was found, where, and the bucket it belongs to; of a sealed one what is beside it.

    `directory`: what was sealed of the block when it was read, `open_minutes`: which minutes it lacked, as stored.
    """

    key: str
    place: bytes
    bucket: int
    cell: Cell
    directory: bytes | None = None
    beside: Mapping[bytes, PackedOverflow] | None = None
    open_minutes: bytes | None = None


class Found(NamedTuple):
    """What was found: cells that are not sealed, and those in frames; a cell is in one of them."""

    cells: list[FoundCell]
    frames: list[FoundFrames]


async def add_cells(
    reader: StoreReader, wanted: Sequence[CellsOfBuckets], into: Merged, latency_values: bool, usage_values: bool
) -> int:
    """Merge the cells that are there, sealed or not, and if asked what percentiles are read from.

    Returns how many fields beside cells were read. Raises StateLost where they never hold still, and DamagedCells.
    """
    found = await _found(reader, wanted)
    for one in found.cells:
        into.add_cell(one.bucket, one.cell)
    for frames, of, positions, buckets in found.frames:
        with named_damage(of):
            frames.add_to(into, positions, buckets, latency_values, usage_values)
    if latency_values or usage_values:
        return await _read_percentile_values(reader, found.cells, into, latency_values, usage_values)
    return 0


async def read_cells(
    reader: StoreReader, wanted: Sequence[CellsOfBuckets], with_open_minutes: bool = True
) -> list[FoundCell]:
    """The cells that are there, sealed or not. Raises StateLost where they never hold still, and DamagedCells.

    `with_open_minutes`: and those of minutes that coarser ones lack, each with the bucket of what lacks it.
    """
    cells, found = await _found(reader, wanted, with_open_minutes)
    for frames, of, positions, buckets in found:
        with named_damage(of):
            full_cells = frames.full_cells(positions.tolist())
        places, of_frames = frames.places[positions].tolist(), frames.frame_of[positions].tolist()
        for place, frame, bucket, full in zip(places, of_frames, buckets.tolist(), full_cells, strict=True):
            key, directory = of[frame][:2]
            cells.append(FoundCell(key, packed_place(place), bucket, full.cell, directory, full.beside))
    return cells


async def _found(reader: StoreReader, wanted: Sequence[CellsOfBuckets], with_open_minutes: bool = True) -> Found:
    found = Found([], [])
    for _ in range(READS_MAX):
        cut = [
            (key, places[at : at + _FIELDS_MAX], buckets[at : at + _FIELDS_MAX])
            for key, places, buckets in wanted
            for at in range(0, len(places), _FIELDS_MAX)
        ]
        wanted = await _read_some(reader, cut, found, with_open_minutes)
        if not wanted:
            return found
    raise StateLost("cells were sealed again and again while they were read")


async def _read_some(
    reader: StoreReader, wanted: Sequence[CellsOfBuckets], found: Found, with_open_minutes: bool
) -> list[CellsOfBuckets]:
    """Read cells into `found`; returns those to read again, all of a block or nothing, and those of open minutes."""
    replies = await reader.fetch([("HMGET", key, DIRECTORY_FIELD, OPEN_FIELD, *places) for key, places, _ in wanted])
    blocks: dict[str, _Block] = {}
    for (directory, open_minutes, *values), one in zip(replies, wanted, strict=True):
        block = blocks.setdefault(one[0], _Block(directory))
        block.is_still &= block.directory == directory
        block.wanted.append(one)
        if open_minutes is not None and with_open_minutes:
            block.lacking += lacking(one[0], open_minutes, one[1], one[2])
        for packed, place, bucket in zip(values, one[1], one[2], strict=True):
            if packed is not None:
                cell = CELL_CODEC.unpack(packed)
                block.found.append(FoundCell(one[0], place, bucket, cell, directory, None, open_minutes))
            elif directory is not None:
                block.absent.append(int.from_bytes(place, "big"))
                block.buckets.append(bucket)
    await _read_sealed(reader, blocks)
    again: list[CellsOfBuckets] = []
    for block in blocks.values():
        if block.is_still:
            found.cells.extend(block.found)
            again += block.lacking
        else:
            again += block.wanted
    found.frames.extend(found_in_frames([block.search for block in blocks.values() if block.is_still and block.search]))
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
                BlockFrame(
                    key,
                    block.directory,
                    one.number,
                    (next(values) or b"") if one.location is None else in_objects[one.location.located(key)],
                )
                for one in ranges[key]
            ]
            block.search = Search(frames, block.absent, block.buckets)
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
        self.lacking: list[CellsOfBuckets] = []
        self.found: list[FoundCell] = []
        self.absent: list[int] = []
        self.buckets: list[int] = []
        self.search: Search | None = None


async def _read_percentile_values(
    reader: StoreReader, places: Sequence[FoundCell], into: Merged, latency: bool, usage: bool
) -> int:
    """Add to each cell's bucket what percentiles are read from: rows in the cells and beside them, and sketches.

    Returns how many fields beside cells were read. Raises StateLost where cells have been sealed meanwhile,
    or minutes opened or added to them.
    """
    by_key: dict[str, list[tuple[bytes, int, bytes]]] = {}
    states: dict[str, tuple[bytes | None, bytes | None]] = {}
    for place in places:
        wanted = [name for name in place.cell.overflow if (latency if name == LATENCY else usage) and into.wants(name)]
        for name, rows in place.cell.rows.items():
            if (latency if name == LATENCY else usage) and into.wants(name):
                into.values_of(place.bucket, name).rows.append(rows)
        if wanted:
            states[place.key] = place.directory, place.open_minutes
            fields = by_key.setdefault(place.key, [])
            for name in wanted:
                fields.append((rows_field(place.place, name), place.bucket, name))
                fields.append((sketches_field(place.place, name), place.bucket, name))
    asked = [
        (key, fields[at : at + _FIELDS_MAX])
        for key, fields in by_key.items()
        for at in range(0, len(fields), _FIELDS_MAX)
    ]
    replies = await reader.fetch(
        [("HMGET", key, DIRECTORY_FIELD, OPEN_FIELD, *(field[0] for field in fields)) for key, fields in asked]
    )
    for (directory, open_minutes, *found), (key, fields) in zip(replies, asked, strict=True):
        if (directory, open_minutes) != states[key]:
            raise StateLost("cells were sealed, or minutes added to them, while they were read")
        for at in range(0, len(fields), 2):
            _, bucket, name = fields[at]
            rows, sketches = found[at : at + 2]
            into.add_beside(bucket, name, *beside_of(rows, sketches))
    return sum(map(len, by_key.values()))


def beside_of(rows: bytes | None, sketches: bytes | None) -> PackedOverflow:
    """Return what is beside a cell of a series, of its stored fields."""
    return PackedOverflow(rows or b"", SKETCHES_CODEC.unpack(sketches) if sketches else [])
