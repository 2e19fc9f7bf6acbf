"""How far the shards in Redis are against the log of a broker, and starting over on a log that is new."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import redis

from aggregator.layout.keys import SHORT_ROLLUP, member_shard, shard_registry
from aggregator.layout.write import ShardWrite
from aggregator.store.generation import live_namespace
from aggregator.store.shard_store import ShardStore
from ingest.kafka.watermarks import watermarks


class PartitionProgress(NamedTuple):
    """A partition and its shard (none: no next offset). `fields`: the shard's counters and times, by their names.

    `short_rollup`: project and id of a call that states less than the calls below it, where there is one.
    """

    topic: str
    partition: int
    log_begins: int
    log_ends: int
    next_offset: int | None
    fields: dict[str, int]
    short_rollup: str = ""

    @property
    def lag_messages(self) -> int:
        """Messages that are not applied yet."""
        return max(0, self.log_ends - (self.log_begins if self.next_offset is None else self.next_offset))


def stores(client: redis.Redis, namespace: str) -> list[ShardStore]:
    """All shards of the live generation of a namespace, in order."""
    namespace = live_namespace(client, namespace)
    members: set[bytes] = client.smembers(shard_registry(namespace))  # type: ignore[assignment]
    shards = sorted(member_shard(namespace, member.decode()) for member in members)
    return [ShardStore(client, shard) for shard in shards]


def rewind(client: redis.Redis, namespace: str) -> None:
    """Let every shard go on at offset 0: for a broker that has begun again with empty topics, before a worker reads.

    The state stays as it is, so the end of a call still finds the start that came through the log before.
    """
    for store in stores(client, namespace):
        store.apply(store.next_offset(), 0, ShardWrite(drops=[store.keys.log]))


def partition_progress(
    client: redis.Redis,
    namespace: str,
    bootstrap_servers: str,
    topics: Sequence[str],
    extra: Mapping[str, str | int | float | bool] | None = None,
) -> list[PartitionProgress]:
    """Every partition of the topics, in order; none for a topic that does not exist.

    Raises KafkaException when the broker does not answer, one of StoreAway when Redis does not.
    """
    shards = {(store.shard.topic, store.shard.partition): store for store in stores(client, namespace)}
    progress = []
    for topic in topics:
        # The shards are read first: an offset that is read later could be beyond the end that was read before.
        offsets = {at: store.read_offset() for (of, at), store in shards.items() if of == topic}
        for partition, (begins, ends) in watermarks(bootstrap_servers, topic, extra).items():
            store = shards.get((topic, partition))
            stored = {} if store is None else store.shard_fields()
            fields = {name: int(value) for name, value in stored.items() if value.isdecimal()}
            short = stored.get(SHORT_ROLLUP, "")
            progress.append(PartitionProgress(topic, partition, begins, ends, offsets.get(partition), fields, short))
    return progress
