"""What is being worked out: who needs the same waits for it, instead of working it out beside the other.

Dashboards that come at once ask for windows that have nearly all of their buckets in common, and none of these is kept
as long as nobody has read it.
"""

import asyncio
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class UnderWay(Generic[Key]):
    """Which keys are being worked on. Nobody waits while others wait for him, so nobody waits in a circle.

    `waits`: whether it is of use to wait; else nobody does.
    """

    def __init__(self, waits: bool = True) -> None:
        self._waits = waits
        self._ending: dict[Key, asyncio.Future[None]] = {}

    async def wait(self, keys: Sequence[Key]) -> bool:
        """Wait until those that are being worked on are done, or were given up; returns whether there were any."""
        ending = {found for key in keys if (found := self._ending.get(key)) is not None} if self._waits else set()
        if ending:
            await asyncio.wait(ending)
        return bool(ending)

    @contextmanager
    def work(self, keys: Sequence[Key]) -> Iterator[None]:
        """Work on these keys, which others then wait for, but for those that another works on as well."""
        ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ours = [key for key in keys if self._ending.setdefault(key, ending) is ending]
        try:
            yield
        finally:
            for key in ours:
                del self._ending[key]
            ending.set_result(None)
