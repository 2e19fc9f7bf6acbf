"""A response of server-sent events: answers as they come, signs of life between them, an end for who is too slow."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.query.stream_watches import StreamLimits, Update, Watcher
from api.refusals import Refusal, refusal_response

# What an `EventSource` waits before it asks again.
RETRY_MS = 2_000

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would keep events back otherwise
]
STREAM = "callmeter.stream"
"""In the scope of a request: whether its response has no end of its own."""
CUT_OFF = "callmeter.cut_off"
"""In the scope of a request: ends its connection at once, whatever has not been taken yet."""


def frame(update: Update) -> bytes:
    """An answer as an event. JSON has no line breaks of its own, so one line holds it."""
    as_of = f"id: {update.as_of}\n".encode() if update.as_of else b""
    return b"event: answer\n%bdata: %b\n\n" % (as_of, update.answer)


class EventStream(Response):
    """Sends the updates of a watcher until the client goes, is too slow, may not ask any more, or is refused.

    `may_go_on` is asked with each heartbeat, and raises what keeps it from knowing.
    """

    def __init__(
        self,
        watcher: Watcher,
        may_go_on: Callable[[], Awaitable[bool]],
        limits: StreamLimits,
    ) -> None:
        self._watcher = watcher
        self._may_go_on = may_go_on
        self._limits = limits
        self.background = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond, as ASGI has it."""
        scope[STREAM] = True
        streaming = asyncio.ensure_future(self._stream(send))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait([streaming, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watcher.leave()
            gone.cancel()
            streaming.cancel()
        with suppress(asyncio.CancelledError):
            try:
                await streaming
            except TimeoutError:
                scope.get(CUT_OFF, _nothing)()

    async def _stream(self, send: Send) -> None:
        """Raises TimeoutError where the client does not take what it is sent."""
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        await self._send(send, b"retry: %d\n\n" % RETRY_MS)
        loop = asyncio.get_running_loop()
        allowed_until_s = loop.time() + self._limits.heartbeat_s
        try:
            while True:
                update = await self._next()
                if loop.time() >= allowed_until_s:
                    if not await self._may_go_on():
                        break
                    allowed_until_s = loop.time() + self._limits.heartbeat_s
                await self._send(send, b": \n\n" if update is None else frame(update))
        except Refusal as refusal:
            await self._send(send, b"event: refused\ndata: %b\n\n" % bytes(refusal_response(refusal).body))
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _next(self) -> Update | None:
        """The next update; None where a sign of life is due before."""
        try:
            async with asyncio.timeout(self._limits.heartbeat_s):
                return await self._watcher.next()
        except TimeoutError:
            return None

    async def _send(self, send: Send, part: bytes) -> None:
        async with asyncio.timeout(self._limits.taken_s_max):
            await send({"type": "http.response.body", "body": part, "more_body": True})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _nothing() -> None:
    """Do nothing where no connection can be ended: there is none, as in tests without a server."""
