"""A block of rollups as it would be if nothing in it were sealed."""

from collections.abc import Mapping

from aggregator.layout.sealed import DIRECTORY_FIELD, unpack_directory
from aggregator.objects.frame_cache import FrameCache
from aggregator.objects.object_store import ObjectStore
from aggregator.rollups.cell import SKETCHES_CODEC, pack_cell, packed_place, rows_field, sketches_field
from aggregator.segments.gathering import FullCell
from aggregator.segments.unpacked_frame import unpack_frame

# Keys of a shard that say how the rest is kept, not what it is.
NO_CONTENT = [
    "projects",
    "until",
    "unread",
    "ids",
    "idp",
    "writer",
    "waiting",
    "log",
    "attempt",
    "open_minutes",
    "unsealed",
    "unsealed_calls",
    "unsealed_postings",
    "unmoved_postings",
    "unmoved_minutes",
    "unmoved",
    "unmoved_calls",
    "objects",
    "retired",
]
PLACE_BYTES = len(packed_place(0))


def unsealed(block: Mapping[bytes, bytes], key: str = "", objects: ObjectStore | None = None) -> dict[bytes, bytes]:
    """The fields of a block's hash, those of sealed cells too; what is not sealed stays as it is.

    `key`: any of the shard, which says what the names of its objects begin with; frames in them are checked.
    """
    cells: dict[int, FullCell] = {}
    frames = FrameCache(objects)
    for one in unpack_directory(block.get(DIRECTORY_FIELD)).ranges:
        located = one.location and one.location.located(key)
        cells |= unpack_frame(frames.read([located])[located] if located else block[one.field])
    # No place's first byte is a letter: it counts slots in 256.
    fields = {field: value for field, value in block.items() if not field.startswith((b"z", b"o"))}
    hot = {field for field in fields if len(field) == PLACE_BYTES}
    for place, (cell, beside) in cells.items():
        packed = packed_place(place)
        if packed in hot:
            continue
        fields[packed] = pack_cell(cell)
        for name, (rows, sketches) in beside.items():
            fields[rows_field(packed, name)] = rows
            if sketches:
                fields[sketches_field(packed, name)] = SKETCHES_CODEC.pack(sketches)
    return fields
