"""Queries of Prometheus have an event loop of their own: whatever one works out, the others' goes on."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httpx
import pytest

from api.access.basic_auth import OpenAccess
from api.app import ApiSettings, make_app
from api.prometheus.query_loop import QueryLoop
from api.prometheus.store_numbers import NumbersOf
from api.refusals import Refusal
from tests.support.asking import FakeAnswers

WAIT_S_MAX = 60.0
QUERIES = "/prometheus/api/v1"


class BusyNumbers:
    """Numbers that keep the thread in which they are asked for until they are let go."""

    origin_us = 0

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()
        self.was_let_go = False

    async def known_projects(self, limit: int) -> list[str]:
        """Keep the thread, as long work does."""
        self.asked.set()
        self.was_let_go = self.let_go.wait(WAIT_S_MAX)
        return []

    async def project_ids(self, matchers: object) -> list[str]:
        """None is meant."""
        return []


def ask(numbers: object, questions: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    query_loop = QueryLoop()
    numbers_of = cast(NumbersOf, lambda *_: numbers)
    app = make_app(FakeAnswers(), OpenAccess(), ApiSettings(), numbers_of, query_loop)

    async def run() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://callmeter", timeout=None) as client:
            await questions(client)

    async def nothing() -> None:
        pass

    asyncio.run(run())
    query_loop.close(nothing)


def test_others_are_answered_while_a_query_works() -> None:
    """Health is answered while a list of projects keeps its thread."""
    numbers = BusyNumbers()

    async def questions(client: httpx.AsyncClient) -> None:
        listing = asyncio.ensure_future(client.get(f"{QUERIES}/label/project/values"))
        while not numbers.asked.is_set():
            await asyncio.sleep(0.001)
        assert (await client.get("/health")).status_code == 200
        numbers.let_go.set()
        assert (await listing).json() == {"status": "success", "data": []}

    ask(numbers, questions)
    assert numbers.was_let_go


def test_too_many_at_a_time_are_refused() -> None:
    """The last of more queries than may be in work is a 503 that says when to come again, and frees no place twice."""
    query_loop = QueryLoop(at_once_max=1, waiting_max=1)

    async def run() -> None:
        go_on = asyncio.Event()

        async def wait() -> None:
            while not go_on.is_set():
                await asyncio.sleep(0.001)

        first = [asyncio.ensure_future(query_loop.run(wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await query_loop.run(wait)
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "2"})
        go_on.set()
        await asyncio.gather(*first)
        await query_loop.run(wait)

    async def nothing() -> None:
        pass

    asyncio.run(run())
    query_loop.close(nothing)


@pytest.mark.parametrize(
    ("path", "parameters", "why"),
    [
        ("/query_range", {"query": "1", "start": "0", "end": "60", "step": "9" * 5_000 + "s"}, "duration"),
        ("/labels", {"limit": "1" * 5_000}, "number"),
        ("/labels", {"limit": "٣"}, "number"),
        ("/query", {"query": "+".join(["1"] * 4_000)}, "operators"),
        ("/query", {"query": "(" * 4_000 + "1" + ")" * 4_000}, "operators"),
        ("/query_exemplars", {"query": "-".join(["x"] * 4_000)}, "operators"),
        ("/series", {"match[]": "abs(" * 1_500 + "x" + ")" * 1_500}, "operators"),
    ],
)
def test_what_is_far_too_long_is_refused(path: str, parameters: dict[str, str], why: str) -> None:
    """A number of thousands of digits, and a query that takes seconds to read, are a 400 in Prometheus' form."""

    async def questions(client: httpx.AsyncClient) -> None:
        response = await client.post(QUERIES + path, data=parameters)
        assert response.status_code == 400
        body: Any = response.json()
        assert body["errorType"] == "bad_data"
        assert why in body["error"]

    ask(BusyNumbers(), questions)


def test_signs_in_strings_and_matchers_are_no_operators() -> None:
    """A list of names as a drop-down of several values writes it is no long query."""
    names = "|".join(f"op-{at}" for at in range(150))

    async def questions(client: httpx.AsyncClient) -> None:
        signs = '-(+\\"' * 300
        query = f'callmeter_calls_total{{op_name=~"{names}", wb_user_id!="", wb_run_id!="{signs}", root!=""}}'
        response = await client.get(f"{QUERIES}/query", params={"query": query})
        assert response.status_code == 200

    numbers = BusyNumbers()
    numbers.let_go.set()
    ask(numbers, questions)
