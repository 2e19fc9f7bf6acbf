"""The fence of a shard, on a single Redis and on a cluster: whatever happens between look and write."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from aggregator.layout.keys import ShardName
from aggregator.layout.write import ShardWrite
from aggregator.store.connection import StoreAway, connect
from aggregator.store.shard_store import Fenced, ShardStore
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_server import RedisServer

SHARD = ShardName("fence", "calls", 0)


@pytest.fixture(scope="module", params=["single", "cluster"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A writer's connection."""
    directory = tmp_path_factory.mktemp("redis")
    server = RedisServer(directory) if request.param == "single" else RedisCluster(directory)
    server.start()
    yield connect(server.url, cluster=request.param == "cluster")
    server.stop()


class Interrupted(dict[Any, Any]):
    """Fields to write; something happens when they are about to be sent."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__({"{fence/calls/0}:projects": {"a": 1}})
        self._happens = happens

    def items(self) -> Any:
        self._happens()
        return super().items()


def overflow(client: Any) -> redis.Redis:
    """Another connection, to the server that holds the shard."""
    key = ShardStore(client, SHARD).keys.next
    if isinstance(client, redis.RedisCluster):
        node: Any = client.get_node_from_key(key)  # type: ignore[no-untyped-call]
        return redis.Redis(host=node.host, port=node.port)
    known = client.connection_pool.connection_kwargs
    return redis.Redis(host=known["host"], port=known["port"])


@pytest.mark.parametrize("changed", [None, 7, 3])
def test_connection_is_lost_before_the_write(client: Any, changed: int | None) -> None:
    """A connection that dies after the look takes the write with it, though a new one could be had at once.

    Redis may have forgotten (no next offset), another may have written (7), or all may be as it was (3).
    """
    store, other = ShardStore(client, SHARD), overflow(client)
    other.flushall()
    other.set(store.keys.next, 3)

    def happens() -> None:
        other.client_kill_filter(_type="normal", skipme=True)
        if changed is None:
            other.flushall()
        else:
            other.set(store.keys.next, changed)

    with pytest.raises((Fenced, *StoreAway)):
        store.apply(3, 5, ShardWrite(Interrupted(happens), increments={"messages": 2}))
    assert store.next_offset() == changed
    assert store.shard_fields() == {}
    other.close()


def test_another_writes_before_the_write(client: Any) -> None:
    """The second of two writers is refused, whatever the first one wrote."""
    store, other = ShardStore(client, SHARD), overflow(client)
    other.flushall()
    store.apply(None, 3, ShardWrite())
    with pytest.raises(Fenced):
        store.apply(3, 5, ShardWrite(Interrupted(lambda: store.apply(3, 4, ShardWrite())), increments={"messages": 2}))
    assert store.next_offset() == 4
    assert store.shard_fields() == {}
    other.close()
