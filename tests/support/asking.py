"""The HTTP app without what is behind it: answers that only remember what was asked, and a way to ask."""

import asyncio
from collections.abc import Iterable
from typing import Any

import httpx
from starlette.applications import Starlette

from aggregator.layout.keys import ShardName
from api.access.basic_auth import Access, OpenAccess
from api.app import ApiSettings, make_app
from api.headers import Freshness
from api.query.breakdown_question import BreakdownQuestion
from api.query.examples_question import ExamplesQuestion
from api.query.projects_answer import ProjectsQuestion
from api.query.questions import StatsQuestion, TraceUsageQuestion, UsageQuestion
from api.query.values_answer import ValuesQuestion

Question = (
    StatsQuestion
    | UsageQuestion
    | TraceUsageQuestion
    | BreakdownQuestion
    | ProjectsQuestion
    | ValuesQuestion
    | ExamplesQuestion
)

NOW_US = 1_780_000_000_000_000  # 2026-05-28T20:26:40Z
STATS_ANSWER = (
    b'{"start":"2026-03-01T00:00:00Z","end":"2026-03-02T00:00:00Z","granularity":300,"timezone":"UTC",'
    b'"usage_buckets":[],"call_buckets":[]}'
)
BREAKDOWN_ANSWER = (
    b'{"start":"2026-03-01T00:00:00Z","end":"2026-03-02T00:00:00Z","dimension":"op_name","order_by":"count",'
    b'"rows":[],"rest":null,"total":{"count":0}}'
)
EXAMPLES_ANSWER = (
    b'{"start":"2026-03-01T00:00:00Z","end":"2026-03-02T00:00:00Z","kind":"newest","calls":[],"complete":true}'
)
VALUES_ANSWER = (
    b'{"start":"2026-03-01T00:00:00Z","end":"2026-03-02T00:00:00Z","dimension":"op_name","values":[],"more":false}'
)
PROJECTS_ANSWER = b'{"projects":[],"more":false}'
USAGE_ANSWER = b'{"call_usage":{},"unfinished_call_ids":[]}'


class FakeAnswers:
    """Answers every question with the same bytes, or raises `trouble`."""

    def __init__(self, freshness: Freshness | None = None, trouble: Exception | None = None) -> None:
        self.freshness = freshness or Freshness(None, None)
        self.trouble = trouble
        self.asked: list[Question] = []
        self.now_us: int | None = None
        self.shards: list[tuple[ShardName, int | None]] = []

    async def stats(self, question: StatsQuestion, now_us: int) -> tuple[bytes, Freshness]:
        self.now_us = now_us
        return self._answer(question, STATS_ANSWER)

    async def usage(self, question: UsageQuestion) -> tuple[bytes, Freshness]:
        return self._answer(question, USAGE_ANSWER)

    async def trace_usage(self, question: TraceUsageQuestion, now_us: int) -> tuple[bytes, Freshness]:
        self.now_us = now_us
        return self._answer(question, USAGE_ANSWER)

    async def breakdown(self, question: BreakdownQuestion, now_us: int) -> tuple[bytes, Freshness]:
        self.now_us = now_us
        return self._answer(question, BREAKDOWN_ANSWER)

    async def examples(self, question: ExamplesQuestion, now_us: int) -> tuple[bytes, Freshness]:
        self.now_us = now_us
        return self._answer(question, EXAMPLES_ANSWER)

    async def values(self, question: ValuesQuestion, now_us: int) -> tuple[bytes, Freshness]:
        self.now_us = now_us
        return self._answer(question, VALUES_ANSWER)

    async def projects(self, question: ProjectsQuestion) -> bytes:
        return self._answer(question, PROJECTS_ANSWER)[0]

    async def marks(self, project_ids: Iterable[str]) -> dict[str, object]:
        return dict.fromkeys(project_ids, b"1")

    async def shards_as_of(self) -> list[tuple[ShardName, int | None]]:
        if self.trouble:
            raise self.trouble
        return self.shards

    def _answer(self, question: Question, body: bytes) -> tuple[bytes, Freshness]:
        if self.trouble:
            raise self.trouble
        self.asked.append(question)
        return body, self.freshness


def fixed_settings() -> ApiSettings:
    """Settings with a clock that stands still."""
    return ApiSettings(clock=lambda: NOW_US, stale_s_max=120)


def app_of(answers: FakeAnswers | None = None, access: Access | None = None) -> Starlette:
    """An app; without arguments one that lets everyone in."""
    return make_app(answers or FakeAnswers(), access or OpenAccess(), fixed_settings())


def ask(app: Starlette, method: str, path: str, **request: Any) -> httpx.Response:
    """Sends one request to the app, without a server between."""

    async def send() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://callmeter") as client:
            return await client.request(method, path, **request)

    return asyncio.run(send())


def refused(response: httpx.Response) -> tuple[int, list[str | int]]:
    """The status and the `loc` of the first problem."""
    return response.status_code, response.json()["detail"][0]["loc"]
