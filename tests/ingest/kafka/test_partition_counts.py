"""How many partitions a topic has is counted beside the reading, now and then, and registered as of the question."""

from collections.abc import Iterator
from queue import Queue

import pytest
import redis

from ingest.kafka.partition_counts import COUNT_INTERVAL_US, PartitionCounts
from tests.pipeline.patience import wait_until
from tests.support.folding import NOW_US


class Servers:
    """A broker that answers what is put into `answers`, as late as it is put there, and what is registered in Redis."""

    def __init__(self) -> None:
        self.now_us = NOW_US
        self.asked: list[str] = []
        self.answers: Queue[int | None] = Queue()
        self.registered: list[tuple[int, int]] = []
        self.failure: Exception | None = None

    def count(self, topic: str) -> int | None:
        self.asked.append(topic)
        answer = self.answers.get()
        self.now_us += 7
        return answer

    def register(self, partitions: int, counted_us: int) -> None:
        if self.failure is not None:
            raise self.failure
        self.registered.append((partitions, counted_us))

    def wait_for_registered(self, count: int) -> None:
        assert wait_until(lambda: len(self.registered) == count, 10, 0.001)


@pytest.fixture
def servers() -> Servers:
    return Servers()


@pytest.fixture
def counts(servers: Servers) -> Iterator[PartitionCounts]:
    counts = PartitionCounts(servers.count, lambda: servers.now_us)
    yield counts
    servers.answers.put(None)
    counts.close()


def test_as_of_the_question(servers: Servers, counts: PartitionCounts) -> None:
    """A count is as of the question: what is added while the broker answers may be missing in the answer."""
    counts.begin({"calls": servers.register})
    servers.answers.put(4)
    servers.wait_for_registered(1)
    assert servers.registered == [(4, NOW_US)]


def begin_until(counts: PartitionCounts, servers: Servers, asked: int) -> None:
    """Counts as a worker does, until the broker has been asked so often."""

    def is_asked() -> bool:
        counts.begin({"calls": servers.register})
        return len(servers.asked) == asked

    assert wait_until(is_asked, 10, 0.001)


def test_now_and_then_and_not_while_it_is_asked(servers: Servers, counts: PartitionCounts) -> None:
    """However often it is begun, and however late the answer is."""
    topics = {"calls": servers.register}
    counts.begin(topics)
    servers.now_us += 5 * COUNT_INTERVAL_US
    counts.begin(topics)
    servers.answers.put(4)
    servers.wait_for_registered(1)
    servers.now_us = NOW_US + COUNT_INTERVAL_US - 1
    counts.begin(topics)
    assert not wait_until(lambda: len(servers.asked) > 1, 0.05)
    servers.now_us += 1
    begin_until(counts, servers, 2)
    servers.answers.put(6)
    servers.wait_for_registered(2)
    assert servers.registered == [(4, NOW_US), (6, NOW_US + COUNT_INTERVAL_US)]
    assert servers.asked == ["calls"] * 2


@pytest.mark.parametrize("answer", [None, 0, 3])
def test_servers_that_do_not_answer(answer: int | None, servers: Servers, counts: PartitionCounts) -> None:
    """Nothing is registered while servers do not answer, nor of a topic that the broker does not know; it is counted
    again."""
    servers.failure = redis.exceptions.ConnectionError("away") if answer else None
    servers.answers.put(answer)
    begin_until(counts, servers, 1)
    servers.now_us += 2 * COUNT_INTERVAL_US
    begin_until(counts, servers, 2)
    servers.failure = None
    servers.answers.put(5)
    servers.wait_for_registered(1)
    assert servers.registered[0][0] == 5
