"""Taking sealed cells out of their frames, for a batch that changes them."""

from collections.abc import Callable, Collection, Mapping

from aggregator.layout.sealed import DIRECTORY_FIELD, SealedRange, unpack_directory
from aggregator.layout.write import Field, Key
from aggregator.objects.frame_cache import FrameCache
from aggregator.segments.gathering import FullCell
from aggregator.segments.unpacked_frame import unpack_frame

Stored = Mapping[tuple[Key, Field], bytes]
"""Values that were read, by key and field."""

Read = Callable[[dict[Key, list[Field]]], Stored]
"""What is there of fields by key."""


def sealed_cells(
    wanted: Mapping[str, Collection[int]], stored: Stored, read: Read, frames: FrameCache
) -> dict[tuple[str, int], FullCell]:
    """The sealed cells of these places, by key of the block; `stored` has the directories.

    Raises CorruptFrame and, of frames that are in objects, what FrameCache raises.
    """
    ranges = {
        key: unpack_directory(stored.get((key, DIRECTORY_FIELD))).of_places(places) for key, places in wanted.items()
    }
    packed = read_frames({key: of_key for key, of_key in ranges.items() if of_key}, read, frames)
    found: dict[tuple[str, int], FullCell] = {}
    for key, of_key in ranges.items():
        for one in of_key:  # the newest last
            cells = unpack_frame(packed[key, one.number], wanted[key])
            found.update(((key, place), cell) for place, cell in cells.items())
    return found


def read_frames(
    ranges: Mapping[str, Collection[SealedRange]], read: Read, frames: FrameCache
) -> dict[tuple[str, int], bytes]:
    """Frames by key of the block and number, from Redis or from objects; what Redis lacks is empty."""
    fields: dict[Key, list[Field]] = {}
    located = {}
    for key, of_key in ranges.items():
        for one in of_key:
            if one.location is None:
                fields.setdefault(key, []).append(one.field)
            else:
                located[key, one.number] = one.location.located(key)
    in_redis = read(fields) if fields else {}
    in_objects = frames.read(list(located.values())) if located else {}
    found = {at: in_objects[one] for at, one in located.items()}
    for key, of_key in ranges.items():
        found |= {(key, one.number): in_redis.get((key, one.field), b"") for one in of_key if one.location is None}
    return found
