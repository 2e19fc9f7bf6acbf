"""The end of a log that is in hand when Redis has forgotten its shard says nothing any more."""

from aggregator.layout.keys import ShardName
from aggregator.time_units import SECOND_US
from ingest.kafka.partition import Partition
from tests.protocol.memory_log import MemoryLog
from tests.protocol.memory_objects import Kept
from tests.protocol.memory_redis import MemoryRedis
from tests.protocol.memory_store import Fault
from tests.protocol.sent import MESSAGES
from tests.protocol.stored import next_offset, totals_in
from tests.protocol.totals import BEGAN_US
from tests.protocol.worker_process import NAMESPACE, Parts, WorkerProcess

PARTITION = Partition("calls", 0)
SHARD = ShardName(NAMESPACE, *PARTITION)


def test_what_was_forgotten_is_folded_before_an_end_counts() -> None:
    """The end was noticed; then the step under way fails, and Redis holds nothing: all is read again from the start."""
    now_us = BEGAN_US + 3_600 * SECOND_US
    log, server = MemoryLog((PARTITION,)), MemoryRedis(lambda: now_us // SECOND_US)
    worker = WorkerProcess(Parts(), server, log, lambda: now_us, Kept())
    worker.source.rebalances.append(PARTITION)
    for sent in MESSAGES[:5]:
        log.append(PARTITION, sent, now_us, 0)
    worker.run(3)
    worker.fault = Fault.FULL
    worker.run(2)  # the rest, with the end; storing it fails, and that is noticed in the next step
    server.go_back(1_000_000)
    for _ in range(6):
        worker.run(3)
    assert next_offset(server.state, SHARD) == 5
    assert totals_in(server.state, SHARD).counters["messages"] == 5
