"""The HTTP app: statuses, headers and bodies, with answers that only remember what was asked."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from starlette.types import Message, Receive

from aggregator.layout.keys import ShardName
from api.access.basic_auth import OpenAccess
from api.app import ApiSettings, make_app
from api.contract.breakdown_request import CallBreakdownRes
from api.contract.docs_examples import EXAMPLES
from api.contract.docs_page import docs_page
from api.contract.examples_request import CallExamplesRes
from api.contract.openapi import openapi_document
from api.contract.stats_request import CallStatsRes, read_stats_question
from api.contract.usage_request import CallsUsageRes, read_usage_question
from api.headers import Freshness
from api.http.body import BodyLimits
from api.query.questions import StatsQuestion, UsageQuestion
from api.refusals import Refusal, StoreAway
from tests.support.asking import NOW_US, STATS_ANSWER, USAGE_ANSWER, FakeAnswers, app_of, ask, refused

STATS = {"project_id": "p", "start": "2026-03-01T00:00:00Z"}
USAGE = {"project_id": "p", "call_ids": ["a"]}
ANSWERS: dict[str, type[BaseModel]] = {
    "/calls/stats": CallStatsRes,
    "/calls/usage": CallsUsageRes,
    "/calls/breakdown": CallBreakdownRes,
    "/calls/examples": CallExamplesRes,
}
ANSWERED_ONLY_OF_MODELS = {"calls_without_model"}
ENDPOINTS = [("/calls/stats", STATS), ("/calls/usage", USAGE)]


def test_answers_pass_through() -> None:
    """Both endpoints answer with the bytes of Answers, asked with what the request says and one now."""
    answers = FakeAnswers()
    app = app_of(answers)
    assert ask(app, "POST", "/calls/stats", json=STATS).content == STATS_ANSWER
    response = ask(app, "POST", "/calls/usage", json=USAGE)
    assert (response.status_code, response.content) == (200, USAGE_ANSWER)
    assert response.headers["content-type"] == "application/json"
    assert answers.now_us == NOW_US
    assert answers.asked == [
        read_stats_question(json.dumps(STATS).encode(), NOW_US),
        read_usage_question(json.dumps(USAGE).encode()),
    ]


@pytest.mark.parametrize(
    ("freshness", "as_of", "lag"),
    [
        (Freshness(1_772_323_200_000_001, 1.25), "2026-03-01T00:00:00.000001Z", "1.250"),
        (Freshness(1_772_323_200_000_000, -3.0), "2026-03-01T00:00:00Z", "0.000"),
        (Freshness(None, None), None, None),
    ],
)
@pytest.mark.parametrize(("path", "request_"), ENDPOINTS)
def test_freshness(
    path: str, request_: dict[str, Any], freshness: Freshness, as_of: str | None, lag: str | None
) -> None:
    """Every answer says how fresh it is; before the first event there is nothing to say."""
    headers = ask(app_of(FakeAnswers(freshness)), "POST", path, json=request_).headers
    assert (headers.get("x-data-as-of"), headers.get("x-data-lag-seconds")) == (as_of, lag)


@pytest.mark.parametrize(("path", "request_"), ENDPOINTS)
def test_refusals(path: str, request_: dict[str, Any]) -> None:
    """A mistake in the request, found before or while answering, is a 422 in FastAPI's shape."""
    assert refused(ask(app_of(), "POST", path, json=request_ | {"surprise": 1})) == (422, ["body", "surprise"])
    assert refused(ask(app_of(), "POST", path, content=b"{"))[1][0] == "body"
    too_old = Refusal(422, ("body", "filter"), "Call records reach back to 2026-01-01.", "retention")
    response = ask(app_of(FakeAnswers(trouble=too_old)), "POST", path, json=request_)
    assert response.json() == {"detail": [{"loc": ["body", "filter"], "msg": str(too_old), "type": "retention"}]}


@pytest.mark.parametrize(("path", "request_"), ENDPOINTS)
def test_store_away(path: str, request_: dict[str, Any]) -> None:
    """The answer is 503 with Retry-After while Redis is away, and the next request is answered again."""
    answers = FakeAnswers(trouble=StoreAway("connection refused"))
    response = ask(app_of(answers), "POST", path, json=request_)
    assert (response.status_code, response.headers["retry-after"]) == (503, "2")
    assert "connection refused" not in response.text
    answers.trouble = None
    assert ask(app_of(answers), "POST", path, json=request_).status_code == 200


