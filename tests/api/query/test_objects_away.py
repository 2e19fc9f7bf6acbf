"""An object that is gone, damaged or away is a 503 that names it for what needs it; everything else is answered."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from aggregator.layout.moved import unpack_objects
from aggregator.objects.frame_cache import FrameCache
from aggregator.store.reader import StoreReader
from aggregator.time_units import DAY_S, SECOND_US
from api.query.answers import StoreAnswers
from api.query.questions import CallFilter, MetricQuestion, StatsQuestion, UsageQuestion
from api.refusals import StoreAway
from tests.support.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, T0_US, apply
from tests.support.moving import KEYS, PREFIX, FailingStore, open_moving
from tests.support.sealing import seal_all, some_calls

COUNT = (MetricQuestion("call_count", ("count",), ()),)
DAY_US = T0_US // (DAY_S * SECOND_US) * DAY_S * SECOND_US


def days(first: int, count: int) -> StatsQuestion:
    """How many calls there were on some days from the first one of the calls on."""
    begin_us = DAY_US + first * DAY_S * SECOND_US
    end_us = begin_us + count * DAY_S * SECOND_US
    return StatsQuestion(PROJECT, begin_us, end_us, DAY_S, "UTC", (), COUNT, CallFilter())


def counts(redis_url: str, objects: FailingStore, question: StatsQuestion) -> list[int]:
    """The counts of the days."""

    async def ask() -> Any:
        async with redis.asyncio.Redis.from_url(redis_url) as readers:
            reader = StoreReader(readers, SHARD.namespace, frames=FrameCache(objects))
            answers = StoreAnswers(reader, KEEP_ALL, lambda: NOW_US)
            await answers.usage(UsageQuestion(PROJECT, ("call-1",), False))  # which needs no object
            return (await answers.stats(question, NOW_US))[0]

    return [row["count"] for row in json.loads(asyncio.run(ask()))["call_buckets"]]


@pytest.mark.parametrize("trouble", ["gone", "damaged", "away"])
def test_named_for_what_needs_it(trouble: str, redis_url: str, tmp_path: Path) -> None:
    """The day whose hours are in it is refused, and the next one is answered; then both are."""
    client: Any = redis.Redis.from_url(redis_url)
    objects = FailingStore(tmp_path / "objects")
    shard = open_moving(client, objects)
    apply(shard, some_calls(80, hours=60))
    seal_all(shard)
    expected = counts(redis_url, objects, days(0, 3))
    assert sum(expected) == 80
    [name] = [
        name
        for name in unpack_objects(client.hgetall(KEYS.objects))
        if name.startswith(f"{DAY_US // (DAY_S * SECOND_US)}-h-")
    ]
    path = tmp_path / "objects" / (PREFIX + name)
    content = path.read_bytes()
    objects.is_away = trouble == "away"
    if trouble == "gone":
        path.unlink()
    elif trouble == "damaged":
        path.write_bytes(content[:60] + bytes(20) + content[80:])
    with pytest.raises(StoreAway, match="away" if trouble == "away" else f"{PREFIX}{name}"):
        counts(redis_url, objects, days(0, 3))
    if trouble != "away":
        assert counts(redis_url, objects, days(1, 2)) == expected[1:]
    objects.is_away = False
    path.write_bytes(content)
    assert counts(redis_url, objects, days(0, 3)) == expected
