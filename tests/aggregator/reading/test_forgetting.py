"""A Redis that loses data while an answer is read from it: the answer is not a mixture of before and after."""

import asyncio
from typing import Any

import pytest
import redis
import redis.asyncio

from aggregator.layout.keys import ShardKeys
from aggregator.store.reader import OpenedProject, StateLost, StoreReader
from aggregator.store.shard_store import ShardStore
from aggregator.writing.shard import Shard
from api.headers import Freshness
from api.query.answers import StoreAnswers
from tests.support.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, apply, prices, start


def writer(url: str) -> Shard:
    """The writer of the shard."""
    client: Any = redis.Redis.from_url(url)
    return Shard(ShardStore(client, SHARD), prices(), KEEP_ALL)


@pytest.mark.parametrize(
    ("happens", "forgot"),
    [
        ("nothing", False),
        ("applied", False),
        ("behind", True),
        ("wiped", True),
        ("refolded", True),
        ("refolded by a writer of before", True),
        ("refolded with another project first", True),
    ],
)
def test_forgetting_is_noticed(happens: str, forgot: bool, redis_url: str) -> None:
    """A reader notices what Redis loses after a project was opened; what is applied meanwhile is no loss."""
    client, shard = redis.Redis.from_url(redis_url), writer(redis_url)
    apply(shard, [start("a"), start("b")])

    def happen() -> None:
        if happens == "applied":
            apply(shard, [start("c")])
        elif happens == "behind":
            client.set(ShardKeys(SHARD).next, 1)
        elif happens == "wiped":
            client.flushall()
        elif happens.startswith("refolded"):
            client.flushall()
            first = [start("x", project_id="acme/others")] if happens.endswith("first") else []
            apply(writer(redis_url), [*first, start("b"), start("a")])
            if happens.endswith("before"):
                client.delete(ShardKeys(SHARD).writer)

    async def noticed() -> bool:
        async with redis.asyncio.Redis.from_url(redis_url) as readers:
            reader = StoreReader(readers, SHARD.namespace)
            opened = await reader.open_project(PROJECT)
            happen()
            try:
                await reader.fetch_of(opened, [])
            except StateLost:
                return True
            return False

    assert asyncio.run(noticed()) is forgot
    client.close()


def test_no_answer_is_torn(redis_url: str) -> None:
    """An answer under which Redis was wiped is asked for again, and says then that nothing is known."""
    client = redis.Redis.from_url(redis_url)
    apply(writer(redis_url), [start("a")])
    opened: list[OpenedProject] = []
    reader: list[StoreReader] = []

    async def answer(project: OpenedProject) -> bytes:
        opened.append(project)
        client.flushall()
        await reader[0].fetch_of(project, [])
        return b"whole"

    async def answered() -> tuple[bytes, Freshness]:
        async with redis.asyncio.Redis.from_url(redis_url) as readers:
            reader.append(StoreReader(readers, SHARD.namespace))
            answers = StoreAnswers(reader[0], KEEP_ALL, lambda: NOW_US)
            return await answers._answer(PROJECT, answer)

    assert asyncio.run(answered()) == (b"whole", Freshness(None, None, is_known=False))
    assert [len(project.shards) for project in opened] == [1, 0]
    client.close()
