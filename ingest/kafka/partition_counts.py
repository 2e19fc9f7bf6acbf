"""How many partitions topics have, counted beside the reading, again and again: what is added is soon known.

Until the group has shared it out, nobody reads a new partition, and its messages are in no answer.
"""

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from aggregator.store.shard_store import Fenced, StoreTrouble
from aggregator.time_units import SECOND_US

log = logging.getLogger(__name__)

# How old the as-of time of a busy topic gets by this; a question takes a tenth of a millisecond.
COUNT_INTERVAL_US = SECOND_US // 4

Register = Callable[[int, int], None]
"""Takes how many partitions there were at least, and at which instant (microseconds since the epoch)."""


class PartitionCounts:
    """One topic after the other, on a thread of its own: broker and Redis may take a while, and the worker goes on.

    `count`: the partitions of a topic as the broker knows them, None where it does not answer.
    """

    def __init__(self, count: Callable[[str], int | None], clock: Callable[[], int]) -> None:
        self._count = count
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="partition-counts")
        self._under_way: dict[str, Future[None]] = {}
        self._begun_us: dict[str, int] = {}

    def begin(self, topics: Mapping[str, Register]) -> None:
        """Count what has not been counted for a while, and register it. Raises what went wrong and was not expected."""
        now_us = self._clock()
        for topic, register in topics.items():
            before = self._under_way.get(topic)
            is_due = now_us - self._begun_us.get(topic, 0) >= COUNT_INTERVAL_US
            if is_due and (before is None or before.done()):
                if before is not None:
                    before.result()
                self._begun_us[topic] = now_us
                self._under_way[topic] = self._thread.submit(self._register, topic, register)

    def close(self) -> None:
        """Return when no count is under way."""
        self._thread.shutdown(cancel_futures=True)

    def _register(self, topic: str, register: Register) -> None:
        counted_us = self._clock()
        partitions = self._count(topic)
        if partitions:
            try:
                register(partitions, counted_us)
            except (*StoreTrouble, Fenced) as away:
                log.debug("the partitions of a topic are not registered", extra={"topic": topic, "why": str(away)})
