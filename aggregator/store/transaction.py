"""A transaction on one server, with commands of many and large parts.

They are packed here, each part once, and sent piece by piece while the server reads: packed by the client, which copies
all of it three times, a batch's took half as long again.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import redis

# Sent at once: the server reads a piece while the next one is packed.
PIECE_BYTES_MIN = 256 * 2**10

# What goes before a part of so many bytes: made once for those that come often.
_SIZES_MADE = 2_048
_SIZES = [b"$%d\r\n" % size for size in range(_SIZES_MADE)]

Part = str | bytes | int
Command = Sequence[Part]


class Overtaken(Exception):
    """The watched key was changed, and nothing was written."""


def send(
    client: redis.Redis,
    watched: str,
    check: Callable[[bytes | None], None],
    commands: Iterable[Command],
) -> Callable[[], None]:
    """Watch a key, let `check` raise where it holds what it should not, then send all commands, to be done together or
    not at all; what is returned waits for the answers, and is to be called once.

    Commands are taken one by one while they are sent. Both raise what redis-py raises, the latter also Overtaken.
    """
    connection: Any = client.connection_pool.get_connection()
    with _given_back_if_it_fails(client, connection):
        connection.send_packed_command([packed(("WATCH", watched)) + packed(("GET", watched))])
        connection.read_response()
        check(connection.read_response())
        queued = 0
        for piece, commands_in_it in _pieces(chain([("MULTI",)], commands, [("EXEC",)])):
            connection.send_packed_command([piece])
            queued += commands_in_it

    def finish() -> None:
        with _given_back_if_it_fails(client, connection):
            _read_answers(connection, queued - 1)
        client.connection_pool.release(connection)

    return finish


@contextmanager
def _given_back_if_it_fails(client: redis.Redis, connection: Any) -> Iterator[None]:
    """Close the connection after a failure: what it may still answer is nobody's any more, nor is what it watches."""
    try:
        yield
    except BaseException:
        connection.disconnect()
        client.connection_pool.release(connection)
        raise


def packed(command: Sequence[Part]) -> bytes:
    """A command as it is sent."""
    parts = [
        part if type(part) is bytes else b"%d" % part if type(part) is int else str(part).encode() for part in command
    ]
    pieces = [b"\r\n"] * (3 * len(parts))
    pieces[::3] = [_SIZES[size] if size < _SIZES_MADE else b"$%d\r\n" % size for size in map(len, parts)]
    pieces[1::3] = parts
    return b"*%d\r\n" % len(parts) + b"".join(pieces)


def _pieces(commands: Iterable[Command]) -> Iterator[tuple[bytes, int]]:
    """Yield what is sent at once, and how many commands that is."""
    pieces: list[bytes] = []
    size = 0
    for command in commands:
        piece = packed(command)
        pieces.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES_MIN:
            yield b"".join(pieces), len(pieces)
            pieces, size = [], 0
    yield b"".join(pieces), len(pieces)


def _read_answers(connection: Any, queued: int) -> None:
    """Read the answers to MULTI and to each command, so many in all, and that to EXEC."""
    refused: Exception | None = None
    for _ in range(queued):
        try:
            connection.read_response()
        except redis.ResponseError as why:  # EXEC then does nothing
            refused = refused or why
    try:
        answers = connection.read_response()
    except redis.exceptions.ExecAbortError as aborted:
        raise refused or aborted from None
    if answers is None:
        raise Overtaken
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
