"""One client's connection, within limits of time, bytes and number: whoever is slow is cut off, others do not wait.

uvicorn parses and answers; it has no limit on how long a request may take to arrive or an answer to be taken.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.event_stream import CUT_OFF, STREAM

_SENTENCE = b'{"detail":"The URL and the headers are too long."}'
_HEAD_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
    b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(_SENTENCE), _SENTENCE)
)


class ConnectionLimits(msgspec.Struct, frozen=True):
    """What one client may cost, and all together."""

    # An idle connection costs about 20 KB and a file; a dashboard on every desk of a large firm has its own.
    connections_max: int = 10_000
    # URL and headers that are not complete after so many bytes; browsers send a few KB.
    head_bytes_max: int = 64 * 2**10
    # From connecting, or from a request's first byte, to the end of its headers.
    head_s_max: float = 10
    # An idle dashboard asks again within a minute; a connection kept longer is likely gone.
    idle_s_max: float = 75
    # An answer may come before the end of its body (413). What still comes of it is dropped for so long, so that the
    # client can finish, read the answer and ask again; then the connection is closed.
    discard_s_max: float = 5
    # Who takes less of an answer than this between two looks has stopped reading; 3 KB a second is a bad phone line.
    taken_look_s: float = 10
    taken_bytes_min: int = 32 * 2**10
    # Of answers that wait to be taken, over all clients; beyond, those that have been slow the longest are cut off.
    untaken_bytes_max: int = 256 * 2**20


class OpenConnections:
    """All connections of a server: who waits without a request in work, and who has not taken an answer yet."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        # Each in the order in which they began to be so; a dict, for an ordered set.
        self.waiting: dict[Connection, None] = {}
        self.untaken: dict[Connection, int] = {}
        self._untaken_bytes = 0

    def admit(self, new: "Connection", connections: int) -> None:
        """Take in a new one; beyond the limit the one that has waited longest leaves, or else the new one."""
        if connections > self.limits.connections_max:
            leaving = next(iter(self.waiting), new)
            self.waiting.pop(leaving, None)
            leaving.connections.discard(leaving)  # it counts no more, although its end is only noted a moment later
            leaving.transport.abort()
        if not new.transport.is_closing():
            self.waiting[new] = None

    def note_untaken(self, connection: "Connection", size_bytes: int) -> None:
        """How much of its answers a connection has not taken; beyond the limit who was slow first is cut off."""
        self._untaken_bytes += size_bytes - self.untaken.get(connection, 0)
        self.untaken[connection] = size_bytes
        while self._untaken_bytes > self.limits.untaken_bytes_max:
            slowest = next(iter(self.untaken))
            self.note_taken(slowest)
            slowest.transport.abort()

    def note_taken(self, connection: "Connection") -> None:
        """A connection has taken everything, or is gone."""
        self._untaken_bytes -= self.untaken.pop(connection, 0)


class _Receiving(Enum):
    """What of a request has begun to arrive and is not complete."""

    NOTHING = 0
    HEAD = 1
    BODY = 2


class Connection(HttpToolsProtocol):
    """Answers one request after the other, as uvicorn does, and ends a connection that goes beyond the limits."""

    def __init__(self, *, open_connections: OpenConnections, **of_server: Any) -> None:
        super().__init__(**of_server)
        self._crowd = open_connections
        self._limits = open_connections.limits
        self.timeout_keep_alive = open_connections.limits.idle_s_max  # type: ignore[assignment]  # a fraction will do
        self._receiving = _Receiving.HEAD
        self._head_bytes = 0
        self._deadline: asyncio.TimerHandle | None = None  # for what is being received
        self._look: asyncio.TimerHandle | None = None  # at how much of an answer has been taken

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._crowd.admit(self, len(self.connections))
        self._end_after(self._limits.head_s_max)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._crowd.waiting.pop(self, None)
        self._crowd.note_taken(self)
        self._unset_keepalive_if_required()
        for timer in (self._deadline, self._look):
            if timer is not None:
                timer.cancel()

    def data_received(self, data: bytes) -> None:
        if self._receiving is _Receiving.NOTHING and self._idle:
            self._begin_head()
        in_head = self._receiving is _Receiving.HEAD
        super().data_received(data)
        if self._receiving is _Receiving.HEAD and in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self._limits.head_bytes_max and not self.transport.is_closing():
                self.transport.write(_HEAD_TOO_LARGE)
                self.transport.close()
        if self._receiving is _Receiving.NOTHING and self._idle and self.timeout_keep_alive_task is None:
            self._keep_alive()  # what came was the rest of a body whose answer had gone out before

    def shutdown(self) -> None:
        super().shutdown()
        if self.cycle is not None and not self.cycle.response_complete and self.cycle.scope.get(STREAM):
            self.transport.close()  # what has no end is not waited for

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[CUT_OFF] = self.transport.abort  # type: ignore[literal-required]  # a key of ours
        if self._receiving is not _Receiving.HEAD:
            self._begin_head()

    def on_headers_complete(self) -> None:
        self._receiving = _Receiving.BODY
        self._head_bytes = 0
        self._end_after(None)  # the app has its own limit on how long it waits for the body
        self._crowd.waiting.pop(self, None)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._receiving = _Receiving.NOTHING
        self._end_after(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._receiving is _Receiving.BODY:
            self._end_after(self._limits.discard_s_max)
        if self._idle and not self.transport.is_closing():
            self._crowd.waiting[self] = None
        self._look_at_untaken()

    def timeout_keep_alive_handler(self) -> None:
        self._end()

    @property
    def _idle(self) -> bool:
        """Whether no request is in work."""
        return self.cycle is None or self.cycle.response_complete

    def _begin_head(self) -> None:
        self._receiving = _Receiving.HEAD
        self._head_bytes = 0
        self._end_after(self._limits.head_s_max)

    def _keep_alive(self) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def _end_after(self, wait_s: float | None) -> None:
        """End the connection unless what is being received is complete by then; None: no limit any more."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if wait_s is None else self.loop.call_later(wait_s, self._end)

    def _end(self) -> None:
        """Close in good order, or at once where the client does not take what was sent to it."""
        leave: Callable[[], None] = self.transport.close
        if self.transport.get_write_buffer_size():
            leave = self.transport.abort
        leave()

    def _look_at_untaken(self) -> None:
        """Looks now and then, from an answer's end on, whether the client takes it."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        size_bytes = self.transport.get_write_buffer_size()
        if size_bytes:
            self._crowd.note_untaken(self, size_bytes)
            self._look = self.loop.call_later(self._limits.taken_look_s, self._cut_off_or_look_again, size_bytes)
        else:
            self._crowd.note_taken(self)

    def _cut_off_or_look_again(self, before_bytes: int) -> None:
        if self.transport.get_write_buffer_size() > max(0, before_bytes - self._limits.taken_bytes_min):
            self.transport.abort()
        else:
            self._look_at_untaken()
