"""Waiting as a member of the group: nothing is read meanwhile, everything is read afterwards."""

import time
import uuid

from ingest.batch_limits import BatchLimits
from ingest.kafka.consumer import Source
from ingest.kafka.partition import Partition
from tests.pipeline.feed import Feed, Line
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import KAFKA_EXTRA
from tests.servers.kafka_server import create_topic

PARTITIONS = 4
REBALANCE_S_MAX = 60.0
LIMITS = BatchLimits(wait_ms=100)


class Member:
    """A group member that reads from the beginning, and what it is assigned."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self.partitions: set[Partition] = set()
        self.read: set[Partition] = set()
        self.source = Source(bootstrap_servers, topic, [topic], KAFKA_EXTRA, lambda: time.time_ns() // 1_000)
        self.source.subscribe(self._assign, self._revoke)

    def poll(self) -> None:
        self.read |= self.source.poll(LIMITS).messages.keys()

    def _assign(self, partition: Partition) -> int | None:
        self.partitions.add(partition)
        return None

    def _revoke(self, partitions: list[Partition]) -> None:
        self.partitions -= set(partitions)


def test_partitions_lost_while_waiting_are_read_when_they_are_back(bootstrap_servers: str) -> None:
    """A partition that is revoked while a member waits does not stay paused for it."""
    topic = f"keep-alive-{uuid.uuid4().hex}"
    create_topic(bootstrap_servers, topic, PARTITIONS)
    waiting, other = Member(bootstrap_servers, topic), None
    try:

        def has(count: int) -> bool:
            waiting.poll()
            return len(waiting.partitions) == count

        assert wait_until(lambda: has(PARTITIONS), REBALANCE_S_MAX)
        other = Member(bootstrap_servers, topic)

        def shares() -> bool:
            waiting.source.keep_alive(0.1)
            other.poll()
            return len(waiting.partitions) == len(other.partitions) == PARTITIONS // 2

        assert wait_until(shares, REBALANCE_S_MAX)
        other.source.close()
        assert wait_until(lambda: has(PARTITIONS), REBALANCE_S_MAX)
        Feed(bootstrap_servers, topic).send(Line("k", b"{}", partition) for partition in range(PARTITIONS))

        def has_read_all() -> bool:
            waiting.poll()
            return waiting.read == {Partition(topic, partition) for partition in range(PARTITIONS)}

        assert wait_until(has_read_all, REBALANCE_S_MAX), f"read from {waiting.read} only"
    finally:
        waiting.source.close()
