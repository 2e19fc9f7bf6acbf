"""Single calls of a window: found by reading the calls of few minutes, however long the window is; links to them."""

import asyncio
import json
from typing import Any

import pytest
import redis
import redis.asyncio

from aggregator.calls.packed_id import unpack_id
from aggregator.reading.ranked_calls import RankingLimits
from aggregator.rollups.orders import Order
from aggregator.store.reader import StoreReader
from aggregator.time_units import DAY_US, MINUTE_US
from api.query.examples_answer import answer_examples, link_by, no_link, rank_examples
from api.query.examples_question import ExamplesQuestion
from api.query.questions import CallFilter
from tests.support.folding import KEEP_ALL, PROJECT, T0_US, apply, complete, end, open_shard, start, tokens

HOURS = 30
PER_MINUTE = 5
# Those of hours are as slow as their number; the one minute of these has all of the slowest.
SLOW_MINUTE = 17 * 60 + 31


class CountingReader(StoreReader):
    """Counts what it fetches."""

    def __init__(self, client: Any) -> None:
        super().__init__(client, "callmeter")
        self.calls_read = self.round_trips = 0

    async def fetch(self, commands: Any) -> list[Any]:
        self.round_trips += 1
        self.calls_read += sum(len(command) - 3 for command in commands if ":calls:" in str(command[1]))
        return await super().fetch(commands)


def examples(redis_url: str, order: Order, limit: int, op_name: str = "op") -> tuple[list[str], CountingReader]:
    """Ids of the first calls in all that there is, and what was read for them."""

    async def run() -> tuple[list[str], CountingReader]:
        client = redis.asyncio.Redis.from_url(redis_url)
        reader = CountingReader(client)
        question = ExamplesQuestion(PROJECT, T0_US, T0_US + 30 * DAY_US, CallFilter(op_names=(op_name,)), order, limit)
        project = await reader.open_project(PROJECT)
        answer = await answer_examples(reader, project, question, T0_US + 30 * DAY_US, KEEP_ALL, no_link)
        await client.aclose()
        body = json.loads(answer)
        assert body["complete"]
        return [call["id"] for call in body["calls"]], reader

    return asyncio.run(run())


@pytest.fixture
def folded(redis_url: str) -> str:
    """A Redis with five calls in each minute of 30 hours."""
    shard = open_shard(redis.Redis.from_url(redis_url))
    for hour in range(HOURS):
        events = []
        for minute in range(hour * 60, hour * 60 + 60):
            for second in range(PER_MINUTE):
                slow_s = 100 + second if minute == SLOW_MINUTE else minute // 60 / 10
                events.append(
                    complete(
                        f"{minute}.{second}",
                        minute * 60 + second,
                        minute * 60 + second + slow_s,
                        {"gpt-4o": tokens(1_000_000 if minute == SLOW_MINUTE else minute)},
                    )
                )
        apply(shard, events)
    return redis_url


def test_few_minutes_are_read(folded: str) -> None:
    """The first of 9,000 calls are found by reading those of a few minutes, in a few round trips."""
    slowest = [f"{SLOW_MINUTE}.{second}" for second in (4, 3, 2, 1, 0)]
    newest = [f"{HOURS * 60 - 1 - minute}.{second}" for minute in range(2) for second in (4, 3, 2, 1, 0)]
    for order, limit, first in ((Order.SLOWEST, 5, slowest), (Order.NEWEST, 10, newest)):
        found, reader = examples(folded, order, limit)
        assert found == first
        assert reader.calls_read <= 10 * 4 * PER_MINUTE
        assert reader.round_trips <= 40
    found, reader = examples(folded, Order.DEAREST, 5)
    assert sorted(found) == sorted(slowest)
    assert reader.calls_read <= 10 * 4 * PER_MINUTE


