"""How far the shards in Redis are against the log of a broker, and starting over on a log that is new."""

import redis

from aggregator.redis_layout import member_shard, shard_registry
from aggregator.shard_store import ShardStore
from aggregator.shard_write import ShardWrite
from ingest.lag import watermarks


def stores(client: redis.Redis, namespace: str) -> list[ShardStore]:
    """All shards of a namespace, in order."""
    members: set[bytes] = client.smembers(shard_registry(namespace))  # type: ignore[assignment]
    shards = sorted(member_shard(namespace, member.decode()) for member in members)
    return [ShardStore(client, shard) for shard in shards]


def rewind(client: redis.Redis, namespace: str) -> None:
    """Let every shard go on at offset 0: for a broker that has begun again with empty topics, before a worker reads.

    The state stays as it is, so the end of a call still finds the start that came through the log before.
    """
    for store in stores(client, namespace):
        store.apply(store.next_offset(), 0, ShardWrite())


def lag_messages(client: redis.Redis, namespace: str, bootstrap_servers: str, topics: tuple[str, ...]) -> int:
    """Messages in the topics that no shard has applied yet. Raises what Redis and Kafka raise."""
    applied = {(store.shard.topic, store.shard.partition): store.next_offset() for store in stores(client, namespace)}
    return sum(
        max(0, high - (applied.get((topic, partition)) or low))
        for topic in topics
        for partition, (low, high) in watermarks(bootstrap_servers, topic).items()
    )
