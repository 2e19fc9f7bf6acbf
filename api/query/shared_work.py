"""Equal questions that come at once are answered once: what dashboards on many screens ask costs as much as on one.

No one is given an answer that was begun before the question came: who comes while one is worked out waits for the next,
which is then for all who wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class _Shared(Generic[Result]):
    """Work that is to begin, or has begun. `now_us`: the latest of those who asked for it; `askers`: how many wait."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us
        self.askers = 0
        self.task: asyncio.Task[Result]


class SharedWork(Generic[Key, Result]):
    """Work by key: at any time at most one is at work, and one waits to begin. What nobody waits for is given up."""

    def __init__(self) -> None:
        self._working: dict[Key, asyncio.Task[Result]] = {}
        self._waiting: dict[Key, _Shared[Result]] = {}

    async def run(self, key: Key, now_us: int, work: Callable[[int], Awaitable[Result]]) -> Result:
        """Return or raise what `work` does, begun after this call; it is told the latest `now_us` of all it is for."""
        shared = self._waiting.get(key)
        if shared is None:
            shared = self._waiting[key] = _Shared(now_us)
            shared.task = asyncio.ensure_future(self._in_turn(key, shared, work))
        shared.now_us = max(shared.now_us, now_us)
        shared.askers += 1
        try:
            # One who leaves does not take the answer from the others.
            return await asyncio.shield(shared.task)
        finally:
            shared.askers -= 1
            if not shared.askers and not shared.task.done():
                if self._waiting.get(key) is shared:
                    del self._waiting[key]
                shared.task.cancel()

    async def _in_turn(self, key: Key, shared: _Shared[Result], work: Callable[[int], Awaitable[Result]]) -> Result:
        before = self._working.get(key)
        if before is not None:
            await asyncio.wait([before])
        del self._waiting[key]
        self._working[key] = shared.task
        try:
            return await work(shared.now_us)
        finally:
            if self._working[key] is shared.task:
                del self._working[key]
