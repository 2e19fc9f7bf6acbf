"""A worker begins where the state ends, shares partitions, ends in order, and says what is wrong with a topic."""

import signal
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from aggregator.layout.keys import LAYOUT_VERSION, ShardKeys, ShardName
from tests.pipeline.feed import Line
from tests.pipeline.golden import read_dataset
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.servers.kafka_server import KafkaServer

COMMIT_S_MAX = 30.0
SHARED_S_MAX = 60.0


def committed(pipeline: Pipeline) -> dict[int, int]:
    """The offsets that Kafka knows of the worker's group."""
    settings = {"bootstrap.servers": pipeline.bootstrap_servers, "group.id": pipeline.settings["KAFKA__GROUP_ID"]}
    with closing(Consumer(settings)) as consumer:
        partitions = [TopicPartition(pipeline.topic, partition) for partition in range(pipeline.partitions)]
        return {one.partition: one.offset for one in consumer.committed(partitions, 10) if one.offset >= 0}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_in_order(number: int, kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A signal in the middle ends the worker with status 0; Kafka then knows exactly what is applied.

    The next worker goes on there: no message is applied twice.
    """
    dataset = read_dataset("basics")
    settings = dataset.settings | {"BATCH__MESSAGES_MAX": "3", "BATCH__WAIT_MS": "1"}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings) as pipeline:
        pipeline.create_topic()
        pipeline.produce(dataset.lines)
        worker = pipeline.start_worker()
        while pipeline.applied_messages() < len(dataset.lines) // 4:
            assert worker.running
        assert worker.end_by(number) == 0
        assert 0 < pipeline.applied_messages() < len(dataset.lines)
        assert committed(pipeline) == pipeline.applied()
        assert worker.logged("worker stopped")
        successor = pipeline.start_worker()
        pipeline.wait_until_applied()
        assert pipeline.counters()["messages"] == len(dataset.lines)
        assert successor.terminate() == 0
        assert committed(pipeline) == pipeline.feed.ends


def test_commits_for_a_dead_one(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A successor commits what a killed worker applied but did not commit, though no message comes any more."""
    dataset = read_dataset("basics")
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, dataset.settings) as pipeline:
        pipeline.create_topic()
        pipeline.produce(dataset.lines)
        worker = pipeline.start_worker()
        worker.wait_until(lambda: pipeline.applied() == pipeline.feed.ends, "everything is applied")
        worker.kill()
        worker.start_until_logged("worker started")
        assert wait_until(lambda: committed(pipeline) == pipeline.feed.ends, COMMIT_S_MAX), committed(pipeline)


def test_two_share(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Two workers share the partitions while events come; when one ends in the middle the other does all.

    No answer is wrong, nothing is applied twice.
    """
    dataset = read_dataset("disorder")
    third = len(dataset.lines) // 3
    settings = dataset.settings | {"BATCH__MESSAGES_MAX": "5"}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings) as pipeline:
        pipeline.create_topic()
        pipeline.produce(dataset.lines[:third])
        first, second = pipeline.start_worker(), pipeline.start_worker()
        second.wait_until_logged("partition assigned")
        first.wait_until_logged("partition revoked")
        pipeline.produce(dataset.lines[third : 2 * third])
        pipeline.wait_until_applied()
        pipeline.produce(dataset.lines[2 * third :])
        assert first.terminate() == 0
        assert wait_until(lambda: pipeline.applied() == pipeline.feed.ends, SHARED_S_MAX)
        assert pipeline.start_api().mistakes(dataset.cases) == {}
        counters = pipeline.counters()
        assert (counters["calls"], counters["messages"]) == (dataset.calls, len(dataset.lines))
        assert second.terminate() == 0
        applied = [worker.logged("worker stopped")[0]["events"] for worker in (first, second)]
        assert all(applied), applied
        assert committed(pipeline) == pipeline.feed.ends


def test_messages_deleted_unread(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Messages that the broker deleted before they were read are an error in the log, and counted; the rest is read."""
    lines = [Line(line.key, line.value, partition=0) for line in read_dataset("costs").lines[:60]]
    settings = read_dataset("costs").settings
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings, partitions=1) as pipeline:
        pipeline.create_topic()
        pipeline.produce(lines[:20])
        worker = pipeline.start_worker()
        pipeline.wait_until_applied()
        assert worker.terminate() == 0
        pipeline.produce(lines[20:50])
        admin = AdminClient({"bootstrap.servers": pipeline.bootstrap_servers})
        gone = TopicPartition(pipeline.topic, 0, 40)
        admin.delete_records([gone])[gone].result()
        worker.start_until_logged("worker started")
        pipeline.wait_until_applied()
        pipeline.produce(lines[50:])
        pipeline.wait_until_applied()
        (told,) = worker.logged("messages were deleted before they were read; going on where the log begins")
        assert (told["level"], told["next_offset"], told["log_begins"]) == ("error", 20, 40)
        counters = pipeline.counters()
        assert (counters["messages"], counters["offsets_lost"], counters["offsets_skipped"]) == (40, 20, 0)
        assert worker.terminate() == 0


def test_newer_layout(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A shard that a newer version wrote ends the worker with status 1 and a sentence, and stays as it is."""
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, {}, partitions=1) as pipeline:
        pipeline.create_topic()
        keys = ShardKeys(ShardName(pipeline.namespace, pipeline.topic, 0))
        pipeline.redis.hset(keys.shard, "layout", str(LAYOUT_VERSION + 1))
        worker = pipeline.start_worker()
        assert worker.wait() == 1
        assert f"has layout {LAYOUT_VERSION + 1}, this version knows {LAYOUT_VERSION}" in worker.log()
        assert "Traceback" not in worker.log()
        assert pipeline.redis.hlen(keys.shard) == 1
