"""As of when a project's shards are."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import redis
import redis.asyncio

from aggregator.shard import Shard
from aggregator.shard_store import ShardStore
from aggregator.store_reader import OpenedProject, StoreReader
from tests.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, apply, prices, start

PARTITIONS = 3


def open_project(url: str, project_id: str) -> OpenedProject:
    """As the api opens it."""

    async def opened() -> OpenedProject:
        async with redis.asyncio.Redis.from_url(url) as client:
            found: Awaitable[OpenedProject] = StoreReader(client, SHARD.namespace).open_project(project_id)
            return await found

    return asyncio.run(opened())


def shard(url: str, partition: int, topic: str = SHARD.topic) -> Shard:
    """The writer of one of the partitions of a topic."""
    client: Any = redis.Redis.from_url(url)
    store = ShardStore(client, SHARD._replace(topic=topic, partition=partition), PARTITIONS)
    return Shard(store, prices(), KEEP_ALL)


def test_as_of_waits_for_all_shards_of_the_topic(redis_url: str) -> None:
    """As long as one shard of the topic has not said how far it is, what it will hold of the project is not known."""
    apply(shard(redis_url, 0), [start("a")])
    assert open_project(redis_url, PROJECT).as_of_us is None
    shard(redis_url, 1).touch(NOW_US - 7)
    assert open_project(redis_url, PROJECT).as_of_us is None
    shard(redis_url, 2).touch(NOW_US - 5)
    opened = open_project(redis_url, PROJECT)
    assert opened.as_of_us == NOW_US - 7
    assert len(opened.shards) == 1
    assert open_project(redis_url, "acme/unknown") == OpenedProject([], NOW_US - 7)


def test_other_topics_do_not_hold_it_back(redis_url: str) -> None:
    """A topic that has nothing of the project, perhaps since it is read no more, says nothing of how fresh it is."""
    for partition in range(PARTITIONS):
        apply(shard(redis_url, partition), [start("a")])
    shard(redis_url, 0, "other").touch(NOW_US - 9)
    assert open_project(redis_url, PROJECT).as_of_us == NOW_US
    assert open_project(redis_url, "acme/unknown").as_of_us is None
