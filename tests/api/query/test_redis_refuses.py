"""Whatever Redis replies instead of an answer, the api says that it is to be asked again later."""

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio

from aggregator.layout.keys import ShardKeys, project_registry
from aggregator.store import eviction
from aggregator.store.generation import live_key
from aggregator.store.reader import StoreReader
from api.query.answers import StoreAnswers
from api.query.questions import CallFilter, MetricQuestion, StatsQuestion, UsageQuestion
from api.refusals import StoreAway
from tests.support.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, T0_US, apply, open_shard, start

COUNT = (MetricQuestion("call_count", ("count",), ()),)
STATS = StatsQuestion(PROJECT, T0_US, T0_US + 3_600_000_000, 60, "UTC", (), COUNT, CallFilter())
USAGE = UsageQuestion(PROJECT, ("a",), False)


async def ask(readers: Any, question: StatsQuestion | UsageQuestion | None) -> None:
    """Ask one question; None: whether the api is ready."""
    answers = StoreAnswers(StoreReader(readers, SHARD.namespace), KEEP_ALL, lambda: NOW_US)
    if question is None:
        await answers.shards_as_of()
    elif isinstance(question, StatsQuestion):
        await answers.stats(question, NOW_US)
    else:
        await answers.usage(question)


def asked(redis_url: str, question: StatsQuestion | UsageQuestion | None) -> None:
    async def run() -> None:
        async with redis.asyncio.Redis.from_url(redis_url) as readers:
            await ask(readers, question)

    asyncio.run(run())


@pytest.mark.parametrize("question", [STATS, USAGE, None])
@pytest.mark.parametrize("key", ["live", "next", "projects", "shard", "project", "shards"])
def test_keys_of_another_kind(redis_url: str, question: Any, key: str) -> None:
    """WRONGTYPE, wherever it comes."""
    client: Any = redis.Redis.from_url(redis_url)
    apply(open_shard(client), [start("a")])
    keys = ShardKeys(SHARD)
    name = {
        "live": live_key(SHARD.namespace),
        "next": keys.next,
        "projects": keys.projects,
        "shard": keys.shard,
        "project": project_registry(SHARD.namespace, PROJECT),
        "shards": f"{SHARD.namespace}:shards",
    }[key]
    client.delete(name)
    client.zadd(name, {"of another kind": 1})
    if question is None and key == "project":
        return
    with pytest.raises(StoreAway, match="WRONGTYPE"):
        asked(redis_url, question)


@pytest.mark.parametrize(
    "reply",
    [
        redis.ResponseError("BUSY Redis is busy running a script. You can only call SCRIPT KILL"),
        redis.ResponseError("MISCONF Redis is configured to save RDB snapshots, but it's unable to persist to disk"),
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.exceptions.ReadOnlyError("READONLY You can't write against a read only replica."),
        redis.exceptions.BusyLoadingError("LOADING Redis is loading the dataset in memory"),
        redis.exceptions.NoPermissionError("NOPERM this user has no permissions to run the 'hmget' command"),
        redis.exceptions.OutOfMemoryError("OOM command not allowed when used memory > 'maxmemory'."),
        redis.ResponseError("NEVERSEEN whatever"),
        redis.InvalidResponse("Protocol Error"),
    ],
)
@pytest.mark.parametrize("question", [STATS, USAGE])
def test_any_reply(redis_url: str, question: Any, reply: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed anywhere or not."""
    apply(open_shard(redis.Redis.from_url(redis_url)), [start("a")])

    async def refuse(*_: Any, **__: Any) -> None:
        raise reply

    monkeypatch.setattr(redis.asyncio.client.Pipeline, "execute", refuse)
    with pytest.raises(StoreAway):
        asked(redis_url, question)


def test_a_policy_that_is_changed_under_way(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answers are given as long as Redis may drop keys; once the policy is set back they are."""
    client: Any = redis.Redis.from_url(redis_url)
    apply(open_shard(client), [start("a")])
    monkeypatch.setattr(eviction, "POLICY_BELIEVED_S_MAX", 0.0)

    async def run() -> None:
        async with redis.asyncio.Redis.from_url(redis_url) as readers:
            await ask(readers, STATS)
            client.config_set("maxmemory", "4gb")
            client.config_set("maxmemory-policy", "allkeys-lru")
            for question in (STATS, USAGE, None):
                with pytest.raises(StoreAway, match="maxmemory-policy noeviction"):
                    await ask(readers, question)
            client.config_set("maxmemory-policy", "noeviction")
            await ask(readers, STATS)

    try:
        asyncio.run(run())
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "0")
