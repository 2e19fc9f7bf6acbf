"""Where sealed call records lie in their chunk.

A chunk (see keys.py) that is full, and that nothing has touched for a while, has one frame of its records
(aggregator/segments/call_frame.py) in the field `z` instead of a field for each. A record that has a field of its own
counts as it is there, whatever the frame holds of it: one that changes is written so, and the frame stays as it was
until the chunk is sealed again. Field and frame are to be read in one command, or under the fence.

Full chunks that have records which are not sealed are fields of one hash of the shard, by their number.
"""

from collections.abc import Collection, Mapping, Sequence

from aggregator.calls.call import CALL_CODEC, Call
from aggregator.segments.call_frame import unpack_calls
from aggregator.segments.compression import CorruptFrame

CALL_FRAME_FIELD = b"z"


def calls_of_chunk(key: str, first: int, fields: Mapping[bytes, bytes]) -> dict[int, Call]:
    """All records of a chunk by number, the first of which is `first`, of its whole hash. Raises CorruptFrame."""
    frame = fields.get(CALL_FRAME_FIELD)
    calls = {} if frame is None else sealed_calls(key, frame, None)
    for place, packed in fields.items():
        if place != CALL_FRAME_FIELD:
            calls[first + int(place)] = CALL_CODEC.unpack(packed)
    return calls


def calls_among(
    key: str, numbers: Sequence[int], stored: Sequence[bytes | None], frame: bytes | None
) -> dict[int, Call]:
    """The records of one chunk that have these numbers, of what their fields hold. Raises CorruptFrame."""
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
