"""A question that is watched, and the marks of projects, both told what to say."""

import asyncio
from collections.abc import Iterable, Mapping

from api.headers import Freshness
from api.query.change_notices import ChangeNotices, Mark
from api.query.stream_watches import StreamLimits

SOON_S = 0.01
SOON = StreamLimits(SOON_S)
T_US = 1_780_000_000_000_000


class Question:
    """Answers what it is told to; counts how often it was asked, and notes when (by the loop's clock)."""

    def __init__(self) -> None:
        self.body = b"[1]"
        self.trouble: Exception | None = None
        self.asked = 0
        self.asked_s: list[float] = []
        self.as_of_us = T_US

    async def ask(self) -> tuple[bytes, Freshness]:
        self.asked += 1
        self.asked_s.append(asyncio.get_running_loop().time())
        if self.trouble is not None:
            raise self.trouble
        return b'{"start":"%d","rows":%b,"end":"x"}' % (self.asked, self.body), Freshness(self.as_of_us, 0)


def quiet() -> ChangeNotices:
    """Returns notices of projects in which nothing happens."""
    return ChangeNotices(Marks().look, SOON_S)


class Marks:
    """The marks of all projects, told to be others; counts how often they were looked at."""

    def __init__(self) -> None:
        self.mark = 1
        self.looked = 0
        self.trouble: Exception | None = None

    async def look(self, project_ids: Iterable[str]) -> Mapping[str, Mark]:
        self.looked += 1
        if self.trouble is not None:
            raise self.trouble
        return dict.fromkeys(project_ids, self.mark)
