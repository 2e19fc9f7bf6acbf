"""Commands cut into pieces, sent one after the other: none makes Redis, or who reads its replies, stand still."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import hiredis

Command = tuple[Any, ...]

# Parts of the commands of a piece: their replies take about as many microseconds of Redis, and thrice as many here.
PIECE_PARTS_MAX = 1_000
# Bytes of the commands of a piece: ids and refs in a filter may be long.
PIECE_BYTES_MAX = 256 * 2**10
# HMGET and its key.
_HEAD = 2


class Piece(NamedTuple):
    """Commands, packed and as they are, each with the position of the command that it is, or is a part of."""

    positions: list[int]
    commands: list[Command]
    packed: list[bytes]


def pieces(commands: Iterable[Command]) -> Iterator[Piece]:
    """Pieces of at least one command.

    An HMGET of too many fields is cut into several; the values they reply, put together, are its own.
    """
    piece = Piece([], [], [])
    parts = size_bytes = 0
    for position, command in enumerate(commands):
        for part in (command,) if len(command) <= PIECE_PARTS_MAX else _cut(command):
            packed = hiredis.pack_command(part)
            if piece.packed and (parts + len(part) > PIECE_PARTS_MAX or size_bytes + len(packed) > PIECE_BYTES_MAX):
                yield piece
                piece, parts, size_bytes = Piece([], [], []), 0, 0
            piece.positions.append(position)
            piece.commands.append(part)
            piece.packed.append(packed)
            parts += len(part)
            size_bytes += len(packed)
    if piece.packed:
        yield piece


def _cut(command: Command) -> Iterator[Command]:
    if command[0] != "HMGET":
        yield command
        return
    step = PIECE_PARTS_MAX - _HEAD
    for at in range(_HEAD, len(command), step):
        yield (*command[:_HEAD], *command[at : at + step])
