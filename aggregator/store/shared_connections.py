"""Connections to one Redis that all who ask share: commands go out as they come, replies come back in the same order.

The client of Redis connects, with all that it knows of TLS and passwords; from then on bytes are written and read here.
Its own pipelines take five times the processor time: each takes a connection out of a pool and looks at it, and each
reply is a coroutine with a timeout.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any

import hiredis
import redis

# Redis does one command after the other, whoever asks; more than one, so that a long reply to one holds up few others.
SHARED_MAX = 4

_NOT_ALL_HERE = object()


class CommandRefused(Exception):
    """Redis has answered a command with an error, of whatever kind."""


class SharedConnections:
    """Commands to a single server, over connections of a pool; who waits is told if nothing comes for so long (s)."""

    def __init__(self, pool: Any, answer_timeout_s: float) -> None:
        self._pool = pool
        self._answer_timeout_s = answer_timeout_s
        self._lines: list[_Line] = []
        self._opening = asyncio.Lock()
        self._failed: tuple[float, Exception] | None = None  # when that was begun which failed last

    async def exchange(self, packed: Sequence[bytes]) -> list[Any]:
        """Return the replies to these commands, each of which is packed.

        What fails on a connection that was there is tried on a new one: that finds a server that has just come back.
        Raises CommandRefused, and what the client raises where Redis cannot be reached.
        """
        begun_s = asyncio.get_running_loop().time()
        line = self._idlest() or await self._opened()
        try:
            return await line.exchange(packed)
        except (redis.ConnectionError, redis.TimeoutError):
            return await (await self._opened(begun_s)).exchange(packed)

    def _idlest(self, since_s: float = 0.0) -> "_Line | None":
        """Return the connection that has least to do, of those made since then; None: there is none, or room for more.

        Older ones that are open count too: else there would be more of them each time that one is lost.
        """
        there = [line for line in self._lines if line.is_open]
        idlest = min((line for line in there if line.made_s >= since_s), key=lambda line: line.waiting, default=None)
        return None if idlest and idlest.waiting and len(there) < SHARED_MAX else idlest

    async def _opened(self, since_s: float = 0.0) -> "_Line":
        """Return a connection, of those made since then, that others may have made meanwhile, or a new one.

        One is made after the other; of what has failed since they came, all who wait hear at once: a server that does
        not even refuse takes seconds each time.
        """
        came_s = asyncio.get_running_loop().time()
        async with self._opening:
            if line := self._idlest(since_s):
                return line
            begun_s = asyncio.get_running_loop().time()
            if self._failed is not None and self._failed[0] >= came_s:
                raise self._failed[1].with_traceback(None)
            for lost in [line for line in self._lines if not line.is_open]:
                self._lines.remove(lost)
                await lost.connection.disconnect(nowait=True)
                await asyncio.shield(self._pool.release(lost.connection))  # whoever leaves meanwhile
            try:
                line = _Line(await self._pool.get_connection(), self._answer_timeout_s)
            except Exception as why:
                self._failed = begun_s, why
                raise
            self._lines.append(line)
            return line


class _Asked:
    """Commands that were sent together, and their replies so far."""

    __slots__ = ("count", "done", "is_refused", "replies", "sent_s")

    def __init__(self, loop: asyncio.AbstractEventLoop, count: int) -> None:
        self.count = count
        self.replies: list[Any] = []
        self.is_refused = False
        self.sent_s = loop.time()
        self.done: asyncio.Future[list[Any]] = loop.create_future()


class _Line(asyncio.Protocol):
    """A connection, taken over from the client once it is made."""

    def __init__(self, connection: Any, answer_timeout_s: float) -> None:
        self.connection = connection
        self._answer_timeout_s = answer_timeout_s
        self.is_open = True
        self._loop = asyncio.get_running_loop()
        self.made_s = self._heard_s = self._loop.time()
        self._note_round_trip = getattr(connection, "note_round_trip", None)
        self._parser = hiredis.Reader(notEnoughData=_NOT_ALL_HERE)
        self._asked: deque[_Asked] = deque()
        self._look_later: asyncio.TimerHandle | None = None
        self._failure: Exception = redis.ConnectionError("Redis has closed the connection")
        self._transport = connection._writer.transport
        self._before = self._transport.get_protocol()
        self._transport.set_protocol(self)

    @property
    def waiting(self) -> int:
        """How many wait for replies."""
        return len(self._asked)

    def exchange(self, packed: Sequence[bytes]) -> "asyncio.Future[list[Any]]":
        """Send commands; the result is their replies. It may be cancelled: what is replied is then nobody's."""
        asked = _Asked(self._loop, len(packed))
        if not self.is_open or self._transport.is_closing():
            self.is_open = False
            asked.done.set_exception(self._failure)
            return asked.done
        self._asked.append(asked)
        if self._note_round_trip is not None:
            self._note_round_trip()
        self._transport.write(b"".join(packed))
        if self._look_later is None:
            self._look_later = self._loop.call_later(self._answer_timeout_s, self._look)
        return asked.done

    def data_received(self, data: bytes) -> None:
        """Give what has come to who has asked for it."""
        self._heard_s = self._loop.time()
        self._parser.feed(data)
        try:
            while (reply := self._parser.gets()) is not _NOT_ALL_HERE:
                if not isinstance(reply, hiredis.PushNotification):
                    self._take(reply)
        except (hiredis.ProtocolError, IndexError) as why:  # what is no reply, or to nothing that was asked
            self._failure = redis.InvalidResponse(f"Redis sent what is no reply: {why}")
            self._transport.abort()

    def _take(self, reply: Any) -> None:
        asked = self._asked[0]
        asked.replies.append(reply)
        asked.is_refused |= isinstance(reply, hiredis.ReplyError)
        if len(asked.replies) < asked.count:
            return
        self._asked.popleft()
        if asked.done.done():
            return
        if asked.is_refused:
            asked.done.set_exception(CommandRefused())
        else:
            asked.done.set_result(asked.replies)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all who wait."""
        self.is_open = False
        if self._look_later is not None:
            self._look_later.cancel()
        for asked in self._asked:
            if not asked.done.done():
                asked.done.set_exception(self._failure)
        self._asked.clear()
        self._before.connection_lost(exc)  # whom the client waits for when it closes the connection

    def _look(self) -> None:
        """Give the connection up where somebody waits and nothing has come for too long."""
        self._look_later = None
        if not self._asked:
            return
        left_s = max(self._asked[0].sent_s, self._heard_s) + self._answer_timeout_s - self._loop.time()
        if left_s > 0:
            self._look_later = self._loop.call_later(left_s, self._look)
        else:
            self._failure = redis.TimeoutError(f"Redis has not answered for {self._answer_timeout_s} s")
            self._transport.abort()
