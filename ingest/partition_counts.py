"""How many partitions topics have, asked beside the reading, again and again: what is added is soon known.

Until the group has shared it out, nobody reads a new partition, and its messages are in no answer.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from aggregator.levels import SECOND_US

# How old the as-of time of a busy topic gets by this; a question takes a tenth of a millisecond.
COUNT_INTERVAL_US = SECOND_US // 4


class Counted(NamedTuple):
    """A topic had at least so many partitions at an instant, in microseconds since the epoch."""

    topic: str
    partitions: int
    counted_us: int


class PartitionCounts:
    """One topic's question after the other, on a thread of its own, since the broker takes a while to answer.

    `count`: the partitions of a topic as the broker knows them, None where it does not answer.
    """

    def __init__(self, count: Callable[[str], int | None], clock: Callable[[], int]) -> None:
        self._count = count
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="partition-counts")
        self._asked: dict[str, Future[Counted | None]] = {}
        self._asked_us: dict[str, int] = {}

    def poll(self, topics: Iterable[str]) -> list[Counted]:
        """The answers that have come since the last poll; asks of these topics what has not been asked for a while."""
        answered = [topic for topic, answer in self._asked.items() if answer.done()]
        counted = [self._asked.pop(topic).result() for topic in answered]
        now_us = self._clock()
        for topic in topics:
            if topic not in self._asked and now_us - self._asked_us.get(topic, 0) >= COUNT_INTERVAL_US:
                self._asked_us[topic] = now_us
                self._asked[topic] = self._thread.submit(self._ask, topic)
        return [one for one in counted if one is not None]

    def close(self) -> None:
        """Return when no question is under way."""
        self._thread.shutdown(cancel_futures=True)

    def _ask(self, topic: str) -> Counted | None:
        asked_us = self._clock()
        partitions = self._count(topic)
        return Counted(topic, partitions, asked_us) if partitions else None
