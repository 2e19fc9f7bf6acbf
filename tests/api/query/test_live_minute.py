"""The minute that is filling up, cut by a question's end: answered as from its calls, and without reading them."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.layout.keys import VERSION_BYTES, ShardKeys
from aggregator.rollups.levels import MINUTES
from aggregator.store.connection import connect, connect_readers
from aggregator.store.reader import Command, StoreReader
from aggregator.time_units import MINUTE_US, SECOND_US
from api.contract.stats_request import read_stats_question
from api.query.answers import StoreAnswers
from tests.support.folding import KEEP_ALL, PROJECT, SHARD, T0_US, apply, complete, open_shard, tokens

# A window of so many hours is not read again where something has changed meanwhile.
COSTLY_S = 13 * 86_400
AS_OF_US = T0_US + 30 * SECOND_US


class Counting(StoreReader):
    """Counts the call records that are asked for."""

    records = 0

    async def fetch(self, commands: Sequence[Command]) -> list[Any]:
        self.records += sum(len(command) - 3 for command in commands if ":calls:" in str(command[1:2]))
        return await super().fetch(commands)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    made = connect(redis_url)
    yield made
    made.close()


def question(start_s: float, end_s: float) -> Any:
    """Calls and tokens from `start_s` to `end_s` after T0."""
    start, end = (datetime.fromtimestamp((T0_US + at_s * SECOND_US) / SECOND_US, UTC) for at_s in (start_s, end_s))
    body = {
        "project_id": PROJECT,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "granularity": 86_400,
        "call_metrics": [{"metric": "call_count"}, {"metric": "latency_ms", "percentiles": [50]}],
        "usage_metrics": [{"metric": "total_tokens"}],
    }
    return read_stats_question(json.dumps(body).encode(), AS_OF_US)


async def counted(answers: StoreAnswers, start_s: float, end_s: float) -> tuple[int, int]:
    """How many calls and tokens of the window."""
    body, _ = await answers.stats(question(start_s, end_s), AS_OF_US)
    answer = json.loads(body)
    return (
        sum(bucket["sum_call_count"] for bucket in answer["call_buckets"]),
        sum(bucket["sum_total_tokens"] for bucket in answer["usage_buckets"]),
    )


def call(number: int, at_s: float) -> Any:
    """A call of ten tokens."""
    return complete(f"call-{number}", at_s, at_s + 1, usage={"m": tokens(10)})


def test_no_call_is_read(redis_url: str, client: redis.Redis) -> None:
    """Unless one of them begins after the end."""

    async def run() -> None:
        readers = connect_readers(redis_url)
        reader = Counting(readers, SHARD.namespace)
        answers = StoreAnswers(reader, KEEP_ALL, lambda: AS_OF_US, kept_bytes_max=0)
        shard = open_shard(client)
        apply(shard, [call(number, number / 10) for number in range(300)], AS_OF_US)
        assert await counted(answers, -3_600, 30.5) == (300, 3_000)
        assert reader.records == 0
        assert await counted(answers, -3_600, 0.25) == (3, 30)
        assert reader.records == 300
        apply(shard, [call(300, 59)], AS_OF_US)
        assert await counted(answers, -3_600, 31) == (300, 3_000)
        assert await counted(answers, -3_600, 59.5) == (301, 3_010)
        assert reader.records == 601
        await readers.aclose()

    asyncio.run(run())


@pytest.mark.parametrize("start_s", [0, -COSTLY_S])
def test_a_call_that_begins_after_the_end_comes_meanwhile(redis_url: str, client: redis.Redis, start_s: int) -> None:
    """Answers do not count it, though the rollups that were read do, however often others come."""
    numbers = count(1)

    class Overtaken(StoreReader):
        async def fetch(self, commands: Sequence[Command]) -> list[Any]:
            if commands and commands[0][0] == "HMGET" and ":r:" in str(commands[0][1]):
                apply(open_shard(client), [call(next(numbers), 50)], AS_OF_US)
            return await super().fetch(commands)

    async def run() -> None:
        readers = connect_readers(redis_url)
        apply(open_shard(client), [call(0, 1)], AS_OF_US)
        answers = StoreAnswers(Overtaken(readers, SHARD.namespace), KEEP_ALL, lambda: AS_OF_US, kept_bytes_max=0)
        assert await counted(answers, start_s, 30) == (1, 10)
        await readers.aclose()

    asyncio.run(run())


def test_a_minute_of_an_earlier_version(redis_url: str, client: Any) -> None:
    """Nobody noted when its calls began: they are read, also once others have come."""

    async def run() -> None:
        readers = connect_readers(redis_url)
        answers = StoreAnswers(StoreReader(readers, SHARD.namespace), KEEP_ALL, lambda: AS_OF_US, kept_bytes_max=0)
        shard = open_shard(client)
        apply(shard, [call(0, 40)], AS_OF_US)
        block, slot = MINUTES.block_and_slot(T0_US // MINUTE_US)
        key = ShardKeys(SHARD).versions(1, MINUTES, block)
        stored = client.hget(key, str(slot))
        client.hset(key, str(slot), stored[:VERSION_BYTES])
        apply(open_shard(client), [call(1, 5)], AS_OF_US)
        assert await counted(answers, 0, 30) == (1, 10)
        await readers.aclose()

    asyncio.run(run())


STEPS = st.lists(
    st.one_of(
        st.lists(st.floats(0, 59), min_size=1, max_size=5).map(lambda at_s: ("apply", at_s)),
        st.floats(0.5, 59.5).map(lambda end_s: ("ask", end_s)),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_any_ends_between_any_batches(redis_url: str, steps: list[tuple[str, Any]]) -> None:
    """Every answer counts the calls that began before its end, whatever was asked before."""
    client = connect(redis_url)
    client.flushall()

    async def run() -> None:
        readers = connect_readers(redis_url)
        answers = StoreAnswers(StoreReader(readers, SHARD.namespace), KEEP_ALL, lambda: AS_OF_US, kept_bytes_max=0)
        shard = open_shard(client)
        began_us: list[int] = []
        for kind, told in steps:
            if kind == "apply":
                events = [call(len(began_us) + at, at_s) for at, at_s in enumerate(told)]
                apply(shard, events, AS_OF_US)
                began_us += [event.start.started_at_us for event in events]
            else:
                end_us = question(-60, told).end_us
                expected = sum(one < end_us for one in began_us)
                assert await counted(answers, -60, told) == (expected, 10 * expected)
        await readers.aclose()

    asyncio.run(run())
    client.close()


def test_buckets_that_share_a_minute(redis_url: str, client: redis.Redis) -> None:
    """A minute that is cut for two buckets is counted in the right one of them, once."""

    async def run() -> None:
        readers = connect_readers(redis_url)
        answers = StoreAnswers(StoreReader(readers, SHARD.namespace), KEEP_ALL, lambda: AS_OF_US, kept_bytes_max=0)
        apply(open_shard(client), [call(0, 10), call(1, 70)], AS_OF_US)
        asked = dataclasses.replace(question(0, 100), granularity_s=45)
        answer = json.loads((await answers.stats(asked, AS_OF_US))[0])
        assert [bucket["sum_call_count"] for bucket in answer["call_buckets"]] == [1, 1, 0]
        await readers.aclose()

    asyncio.run(run())
