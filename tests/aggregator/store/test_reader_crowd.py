"""More questions at once than there are connections to Redis: they wait for one another, on a cluster too."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from aggregator.store import connection as redis_connection
from aggregator.store import reader as store_reader
from aggregator.store.connection import connect_readers
from aggregator.store.reader import StoreReader
from tests.servers.redis_cluster import RedisCluster

CONNECTIONS, QUESTIONS = 2, 200


@pytest.fixture(autouse=True)
def few_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allows so few connections that some question has to wait."""
    for module in (redis_connection, store_reader):
        monkeypatch.setattr(module, "READ_CONNECTIONS_MAX", CONNECTIONS)


@pytest.fixture
def cluster_url(tmp_path: Path) -> Iterator[str]:
    """A cluster of its own."""
    cluster = RedisCluster(tmp_path)
    cluster.start()
    yield cluster.url
    cluster.stop()


def answered(url: str, cluster: bool) -> int:
    """Returns how many of the questions, all asked at once, are answered."""

    async def ask() -> int:
        client = connect_readers(url, cluster)
        reader = StoreReader(client, "callmeter")
        commands = [("GET", f"key-{number}") for number in range(20)]  # over all nodes
        try:
            replies = await asyncio.gather(*(reader.fetch(commands) for _ in range(QUESTIONS)))
        finally:
            await client.aclose()
        return sum(reply == [None] * 20 for reply in replies)

    return asyncio.run(ask())


def test_a_crowd(redis_url: str) -> None:
    """All of a crowd are answered on one server."""
    assert answered(redis_url, cluster=False) == QUESTIONS


def test_a_crowd_on_a_cluster(cluster_url: str) -> None:
    """All of a crowd are answered on a cluster, whose client would refuse the connection that is one too many."""
    assert answered(cluster_url, cluster=True) == QUESTIONS
