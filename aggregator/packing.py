"""Stored structures as MessagePack, with integers of any size: no limit on a number is worth a wrong sum.

MessagePack ends at 64 bits. A structure that holds a larger number is stored with such numbers as marked text.
"""

from typing import Any, Generic, TypeVar

import msgspec

_BIG = "\x00int:"

Structure = TypeVar("Structure")


class Packing(Generic[Structure]):
    """Packs and unpacks one type."""

    def __init__(self, kind: type[Structure]) -> None:
        self._kind = kind
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(kind)

    def pack(self, value: Structure) -> bytes:
        """The stored form."""
        try:
            return self._encoder.encode(value)
        except OverflowError:
            return self._encoder.encode(_mark(msgspec.to_builtins(value, builtin_types=(bytes,))))

    def unpack(self, packed: bytes) -> Structure:
        """Return what `pack` was given; raises msgspec.ValidationError for anything else."""
        try:
            return self._decoder.decode(packed)
        except msgspec.ValidationError:
            return msgspec.convert(_unmark(msgspec.msgpack.decode(packed, strict=False)), self._kind)


def _mark(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_mark(element) for element in value]
    if isinstance(value, dict):
        return {key: _mark(element) for key, element in value.items()}
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return f"{_BIG}{value}"
    if isinstance(value, str) and value.startswith("\0"):
        return "\0" + value  # no text is taken for a number
    return value


def _unmark(value: Any) -> Any:
    if isinstance(value, list):
        return [_unmark(element) for element in value]
    if isinstance(value, dict):
        return {key: _unmark(element) for key, element in value.items()}
    if isinstance(value, str) and value.startswith(_BIG):
        return int(value.removeprefix(_BIG))
    if isinstance(value, str) and value.startswith("\0"):
        return value[1:]
    return value