@pytest.mark.parametrize(("path", "request_"), ENDPOINTS)
def test_own_mistakes(path: str, request_: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """A mistake of ours is a 500 that tells nothing, and is logged once with its traceback."""
    response = ask(app_of(FakeAnswers(trouble=ZeroDivisionError("secret"))), "POST", path, json=request_)
    assert (response.status_code, list(response.json())) == (500, ["detail"])
    assert "secret" not in response.text
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert errors[0].exc_info is not None


def test_probes() -> None:
    """/health answers while the process lives; /ready only while Redis can."""
    answers = FakeAnswers()
    app = app_of(answers)
    assert ask(app, "GET", "/ready").json() == {"status": "ok"}
    answers.trouble = StoreAway("gone")
    assert ask(app, "GET", "/ready").status_code == 503
    assert ask(app, "GET", "/health").json() == {"status": "ok"}


def test_not_ready_where_no_worker_folds() -> None:
    """/ready says no once all partitions are behind, and which; with some of them ahead it only names the others."""
    answers = FakeAnswers()
    app = app_of(answers)
    behind = (ShardName("callmeter", "calls", 0), NOW_US - 121_000_000)
    unknown = (ShardName("callmeter", "calls", 2), None)
    answers.shards = [unknown]
    assert ask(app, "GET", "/ready").json() == {"status": "ok"}
    answers.shards = [behind, unknown]
    response = ask(app, "GET", "/ready")
    [named] = response.json()["stale"]
    assert (response.status_code, named["shard"], named["seconds_behind"]) == (503, "calls/0", 121)
    assert "all 1 partitions are more than 120 s behind" in response.json()["why"]
    answers.shards = [(ShardName("callmeter", "calls", 1), NOW_US - 120_000_000), behind]
    response = ask(app, "GET", "/ready")
    assert (response.status_code, response.json()["status"]) == (200, "ok")
    assert [one["shard"] for one in response.json()["stale"]] == ["calls/0"]


def test_wrong_paths_and_methods() -> None:
    """A path that is not there and a method that cannot be used are refused in JSON."""
    missing = ask(app_of(), "POST", "/calls/stats/", json=STATS)
    assert (missing.status_code, missing.json()) == (404, {"detail": "Not Found"})
    wrong = ask(app_of(), "GET", "/calls/stats")
    assert (wrong.status_code, wrong.json(), wrong.headers["allow"]) == (405, {"detail": "Method Not Allowed"}, "POST")


def test_openapi_is_served() -> None:
    """/openapi.json is the document."""
    assert ask(app_of(), "GET", "/openapi.json").json() == openapi_document()


def padded(size: int) -> bytes:
    """A good request of this many bytes."""
    return json.dumps(USAGE).encode().ljust(size)


def test_body_limit() -> None:
    """1 MiB is read, one byte more is not, whether the length is announced or only found out."""

    async def chunks(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    for size, status in ((2**20, 200), (2**20 + 1, 413)):
        assert ask(app_of(), "POST", "/calls/usage", content=padded(size)).status_code == status
        assert ask(app_of(), "POST", "/calls/usage", content=chunks(padded(size))).status_code == status


def test_announced_length_is_refused_unread() -> None:
    """A length that is too large is refused before a byte of the body is taken, however many digits it has."""

    async def no_body() -> Message:
        raise AssertionError("the body was read")

    for length in (b"1048577", b"9" * 6_000):
        assert asyncio.run(_status_of(no_body, [(b"content-length", length)], ApiSettings())) == 413


@pytest.mark.parametrize(("path", "request_"), ENDPOINTS)
def test_room_for_questions(path: str, request_: dict[str, Any]) -> None:
    """Questions are answered at once up to the limit; one more is told to come back, and later has room."""

    class SlowAnswers(FakeAnswers):
        def __init__(self) -> None:
            super().__init__()
            self.go_on, self.begun = asyncio.Event(), 0

        async def stats(self, question: StatsQuestion, now_us: int) -> tuple[bytes, Freshness]:
            self.begun += 1
            await self.go_on.wait()
            return await super().stats(question, now_us)

        async def usage(self, question: UsageQuestion) -> tuple[bytes, Freshness]:
            self.begun += 1
            await self.go_on.wait()
            return await super().usage(question)

    async def run() -> None:
        answers = SlowAnswers()
        app = make_app(answers, OpenAccess(), ApiSettings(clock=lambda: NOW_US, answers_max=2))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://callmeter") as client:
            slow = [asyncio.create_task(client.post(path, json=request_)) for _ in range(2)]
            while answers.begun < 2:
                await asyncio.sleep(0)
            refused = await client.post(path, json=request_)
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            answers.go_on.set()
            assert [(await one).status_code for one in slow] == [200, 200]
            assert (await client.post(path, json=request_)).status_code == 200

    asyncio.run(run())


def test_slow_bodies() -> None:
    """A body that does not come is waited for no longer than the limit."""

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    assert asyncio.run(_status_of(never, [], ApiSettings(body=BodyLimits(wait_s_max=0.01)))) == 408


def test_clients_that_go_away(caplog: pytest.LogCaptureFixture) -> None:
    """A client that goes away while it sends is nobody's mistake: no error is logged."""

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    assert asyncio.run(_status_of(gone, [], ApiSettings())) == 400
    assert not caplog.records


def test_docs_page() -> None:
    """The page needs nothing from elsewhere, and shows requests that are understood and answers of the schema."""
    page = ask(app_of(), "GET", "/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"<script|<link|src=|@import|url\(|https?://(?!127\.0\.0\.1)", page.text)
    assert set(re.findall(r'href="#(\w+)"', page.text)) == set(re.findall(r'id="(\w+)"', page.text))
    shown = unescape(re.sub(r"</?span>", "", docs_page()))
    sent = re.findall(r"\$CALLMETER(\S+)\" -d '(.*?)'</pre>", shown, re.DOTALL)
    assert [path for path, _ in sent] == [example.path for example in EXAMPLES]
    for (path, body), example in zip(sent, EXAMPLES, strict=True):
        assert json.loads(body) == example.request
        assert ask(app_of(), "POST", path, content=body).status_code == 200
        model = ANSWERS[path]
        assert set(example.answer) == set(model.model_fields) - ANSWERED_ONLY_OF_MODELS
        model.model_validate(example.answer)


async def _status_of(receive: Receive, headers: list[tuple[bytes, bytes]], settings: ApiSettings) -> int:
    """The status of a POST whose body comes from `receive`."""
    app = make_app(FakeAnswers(), OpenAccess(), settings)
    statuses: list[int] = []

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "POST", "path": "/calls/usage", "headers": headers, "query_string": b""}
    await app(scope, receive, send)
    return statuses[0]
