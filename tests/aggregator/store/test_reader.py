"""Opening projects: which shards hold one, and how fresh all that may hold it are."""

from typing import Any

import pytest
import redis

from aggregator.layout.keys import LAYOUT_VERSION, LAYOUTS_READ, ShardKeys, ShardName, shard_registry
from aggregator.store.reader import OpenedProject, StoreReader, UnknownLayout
from aggregator.store.shard_store import Fenced, ShardStore
from aggregator.writing.shard import Shard
from tests.support.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, apply, prices, start
from tests.support.reading import read

SIBLING = SHARD._replace(partition=1)


async def opened(_: StoreReader, project: OpenedProject) -> tuple[list[tuple[str, int]], int | None]:
    """The keys of `ids`, which tell the shard, with the project's number."""
    return [(shard.keys.ids, shard.project) for shard in project.shards], project.as_of_us


def fold_into(client: redis.Redis, shard: ShardName, project_ids: list[str], as_of_us: int) -> None:
    writer = Shard(ShardStore(client, shard), prices(), KEEP_ALL)
    writer.apply([start("a", project_id=name) for name in project_ids], 1, as_of_us, NOW_US, {})


def test_a_project_in_two_shards(redis_url: str) -> None:
    """A project has a number in each of two shards, and is as of the older of them; other namespaces are not looked
    at."""
    client = redis.Redis.from_url(redis_url)
    fold_into(client, SHARD, [PROJECT], NOW_US + 9)
    fold_into(client, SIBLING, ["acme/others", PROJECT], NOW_US + 4)
    fold_into(client, SHARD._replace(namespace="elsewhere"), [PROJECT], NOW_US)
    assert read(redis_url, opened) == ([(ShardKeys(SHARD).ids, 1), (ShardKeys(SIBLING).ids, 2)], NOW_US + 4)


def test_a_shard_that_lacks_the_project_counts_for_freshness(redis_url: str) -> None:
    """A shard that lacks the project may only be late with it, so it counts for freshness."""
    client = redis.Redis.from_url(redis_url)
    fold_into(client, SHARD, [PROJECT], NOW_US + 9)
    fold_into(client, SIBLING, ["acme/others"], NOW_US + 4)
    assert read(redis_url, opened) == ([(ShardKeys(SHARD).ids, 1)], NOW_US + 4)


def test_freshness_where_projects_are_keyed(redis_url: str) -> None:
    """Other partitions do not hold back a project that is in one for certain, once it is known where it is."""
    client = redis.Redis.from_url(redis_url)
    fold_into(client, SHARD, [PROJECT], NOW_US + 9)
    fold_into(client, SIBLING, ["acme/others"], NOW_US + 4)
    assert read(redis_url, opened, keyed_by_project=True) == ([(ShardKeys(SHARD).ids, 1)], NOW_US + 9)
    assert read(redis_url, opened, "unknown", keyed_by_project=True) == ([], NOW_US + 4)


def test_an_unknown_project(redis_url: str) -> None:
    """Is in no shard, and that as of the oldest of all."""
    client = redis.Redis.from_url(redis_url)
    assert read(redis_url, opened) == ([], None)
    fold_into(client, SHARD, [PROJECT], NOW_US + 9)
    assert read(redis_url, opened, "unknown") == ([], NOW_US + 9)


PARTITIONS = 3


def writer(url: str, partition: int, topic: str = SHARD.topic) -> Shard:
    """Returns a writer of one partition of a topic, which knows how many there are."""
    client: Any = redis.Redis.from_url(url)
    store = ShardStore(client, SHARD._replace(topic=topic, partition=partition), PARTITIONS)
    return Shard(store, prices(), KEEP_ALL)


def test_as_of_waits_for_all_shards_of_the_topic(redis_url: str) -> None:
    """Freshness is unknown as long as one shard of the topic has not said how far it is: it may hold calls of the
    project."""
    apply(writer(redis_url, 0), [start("a")])
    assert read(redis_url, opened)[1] is None
    writer(redis_url, 1).touch(NOW_US - 7)
    assert read(redis_url, opened)[1] is None
    writer(redis_url, 2).touch(NOW_US - 5)
    assert read(redis_url, opened) == ([(ShardKeys(SHARD).ids, 1)], NOW_US - 7)
    assert read(redis_url, opened, "acme/unknown") == ([], NOW_US - 7)


