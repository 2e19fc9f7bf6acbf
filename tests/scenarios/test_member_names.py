"""Workers with names of their own in the group: killed, told to stop, and two by mistake under one name."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipeline.feed import Line
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.pipeline.program import Program
from tests.servers.kafka_server import KafkaServer

# Far beyond what anything here takes: whoever waited for it would be seen.
EXTRA = '{"session.timeout.ms": 45000, "heartbeat.interval.ms": 300, "topic.metadata.refresh.interval.ms": 500}'
SHARED_S_MAX = 60.0
AT_ONCE_S = 20.0


@pytest.fixture
def pipeline(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """A topic of two partitions, and nothing that reads it."""
    settings = {"KAFKA__EXTRA": EXTRA}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings, partitions=2) as pipeline:
        pipeline.create_topic()
        yield pipeline


def send(pipeline: Pipeline) -> None:
    """Two messages to each partition."""
    pipeline.produce(Line(str(at), b'{"not": "an event"}', partition=at % 2) for at in range(4))


def both_share(pipeline: Pipeline) -> tuple[Program, Program]:
    """Two workers with names, that have a partition each."""
    first, second = (pipeline.worker(KAFKA__MEMBER=f"worker-{number}") for number in range(2))
    for one in (first, second):
        one.start_until_logged("worker started")
    assert wait_until(lambda: bool(first.logged("partition assigned")), SHARED_S_MAX)
    assert wait_until(lambda: bool(second.logged("partition assigned")), SHARED_S_MAX)
    send(pipeline)
    pipeline.wait_until_applied()
    return first, second


def test_a_killed_worker_that_is_back_goes_on_at_once(pipeline: Pipeline) -> None:
    """Nobody waits until the group takes it for dead, and the other one is left alone."""
    killed, other = both_share(pipeline)
    had = len(other.logged("partition assigned")) + len(other.logged("partition revoked"))
    killed.kill()
    killed.launch()
    send(pipeline)
    pipeline.wait_until_applied(AT_ONCE_S)
    assert len(other.logged("partition assigned")) + len(other.logged("partition revoked")) == had


def test_a_worker_that_is_told_to_stop_leaves_at_once(pipeline: Pipeline) -> None:
    """The other one has its partition: a name keeps nothing for who does not come back."""
    leaving, _ = both_share(pipeline)
    began_s = time.monotonic()
    assert leaving.terminate() == 0
    send(pipeline)
    pipeline.wait_until_applied(AT_ONCE_S)
    assert time.monotonic() - began_s < AT_ONCE_S


def test_two_of_one_name(pipeline: Pipeline) -> None:
    """The one that was there ends, and says why; the other one reads."""
    first, second = (pipeline.worker(KAFKA__MEMBER="worker") for _ in range(2))
    first.start_until_logged("partition assigned")
    second.start_until_logged("partition assigned")
    assert first.wait() == 1
    assert "another worker has joined the group as 'worker': each needs a name of its own" in first.log()
    send(pipeline)
    pipeline.wait_until_applied(AT_ONCE_S)
