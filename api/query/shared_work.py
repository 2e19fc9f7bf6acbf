"""Equal questions that come at once are answered once: what dashboards on many screens ask costs as much as on one.

No one is given an answer that was begun before the question came: who comes while one is worked out waits for the next,
which is then for all who wait.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class _Turn(Generic[Result]):
    """Work that is to begin, or has begun. `now_us`: the latest of those who asked for it."""

    def __init__(self, now_us: int) -> None:
        self.now_us = now_us
        self.task: asyncio.Task[Result]


class SharedWork(Generic[Key, Result]):
    """Work by key: at any time at most one is at work, and one waits to begin."""

    def __init__(self) -> None:
        self._working: dict[Key, asyncio.Task[Result]] = {}
        self._waiting: dict[Key, _Turn[Result]] = {}

    async def run(self, key: Key, now_us: int, work: Callable[[int], Awaitable[Result]]) -> Result:
        """What `work` returns or raises, begun after this call; it is told the latest `now_us` of all it is for."""
        turn = self._waiting.get(key)
        if turn is None:
            turn = self._waiting[key] = _Turn(now_us)
            turn.task = asyncio.ensure_future(self._in_turn(key, turn, work))
        turn.now_us = max(turn.now_us, now_us)
        # One who leaves does not take the answer from the others.
        return await asyncio.shield(turn.task)

    async def _in_turn(self, key: Key, turn: _Turn[Result], work: Callable[[int], Awaitable[Result]]) -> Result:
        before = self._working.get(key)
        if before is not None:
            await asyncio.wait([before])
        del self._waiting[key]
        self._working[key] = turn.task
        try:
            return await work(turn.now_us)
        finally:
            if self._working[key] is turn.task:
                del self._working[key]