def test_other_topics_do_not_hold_it_back(redis_url: str) -> None:
    """A topic that has nothing of the project, perhaps since it is read no more, says nothing of how fresh it is."""
    for partition in range(PARTITIONS):
        apply(writer(redis_url, partition), [start("a")])
    writer(redis_url, 0, "other").touch(NOW_US - 9)
    assert read(redis_url, opened)[1] == NOW_US
    assert read(redis_url, opened, "acme/unknown")[1] is None


def test_as_of_the_last_count_of_partitions(redis_url: str) -> None:
    """Partitions count for freshness once they have been counted; each of those must say how far it is."""
    writers = [writer(redis_url, partition) for partition in range(PARTITIONS)]
    for one in writers:
        apply(one, [start("a")])
    writers[0].store.register_partitions(PARTITIONS, NOW_US - 5)
    assert read(redis_url, opened, "acme/unknown", keyed_by_project=True)[1] == NOW_US - 5
    writer(redis_url, 0, "other").store.register_partitions(PARTITIONS, NOW_US - 9)
    assert read(redis_url, opened)[1] == NOW_US - 5
    assert read(redis_url, opened, keyed_by_project=True)[1] == NOW_US
    writers[0].store.register_partitions(PARTITIONS, NOW_US + 5)
    assert read(redis_url, opened)[1] == NOW_US
    writers[0].store.register_partitions(PARTITIONS + 1, NOW_US + 6)
    assert read(redis_url, opened)[1] is None
    writer(redis_url, PARTITIONS).touch(NOW_US + 7)
    assert read(redis_url, opened)[1] == NOW_US


def test_partitions_of_a_generation_that_is_gone(redis_url: str) -> None:
    """Are not registered: the worker that counted them has not noticed yet, and nobody would drop them again."""
    one = writer(redis_url, 0)
    ShardStore(redis.Redis.from_url(redis_url), SHARD).move_away("0123456789abcdef")
    with pytest.raises(Fenced):
        one.store.register_partitions(PARTITIONS + 1, NOW_US)
    assert read(redis_url, opened)[1] is None
    client: Any = redis.Redis.from_url(redis_url)
    assert client.scard(shard_registry("callmeter")) == PARTITIONS


@pytest.mark.parametrize("layout", [min(LAYOUTS_READ) - 1, LAYOUT_VERSION + 1])
def test_an_unknown_layout(redis_url: str, layout: int) -> None:
    """Is not read, nor is the api ready."""
    client: Any = redis.Redis.from_url(redis_url)
    fold_into(client, SHARD, [PROJECT], NOW_US)
    client.hset(ShardKeys(SHARD).shard, "layout", layout)

    async def ready(reader: StoreReader, _: OpenedProject) -> None:
        await reader.shards_as_of()

    with pytest.raises(UnknownLayout):
        read(redis_url, opened)
    client.delete("callmeter:project:" + PROJECT)
    with pytest.raises(UnknownLayout):
        read(redis_url, ready, "unknown")


def test_ready(redis_url: str) -> None:
    """A reader is ready when Redis answers and every shard is ours, and when there is none yet."""

    async def ready(reader: StoreReader, _: OpenedProject) -> list[tuple[ShardName, int | None]]:
        return await reader.shards_as_of()

    assert read(redis_url, ready) == []
    fold_into(redis.Redis.from_url(redis_url), SHARD, [PROJECT], NOW_US)
    fold_into(redis.Redis.from_url(redis_url), SIBLING, [PROJECT], NOW_US + 5)
    assert read(redis_url, ready) == [(SHARD, NOW_US), (SIBLING, NOW_US + 5)]


def test_fetch_in_order(redis_url: str) -> None:
    """The replies stand where their commands stood; nothing asked, nothing sent."""

    async def fetch(reader: StoreReader, _: OpenedProject) -> tuple[Any, Any]:
        return await reader.fetch([("GET", "b"), ("GET", "a"), ("GET", "c")]), await reader.fetch([])

    client: Any = redis.Redis.from_url(redis_url)
    client.set("a", 1)
    client.set("b", 2)
    assert read(redis_url, fetch) == ([b"2", b"1", None], [])


def test_registry_of_shards(redis_url: str) -> None:
    """Every writer's shard is known by name."""
    client: Any = redis.Redis.from_url(redis_url)
    fold_into(client, SHARD, [PROJECT], NOW_US)
    assert client.smembers(shard_registry("callmeter")) == {b"calls/0"}
