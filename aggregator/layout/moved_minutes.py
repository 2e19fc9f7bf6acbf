"""What is kept of a busy minute once it has moved into an object (see moved.py).

Long after its day, all that is kept of a busy minute goes into a section of an object. Its field in the hash of its day
(first_calls.py) then says where that is, MessagePack: name of the object, where the section begins there, how long it
is, and its CRC-32. Its other fields are gone. A minute that changes after that is in the hash again, as it was before.

A section is MessagePack, compressed: all calls of the minute as one piece (minute_calls.py), and by view its first
calls as they were stored.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from aggregator.layout.sealed import Location
from aggregator.segments.compression import CorruptFrame, compress, decompress

MINUTE_BYTES = 4


class MovedMinute(NamedTuple):
    """What a section holds: a piece of calls, and by view what is kept of its first calls, both packed."""

    calls: bytes
    first: Mapping[int, bytes]


_encoder = msgspec.msgpack.Encoder()
_place_decoder = msgspec.msgpack.Decoder(tuple[str, int, int, int])
_decoder = msgspec.msgpack.Decoder(tuple[bytes, dict[int, bytes]])


def pack_place(place: Location) -> bytes:
    """Return what the field of a minute says that lies there."""
    return _encoder.encode(place)


def unpack_place(stored: bytes | None) -> Location | None:
    """Return where a minute lies by what its field says; None where it says in how many pieces it is in the hash."""
    return None if not stored or stored.isdigit() else Location._make(_place_decoder.decode(stored))


def pack_minute(minute: MovedMinute) -> bytes:
    """Return the section of a minute."""
    return compress(_encoder.encode(minute))


def unpack_minute(section: bytes) -> MovedMinute:
    """Return what a section holds. Raises CorruptFrame."""
    try:
        return MovedMinute(*_decoder.decode(decompress(section)))
    except msgspec.MsgspecError as why:
        raise CorruptFrame(str(why)) from why