def test_no_slot_that_may_hold_one_of_the_first_is_left_out(redis_url: str) -> None:
    """Ten minutes of different hours, each with one slow call and a less slow one: the first six are of six minutes."""
    shard = open_shard(redis.Redis.from_url(redis_url))
    for hour in range(10):
        at_s = hour * 3600
        calls = [(f"{hour}.slow", 100 - hour), (f"{hour}.less", 50)]
        apply(shard, [complete(name, at_s, at_s + took_s) for name, took_s in calls])
    found, _ = examples(redis_url, Order.SLOWEST, 6)
    assert found == [f"{hour}.slow" for hour in range(6)]


def test_nothing_is_read_where_nothing_is(folded: str) -> None:
    """An op that no call has, and failures that there are none of."""
    for order, op_name in ((Order.NEWEST, "other"), (Order.FAILING, "op")):
        found, reader = examples(folded, order, 5, op_name)
        assert found == []
        assert reader.calls_read == 0


@pytest.mark.parametrize(
    ("order", "limits", "read", "is_complete"),
    [
        (Order.NEWEST, RankingLimits(), 3_000, True),
        (Order.NEWEST, RankingLimits(calls_read_max=1_000), 1_000, False),
        (Order.SLOWEST, RankingLimits(calls_read_max=2_000), 2_000, False),
    ],
)
def test_too_many_calls_are_said(
    redis_url: str, order: Order, limits: RankingLimits, read: int, is_complete: bool
) -> None:
    """Calls that came last are read first, and no more than the limits; an answer says that it may lack some."""
    shard = open_shard(redis.Redis.from_url(redis_url))
    apply(shard, [start("0"), end("0", failed=True)])
    apply(shard, [complete(str(number), number / 100, number / 50) for number in range(1, 3_000)])

    async def run() -> tuple[list[str], bool, int]:
        client = redis.asyncio.Redis.from_url(redis_url)
        reader = CountingReader(client)
        project = await reader.open_project(PROJECT)
        question = ExamplesQuestion(PROJECT, T0_US, T0_US + MINUTE_US, CallFilter(), order, 10)
        now_us = T0_US + 30 * DAY_US
        ranking, complete = await rank_examples(reader, project, question, now_us, KEEP_ALL, limits=limits)
        await client.aclose()
        return [unpack_id(one.call.packed_id) for one in ranking.first], complete, reader.calls_read

    found, complete_, calls_read = asyncio.run(run())
    assert found == (["0"] if order is Order.FAILING else [str(number) for number in range(2_999, 2_989, -1)])
    assert (is_complete, read) == (complete_, calls_read)


def test_links() -> None:
    """A link quotes what could end a path or begin a query; the slash of a project is not quoted."""
    link = link_by("https://example.org/{project_id}/weave/calls/{call_id}?x=1")
    assert link("acme/my agents", "a/b?c#d") == "https://example.org/acme/my%20agents/weave/calls/a%2Fb%3Fc%23d?x=1"
    assert link_by("")("p", "c") is None


def test_minutes_are_of_the_window(folded: str) -> None:
    """Bounds are those of whole slots inside the window: what lies beside it is not shown."""

    async def run() -> list[str]:
        client = redis.asyncio.Redis.from_url(folded)
        reader = StoreReader(client, "callmeter")
        start_us = T0_US + 61 * MINUTE_US + 1
        question = ExamplesQuestion(PROJECT, start_us, start_us + 2 * MINUTE_US, CallFilter(), Order.NEWEST, 100)
        project = await reader.open_project(PROJECT)
        answer = await answer_examples(reader, project, question, T0_US + 30 * DAY_US, KEEP_ALL, no_link)
        await client.aclose()
        return [call["id"] for call in json.loads(answer)["calls"]]

    assert asyncio.run(run()) == [
        "63.0",
        *(f"62.{second}" for second in (4, 3, 2, 1, 0)),
        *(f"61.{second}" for second in (4, 3, 2, 1)),
    ]
