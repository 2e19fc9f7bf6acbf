"""Where sealed call records lie in their chunk.

A chunk (see keys.py) that is full, and that nothing has touched for a while, has one frame of its records
(aggregator/segments/call_frame.py) in the field `z` instead of a field for each. A record that has a field of its own
counts as it is there, whatever the frame holds of it: one that changes is written so, and the frame stays as it was
until the chunk is sealed again. Field and frame are to be read in one command, or under the fence.

A frame that has moved into an object (see moved.py) leaves a pointer in `z`: an `@`, with which no frame begins, and
MessagePack of the object's name, where the frame begins there, how long it is, the CRC-32 of its bytes, and the event
time of the newest of its calls (microseconds since 1970), by which the chunk expires.

Full chunks that have records which are not sealed are fields of one hash of the shard, by their number. Those whose
frame is to be moved are fields of another, with the event time of their newest call.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from aggregator.calls.call import CALL_CODEC, Call
from aggregator.layout.sealed import Location
from aggregator.objects.frame_cache import FrameCache, Located
from aggregator.segments.call_frame import unpack_calls
from aggregator.segments.compression import CorruptFrame

CALL_FRAME_FIELD = b"z"
_POINTER = b"@"
_NO_OBJECTS = FrameCache(None)


class MovedCalls(NamedTuple):
    """Where a chunk's frame lies in an object, and the event time of the newest of its calls."""

    location: Location
    newest_us: int


class _Pointer(msgspec.Struct, array_like=True, frozen=True):
    """A pointer as it is stored."""

    name: str
    offset: int
    length: int
    checksum: int
    newest_us: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Pointer)


def pack_pointer(moved: MovedCalls) -> bytes:
    """Return what the field of a frame that has moved holds."""
    return _POINTER + _encoder.encode(_Pointer(*moved.location, moved.newest_us))


def unpack_pointer(stored: bytes | None) -> MovedCalls | None:
    """Return where the frame has moved that was in this field; None where it is there, or there is none."""
    if stored is None or not stored.startswith(_POINTER):
        return None
    found = _decoder.decode(stored[len(_POINTER) :])
    return MovedCalls(Location(found.name, found.offset, found.length, found.checksum), found.newest_us)


def located(key: str, stored: bytes | None) -> Located | None:
    """Return where a chunk's frame is to be read, if it has moved; `key`: any of the shard."""
    moved = unpack_pointer(stored)
    return None if moved is None else moved.location.located(key)


def read_call_frames(stored: Mapping[str, bytes | None], frames: FrameCache) -> dict[str, bytes | None]:
    """The frames of chunks by key, of what their fields hold. Raises what FrameCache raises."""
    places = {key: place for key, value in stored.items() if (place := located(key, value)) is not None}
    read = frames.read(list(places.values())) if places else {}
    return {**stored, **{key: read[place] for key, place in places.items()}}


def calls_of_chunk(
    key: str, first: int, fields: Mapping[bytes, bytes], frames: FrameCache = _NO_OBJECTS
) -> dict[int, Call]:
    """All records of a chunk by number, the first of which is `first`, of its whole hash. Raises CorruptFrame and, of
    a frame that has moved, what FrameCache raises.
    """
    [frame] = read_call_frames({key: fields.get(CALL_FRAME_FIELD)}, frames).values()
    calls = {} if frame is None else sealed_calls(key, frame, None)
    for place, packed in fields.items():
        if place != CALL_FRAME_FIELD:
            calls[first + int(place)] = CALL_CODEC.unpack(packed)
    return calls


def calls_among(
    key: str, numbers: Sequence[int], stored: Sequence[bytes | None], frame: bytes | None
) -> dict[int, Call]:
    """The records of one chunk that have these numbers, of what their fields hold and its frame (no pointer to it).
    Raises CorruptFrame.
    """
    calls = {
        number: CALL_CODEC.unpack(packed) for number, packed in zip(numbers, stored, strict=True) if packed is not None
    }
    if frame is not None and len(calls) < len(numbers):
        calls |= sealed_calls(key, frame, {number for number in numbers if number not in calls})
    return calls


def sealed_calls(key: str, frame: bytes, wanted: Collection[int] | None) -> dict[int, Call]:
    """The records of a chunk's frame, of those wanted (None: all). Raises CorruptFrame, which names the chunk."""
    try:
        return unpack_calls(frame, wanted)
    except CorruptFrame as why:
        raise CorruptFrame(f"the sealed records of {key} are damaged: {why}") from why
