"""Commands cut into pieces, sent one after the other: none makes Redis, or who reads its replies, stand still."""

from collections.abc import Iterable, Iterator
from typing import Any

Command = tuple[Any, ...]

# Parts of the commands of a piece: their replies take about as many microseconds of Redis, and thrice as many here.
PIECE_PARTS_MAX = 1_000
# Bytes of the commands of a piece: ids and refs in a filter may be long.
PIECE_BYTES_MAX = 256 * 2**10
# HMGET and its key.
_HEAD = 2


def pieces(commands: Iterable[Command]) -> Iterator[list[tuple[int, Command]]]:
    """Pieces of at least one command, each with the position of the command that it is, or is a part of.

    An HMGET of too many fields is cut into several; the values they reply, put together, are its own.
    """
    piece: list[tuple[int, Command]] = []
    parts = size_bytes = 0
    for position, command in enumerate(commands):
        for part in _cut(command):
            part_bytes = sum(len(word) for word in part if isinstance(word, (str, bytes)))
            if piece and (parts + len(part) > PIECE_PARTS_MAX or size_bytes + part_bytes > PIECE_BYTES_MAX):
                yield piece
                piece, parts, size_bytes = [], 0, 0
            piece.append((position, part))
            parts += len(part)
            size_bytes += part_bytes
    if piece:
        yield piece


def _cut(command: Command) -> Iterator[Command]:
    if len(command) <= PIECE_PARTS_MAX or command[0] != "HMGET":
        yield command
        return
    step = PIECE_PARTS_MAX - _HEAD
    for at in range(_HEAD, len(command), step):
        yield (*command[:_HEAD], *command[at : at + step])
