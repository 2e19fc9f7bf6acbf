"""Answers go by what the workers keep, which they store, and not by what the api was told."""

import asyncio
import dataclasses
import logging
from typing import Any

import msgspec
import pytest
import redis
import redis.asyncio

from aggregator.rollups.levels import Retention
from aggregator.store.reader import StoreReader
from aggregator.time_units import DAY_S, DAY_US
from api.query.answers import StoreAnswers
from api.query.questions import CallFilter, MetricQuestion, StatsQuestion
from api.refusals import Refusal
from tests.support.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, T0_US, apply, open_shard, start

# T0 is some months before now.
SHORT = Retention(calls_s=DAY_S, minutes_s=DAY_S, five_minutes_s=300 * DAY_S, hours_s=400 * DAY_S)
COUNT = (MetricQuestion("call_count", ("count",), ()),)
QUESTION = StatsQuestion(PROJECT, T0_US + 30_000_000, T0_US + 3_600_000_000, 60, "UTC", (), COUNT, CallFilter())


def answered(redis_url: str, question: StatsQuestion, told: Retention = KEEP_ALL) -> Any:
    """Returns what an api answers that was told this retention."""

    async def ask() -> Any:
        async with redis.asyncio.Redis.from_url(redis_url) as readers:
            answers = StoreAnswers(StoreReader(readers, SHARD.namespace), told, lambda: NOW_US)
            body, _ = await answers.stats(question, NOW_US)
            return msgspec.json.decode(body)

    return asyncio.run(ask())


def test_a_worker_that_keeps_less(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The window is as coarse as the worker's data, filters on ids are refused, and the log says what differs."""
    assert NOW_US - T0_US > DAY_US
    client: Any = redis.Redis.from_url(redis_url)
    apply(open_shard(client, retention=SHORT), [start("a", 60)])
    with caplog.at_level(logging.WARNING):
        body = answered(redis_url, QUESTION)
    assert (body["granularity"], body["start"]) == (300, "2026-03-03T10:00:00Z")
    assert [vars(record)["minutes_s"] for record in caplog.records] == [f"{DAY_S}, here {KEEP_ALL.minutes_s}"]
    with pytest.raises(Refusal, match="reach back to"):
        answered(redis_url, dataclasses.replace(QUESTION, filter=CallFilter(thread_ids=("t",))))


def test_a_worker_that_keeps_more(redis_url: str) -> None:
    """All that is there is answered, whatever retention the api was told."""
    client: Any = redis.Redis.from_url(redis_url)
    apply(open_shard(client), [start("a", 60)])
    body = answered(redis_url, QUESTION, SHORT)
    assert body["granularity"] == 60
    assert sum(row["count"] for row in body["call_buckets"]) == 1


def test_a_worker_that_kept_less_before(redis_url: str) -> None:
    """Rollups that went by the shorter retention do not come back with the longer one."""
    client: Any = redis.Redis.from_url(redis_url)
    apply(open_shard(client, retention=SHORT), [start("a", 60)])
    apply(open_shard(client), [start("b", 120)], NOW_US)
    assert answered(redis_url, QUESTION)["granularity"] == 300
    apply(open_shard(client), [start("c", 180)], NOW_US + DAY_US)
    assert answered(redis_url, QUESTION)["granularity"] == 300
