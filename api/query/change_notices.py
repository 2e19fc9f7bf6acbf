"""Notices soon that something of a project has been applied, for who would else ask each second: one look for all.

While anybody follows a project, the marks of all that are followed are looked at some times a second, together. A mark
says nothing but that it is another than before.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress

from api.refusals import StoreAway

log = logging.getLogger(__name__)

# How long what was applied may stay unnoticed. A look is one round trip, and some 10 µs for each partition.
LOOK_INTERVAL_S = 0.1

Mark = object
"""What is equal as long as nothing of a project is applied; None: not known yet."""
Look = Callable[[Iterable[str]], Awaitable[Mapping[str, Mark]]]


class ChangeNotices:
    """The projects that are followed, and their marks. `look` reads marks by project; raises StoreAway."""

    def __init__(self, look: Look, interval_s: float = LOOK_INTERVAL_S) -> None:
        self._look = look
        self._interval_s = interval_s
        self._followers: Counter[str] = Counter()
        self._marks: dict[str, Mark] = {}
        self._waiting: dict[str, set[asyncio.Future[None]]] = {}
        self._looking: asyncio.Task[None] | None = None

    def follow(self, project_id: str) -> None:
        """Look at this project until `leave` was called as often."""
        self._followers[project_id] += 1
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look_again())

    def leave(self, project_id: str) -> None:
        """One less follows this project."""
        self._followers[project_id] -= 1
        if not self._followers[project_id]:
            del self._followers[project_id]
            self._marks.pop(project_id, None)
        if not self._followers and self._looking is not None:
            self._looking.cancel()
            self._looking = None

    def mark(self, project_id: str) -> Mark:
        """The mark of a project when it was last looked at."""
        return self._marks.get(project_id)

    async def other_than(self, project_id: str, mark: Mark, wait_s: float) -> None:
        """Return when the project's mark is another one, or when so many seconds are over."""
        known = self._marks.get(project_id)
        if wait_s <= 0 or (mark is not None and known not in (None, mark)):
            return
        told = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(project_id, set()).add(told)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await told
        finally:
            waiting = self._waiting[project_id]
            waiting.discard(told)
            if not waiting:
                del self._waiting[project_id]

    async def _look_again(self) -> None:
        while True:
            try:
                for project_id, mark in (await self._look(list(self._followers))).items():
                    self._note(project_id, mark)
            except StoreAway:
                pass  # who asks is told so
            except Exception:
                log.exception("whether something has changed is not known")
            await asyncio.sleep(self._interval_s)

    def _note(self, project_id: str, mark: Mark) -> None:
        if project_id not in self._followers:
            return
        before = self._marks.get(project_id)
        self._marks[project_id] = mark
        if before not in (None, mark):
            for told in self._waiting.get(project_id, ()):
                if not told.done():
                    told.set_result(None)
