"""An event loop of its own, in a thread, for Prometheus queries: what they work out does not hold that of the others.

A query may work for seconds on numbers, labels and JSON, step after step. There is one loop for all of them, so that
they share one processor's time; whatever they wait with (connections to Redis) belongs to this loop and to no other.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from api.refusals import Refusal

T = TypeVar("T")

# Queries that hold numbers at the same time, some 100 MB each at most; the others wait without.
AT_ONCE_MAX = 4
# In line; a board of Grafana sends some twenty.
WAITING_MAX = 200
RETRY_AFTER_S = 2


class QueryLoop:
    """Runs what it is given in its thread, which starts with the first of them."""

    def __init__(self, at_once_max: int = AT_ONCE_MAX, waiting_max: int = WAITING_MAX) -> None:
        self._at_once_max = at_once_max
        self._places_left = at_once_max + waiting_max
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._turns: asyncio.Semaphore | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what the coroutine made in the thread gives; it is given up where nobody waits for it any more.

        Raises what it raises, and Refusal (503) where too many wait.
        """
        if not self._places_left:
            headers = {"Retry-After": str(RETRY_AFTER_S)}
            raise Refusal(503, (), "too many Prometheus queries are in work", "busy", headers=headers)
        self._places_left -= 1
        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._in_turn(work), self._started()))
        finally:
            self._places_left += 1

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """End the thread, after a last piece of work; nothing may be under way."""
        loop = self._started()
        asyncio.run_coroutine_threadsafe(last(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        assert self._thread is not None
        self._thread.join()
        loop.close()
        self._loop = None

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._turns = asyncio.Semaphore(self._at_once_max)
            # It ends with the process, whatever is under way.
            self._thread = threading.Thread(target=self._loop.run_forever, name="prometheus", daemon=True)
            self._thread.start()
        return self._loop

    async def _in_turn(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        assert self._turns is not None
        async with self._turns:
            return await work()
