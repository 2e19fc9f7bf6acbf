"""How many partitions a topic has is asked beside the reading, now and then, and told as of the question."""

from collections.abc import Iterator
from queue import Queue

import pytest

from ingest.partition_counts import COUNT_INTERVAL_US, Counted, PartitionCounts
from tests.folding import NOW_US
from tests.pipeline.patience import wait_until


class Broker:
    """Answers what is put into `answers`, as late as it is put there. The clock goes on with each question."""

    def __init__(self) -> None:
        self.now_us = NOW_US
        self.asked: list[str] = []
        self.answers: Queue[int | None] = Queue()

    def count(self, topic: str) -> int | None:
        self.asked.append(topic)
        answer = self.answers.get()
        self.now_us += 7
        return answer


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def counts(broker: Broker) -> Iterator[PartitionCounts]:
    counts = PartitionCounts(broker.count, lambda: broker.now_us)
    yield counts
    broker.answers.put(None)
    counts.close()


def answers(counts: PartitionCounts, topics: list[str]) -> list[Counted]:
    """All that one poll after the other brings, until something has come."""
    found: list[Counted] = []

    def come() -> bool:
        found.extend(counts.poll(topics))
        return bool(found)

    assert wait_until(come, 10, 0.001)
    return found


def test_as_of_the_question(broker: Broker, counts: PartitionCounts) -> None:
    """What is added while the broker answers may be missing in the answer."""
    assert counts.poll(["calls"]) == []
    broker.answers.put(4)
    assert answers(counts, ["calls"]) == [Counted("calls", 4, NOW_US)]


def test_now_and_then_and_not_while_it_is_asked(broker: Broker, counts: PartitionCounts) -> None:
    """However often it is polled, and however late the answer is."""
    counts.poll(["calls"])
    broker.now_us += 5 * COUNT_INTERVAL_US
    counts.poll(["calls"])
    broker.answers.put(4)
    answers(counts, [])
    broker.now_us = NOW_US + COUNT_INTERVAL_US - 1
    counts.poll(["calls"])
    assert not wait_until(lambda: len(broker.asked) > 1, 0.05)
    broker.now_us += 1
    counts.poll(["calls"])
    broker.answers.put(6)
    assert [counted.partitions for counted in answers(counts, [])] == [6]
    assert broker.asked == ["calls"] * 2


def test_a_broker_that_does_not_answer(broker: Broker, counts: PartitionCounts) -> None:
    """Says nothing, nor does one that does not know the topic; it is asked again."""
    for unknown in (None, 0):
        broker.answers.put(unknown)
        assert wait_until(lambda: counts.poll(["calls"]) == [] and broker.answers.empty(), 10, 0.001)
        broker.now_us += COUNT_INTERVAL_US
    broker.answers.put(5)
    assert answers(counts, ["calls"])[0].partitions == 5
