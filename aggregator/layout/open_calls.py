"""How the open calls of a trace are stored: the codec of one, for who writes and who reads them.

A trace's hash holds, by record number, the calls that are unfinished, or have an unfinished call below them; and the
parents that something of the trace waits for because they have not started in this shard. For example record 7, which
has no end yet and whose parent is record 3, under the field 7: `[3, <its packed id>]` as MessagePack,
`92 03 c4 11 01 …`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec


class OpenCall(NamedTuple):
    """One entry: the parent's record number, if any, and the call's own packed id if it has no end yet."""

    parent_number: int | None
    unfinished_id: bytes | None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(OpenCall)


def pack_open_call(entry: OpenCall) -> bytes:
    """An entry as it is stored."""
    return _encoder.encode(entry)


def unpack_open_calls(stored: Mapping[bytes, bytes]) -> dict[int, OpenCall]:
    """The open calls of a trace, by record number, from its stored hash."""
    return {int(number): _decoder.decode(entry) for number, entry in stored.items()}
