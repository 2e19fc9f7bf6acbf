"""What a worker makes of the end of a partition: nothing is said to be applied that is not."""

from aggregator.layout.keys import ShardName
from aggregator.time_units import SECOND_US
from ingest.kafka.partition import Partition
from tests.protocol.memory_log import MemoryLog
from tests.protocol.memory_objects import Kept
from tests.protocol.memory_redis import MemoryRedis
from tests.protocol.sent import MESSAGES
from tests.protocol.stored import as_of_us, next_offset
from tests.protocol.totals import BEGAN_US
from tests.protocol.worker_process import NAMESPACE, Parts, WorkerProcess

LATE, OTHER = Partition("calls", 0), Partition("calls", 1)
LATE_SHARD = ShardName(NAMESPACE, *LATE)


def test_an_end_that_comes_late_says_nothing_of_now() -> None:
    """An end that was noticed before a message came that is not applied yet says nothing of now, and comes once more
    when the worker has time."""
    now_us = BEGAN_US + 3_600 * SECOND_US
    log, server = MemoryLog((LATE, OTHER)), MemoryRedis(lambda: now_us // SECOND_US)
    worker = WorkerProcess(Parts(), server, log, lambda: now_us, Kept())
    worker.source.rebalances += [LATE, OTHER]
    worker.run(10, until="exec")  # both ends are in hand, the worker is busy with the other one
    now_us += SECOND_US
    log.append(LATE, MESSAGES[0], now_us, 0)
    now_us += 10 * SECOND_US
    worker.run(10)
    assert next_offset(server.state, LATE_SHARD) is None
    assert 0 < as_of_us(server.state, LATE_SHARD) < log.messages[LATE][0].broker_us
    worker.run(10)
    assert next_offset(server.state, LATE_SHARD) == 1
