"""What Redis says of its memory, one server and a cluster."""

from pathlib import Path

import redis

from aggregator.store.connection import connect
from aggregator.store.memory import node_memories
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_server import RedisServer

LIMIT_BYTES = 100_000_000


def test_one_server(tmp_path: Path) -> None:
    """A server's memory grows with what it holds; its limit is what is set, 0 for none."""
    server = RedisServer(tmp_path)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        [before] = node_memories(client)
        assert (before.node, before.limit_bytes) == ("", 0)
        client.set("large", b"x" * 5_000_000)
        client.config_set("maxmemory", LIMIT_BYTES)
        [after] = node_memories(client)
    server.stop()
    assert after.used_bytes > before.used_bytes + 4_000_000
    assert after.limit_bytes == LIMIT_BYTES


def test_a_cluster(tmp_path: Path) -> None:
    """Each master of a cluster is told by its address."""
    cluster = RedisCluster(tmp_path)
    cluster.start()
    try:
        found = node_memories(connect(cluster.url, cluster=True))
        assert len({one.node for one in found}) == len(found) == len(cluster.nodes)
        assert all(one.used_bytes > 0 for one in found)
    finally:
        cluster.stop()
