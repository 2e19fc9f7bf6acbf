"""Killed in the middle of its work, again and again, the worker still counts every call once."""

import random
import signal
from pathlib import Path

import pytest

from tests.pipeline.golden import read_dataset
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.servers.kafka_server import KafkaServer

KILLS = 10


@pytest.mark.parametrize("name", ["basics", "usage_trees"])
def test_kill_9(name: str, kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Every answer is right after ten kills at random moments, each with a part of the messages applied.

    Neither a message nor a call is counted twice.
    """
    dataset = read_dataset(name)
    total = len(dataset.lines)
    moments = sorted(random.Random(name).sample(range(total // 50, total * 7 // 10), KILLS))
    # The worker never has more before it than this beyond the moment: however late its kill is, some are left.
    ahead = total // 50
    # Batches of a few messages, waiting for none: each takes about a millisecond, so a kill may hit any part of one.
    settings = dataset.settings | {"BATCH__MESSAGES_MAX": "3", "BATCH__WAIT_MS": "1"}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings) as pipeline:
        pipeline.create_topic()
        worker, sent = pipeline.worker(), 0
        for moment in moments:
            moment = max(moment, pipeline.applied_messages())  # not before something has been applied since the last
            pipeline.produce(dataset.lines[sent : moment + ahead])
            sent = max(sent, moment + ahead)
            worker.start_until_logged("worker started")
            while pipeline.applied_messages() <= moment:
                assert worker.running
            worker.kill()
            assert moment < pipeline.applied_messages() < total
        pipeline.produce(dataset.lines[sent:])
        worker.start_until_logged("worker started")
        pipeline.wait_until_applied()
        assert pipeline.start_api().mistakes(dataset.cases) == {}
        counters = pipeline.counters()
        assert (counters["calls"], counters["messages"]) == (dataset.calls, total)


def test_stopped_and_continued(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A worker that was frozen while another took over its partitions cannot apply what it still holds."""
    dataset = read_dataset("disorder")
    half = len(dataset.lines) // 2
    settings = dataset.settings | {"BATCH__MESSAGES_MAX": "1"}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings) as pipeline:
        pipeline.create_topic()
        frozen = pipeline.start_worker()
        sent = before = 0
        while before == sent:  # again, where it was done before it could be stopped: what comes twice counts once
            frozen.signal(signal.SIGCONT)
            pipeline.produce(dataset.lines[:half])
            sent += half
            frozen.wait_until(lambda: pipeline.applied_messages() > before, "something is applied")  # noqa: B023
            frozen.signal(signal.SIGSTOP)
            before = pipeline.applied_messages()
        successor = pipeline.start_worker()
        assert wait_until(lambda: pipeline.applied() == pipeline.feed.ends, 60)
        pipeline.produce(dataset.lines[half:])
        assert wait_until(lambda: pipeline.applied_messages() > sent, 60)
        frozen.signal(signal.SIGCONT)
        assert wait_until(lambda: pipeline.applied() == pipeline.feed.ends, 60)
        frozen.wait_until_logged("partition revoked", pipeline.partitions)
        assert pipeline.start_api().mistakes(dataset.cases) == {}
        counters = pipeline.counters()
        assert (counters["calls"], counters["messages"]) == (dataset.calls, sent + len(dataset.lines) - half)
        assert [frozen.terminate(), successor.terminate()] == [0, 0]
