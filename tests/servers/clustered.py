"""The whole suite on Redis Cluster: every client that is meant for one address leads to a cluster instead."""

from collections.abc import Mapping
from typing import Any

import pytest
import redis
import redis.asyncio

from tests.servers.redis_cluster import RedisCluster

_urls: set[str] = set()


def with_cluster(settings: Mapping[str, str]) -> dict[str, str]:
    """A process's settings (`{"REDIS__URL": ...}`), which say what it needs to know of its Redis."""
    return {**settings, **({"REDIS__CLUSTER": "true"} if settings.get("REDIS__URL") in _urls else {})}


def lead_to(cluster: RedisCluster, patch: pytest.MonkeyPatch) -> None:
    """Whoever connects to the cluster's address without knowing that it is one gets a client that does."""
    one, pool = redis.Redis.from_url, redis.asyncio.Redis.from_pool
    reader = redis.asyncio.Redis.from_url
    port = cluster.nodes[0].port
    _urls.add(cluster.url)

    def from_url(url: str, **options: Any) -> Any:
        return _told(redis.RedisCluster.from_url(url, **options)) if url == cluster.url else one(url, **options)

    def reader_from_url(url: str, **options: Any) -> Any:
        return redis.asyncio.RedisCluster.from_url(url, **options) if url == cluster.url else reader(url, **options)

    def from_pool(connections: Any) -> Any:
        is_cluster = connections.connection_kwargs["port"] == port
        return redis.asyncio.RedisCluster.from_url(cluster.url) if is_cluster else pool(connections)

    patch.setattr(redis.Redis, "from_url", from_url)
    patch.setattr(redis.asyncio.Redis, "from_url", reader_from_url)
    patch.setattr(redis.asyncio.Redis, "from_pool", from_pool)


def _told(client: Any) -> Any:
    """Several keys at once may be of several shards in tests, which the product never does."""
    client.mget = client.mget_nonatomic
    client.delete = lambda *keys: sum(redis.RedisCluster.delete(client, key) for key in keys)
    return client
