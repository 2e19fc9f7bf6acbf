"""What the worker needs may come late, go away or forget: it waits, reads again what was forgotten, and says so."""

import json
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from ingest.kafka.log_reader import LogReader
from ingest.kafka.partition import Partition
from tests.pipeline.feed import Line
from tests.pipeline.golden import read_dataset
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.servers.kafka_server import KafkaServer, create_topic
from tests.servers.redis_server import RedisServer

PROJECT = "acme/agents"
VISIBLE_S_MAX = 20.0


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that is not started yet, and may be killed."""
    server = RedisServer(tmp_path / "redis")
    yield server
    server.stop()


def complete(call_id: str, started_at: datetime) -> Line:
    """A call of one second."""
    times = {"started_at": started_at.isoformat(), "ended_at": (started_at + timedelta(seconds=1)).isoformat()}
    call = {"project_id": PROJECT, "id": call_id, "op_name": "op", "summary": {}, **times}
    return Line(PROJECT, json.dumps({"complete": call}).encode())


def test_topic_comes_late(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A topic that does not exist is waited for, and folded when it appears."""
    dataset = read_dataset("costs")
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, dataset.settings) as pipeline:
        worker = pipeline.start_worker()
        worker.wait_until_logged("waiting for a topic that does not exist yet")
        pipeline.create_topic()
        pipeline.produce(dataset.lines)
        pipeline.wait_until_applied()
        assert pipeline.start_api().mistakes(dataset.cases) == {}
        assert worker.terminate() == 0


def test_redis_comes_late(kafka_server: KafkaServer, own_redis: RedisServer, tmp_path: Path) -> None:
    """A Redis that cannot be reached at the start is waited for; until then the api answers 503."""
    dataset = read_dataset("costs")
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, own_redis.url, dataset.settings) as pipeline:
        pipeline.create_topic()
        pipeline.produce(dataset.lines)
        worker, api = pipeline.start_worker(), pipeline.start_api()
        worker.wait_until_logged("waiting for Redis", 4)
        refused = api.ask("/calls/usage", {"project_id": PROJECT, "call_ids": []})
        assert refused.status_code == 503
        assert int(refused.headers["Retry-After"]) > 0
        own_redis.start()
        pipeline.wait_until_applied()
        assert api.mistakes(dataset.cases) == {}
        assert worker.terminate() == 0


def test_stops_while_it_waits(kafka_server: KafkaServer, own_redis: RedisServer, tmp_path: Path) -> None:
    """SIGTERM ends a worker that waits for Redis too."""
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, own_redis.url, {}) as pipeline:
        pipeline.create_topic()
        pipeline.produce([complete("a", datetime.now(UTC))])
        worker = pipeline.start_worker()
        worker.wait_until_logged("waiting for Redis", 2)
        assert worker.terminate() == 0


@pytest.mark.parametrize("forgets", [False, True])
def test_redis_restarts(forgets: bool, kafka_server: KafkaServer, own_redis: RedisServer, tmp_path: Path) -> None:
    """Redis is killed while the worker folds and comes back from its append-only file, perhaps without its end.

    What it forgot is read again: nothing is missing, nothing is counted twice.
    """
    dataset = read_dataset("disorder")
    settings = dataset.settings | {"BATCH__MESSAGES_MAX": "5", "BATCH__WAIT_MS": "1"}
    own_redis.start()
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, own_redis.url, settings) as pipeline:
        pipeline.create_topic()
        most = len(dataset.lines) * 2 // 3
        pipeline.produce(dataset.lines[:most])
        # Else what is written waits while what was is synced, and a busy disk would make it forget by itself.
        pipeline.redis.config_set("appendfsync", "always")
        worker = pipeline.start_worker()
        while pipeline.applied_messages() < len(dataset.lines) // 3:
            assert worker.running
        (written,) = own_redis.directory.glob("appendonlydir/*.incr.aof")
        written_bytes, before = written.stat().st_size, pipeline.applied()
        own_redis.kill()
        pipeline.produce(dataset.lines[most:])  # some come in any case, however fast those before were folded
        worker.wait_until_logged("waiting for Redis", 2)
        if forgets:
            with written.open("rb+") as file:
                file.truncate(written_bytes * 2 // 3)
        own_redis.start()
        pipeline.wait_until_applied()
        assert sum(before.values()) < len(dataset.lines)
        again = [(line["partition"], line["offset"] or 0) for line in worker.logged("reading again")]
        assert again
        forgotten = [offset for partition, offset in again if offset < before.get(partition, 0)]
        assert bool(forgotten) == forgets
        assert pipeline.start_api().mistakes(dataset.cases) == {}
        counters = pipeline.counters()
        assert (counters["calls"], counters["messages"]) == (dataset.calls, len(dataset.lines))
        assert worker.terminate() == 0


@pytest.mark.parametrize("midway", [False, True])
def test_redis_is_wiped(midway: bool, kafka_server: KafkaServer, own_redis: RedisServer, tmp_path: Path) -> None:
    """The worker builds everything anew from the topic after FLUSHALL, also when no new message comes."""
    dataset = read_dataset("basics")
    settings = dataset.settings | {"BATCH__MESSAGES_MAX": "5", "BATCH__WAIT_MS": "1"}
    own_redis.start()
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, own_redis.url, settings) as pipeline:
        pipeline.create_topic()
        most = len(dataset.lines) * 2 // 3 if midway else len(dataset.lines)
        pipeline.produce(dataset.lines[:most])
        worker = pipeline.start_worker()
        if midway:
            worker.wait_until(lambda: pipeline.applied_messages() > 50, "a part is applied")
        else:
            pipeline.wait_until_applied()
        pipeline.redis.flushall()
        pipeline.produce(dataset.lines[most:])
        pipeline.wait_until_applied()
        assert pipeline.start_api().mistakes(dataset.cases) == {}
        counters = pipeline.counters()
        assert (counters["calls"], counters["messages"]) == (dataset.calls, len(dataset.lines))
        assert worker.terminate() == 0


def test_dead_letters_are_refused(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """The batch is not applied while the dead-letter topic takes nothing; once it does, all goes on."""
    letters = f"letters-{tmp_path.name}"
    create_topic(kafka_server.bootstrap_servers, letters, 1, {"max.message.bytes": "100"})
    settings = {"KAFKA__DEAD_LETTER_TOPIC": letters}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings, partitions=1) as pipeline:
        pipeline.create_topic()
        no_event = json.dumps({"nonsense": [str(number) for number in range(1_000)]}).encode()
        pipeline.produce([complete("a", datetime.now(UTC)), Line("k", no_event)])
        worker = pipeline.start_worker()
        worker.wait_until_logged("will read again from the stored offset", 2)
        assert pipeline.applied() == {}
        allow = ConfigResource(
            ResourceType.TOPIC,
            letters,
            incremental_configs=[
                ConfigEntry("max.message.bytes", "100000", incremental_operation=AlterConfigOpType.SET)
            ],
        )
        admin = AdminClient({"bootstrap.servers": kafka_server.bootstrap_servers})
        admin.incremental_alter_configs([allow])[allow].result()
        pipeline.wait_until_applied()
        counters = pipeline.counters()
        assert (counters["calls"], counters["dead_letters"]) == (1, 1)
        assert worker.terminate() == 0


def test_a_dead_letter_too_large_for_its_topic(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A dead letter too large for its topic is sent with the beginning of its message only, and with its origin; what
    follows is counted."""
    letters = f"letters-{tmp_path.name}"
    create_topic(kafka_server.bootstrap_servers, letters, 1, {"max.message.bytes": "2000"})
    settings = {"KAFKA__DEAD_LETTER_TOPIC": letters}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings, partitions=1) as pipeline:
        pipeline.create_topic()
        no_event = json.dumps({"nonsense": secrets.token_hex(50_000)}).encode()
        pipeline.produce([Line("k", b"{}"), Line("k", no_event), complete("a", datetime.now(UTC))])
        worker = pipeline.start_worker()
        pipeline.wait_until_applied()
        counters = pipeline.counters()
        assert (counters["calls"], counters["dead_letters"]) == (1, 2)
        with closing(LogReader(pipeline.bootstrap_servers, {}, lambda: 0)) as reader:
            found = [letter for batch in reader.read(Partition(letters, 0), None) for letter in batch]
        texts_of = {dict(letter.headers)["offset"]: letter for letter in found}
        assert texts_of[b"0"].value == b"{}"
        assert no_event.startswith(texts_of[b"1"].value or b"-")
        assert dict(texts_of[b"1"].headers)["cut_of_bytes"] == str(len(no_event)).encode()
        assert worker.terminate() == 0


def test_broker_restarts(redis_url: str, tmp_path: Path) -> None:
    """The broker is killed while the worker reads, and comes back: the worker goes on by itself."""
    dataset = read_dataset("disorder")
    settings = dataset.settings | {"BATCH__MESSAGES_MAX": "1"}
    broker = KafkaServer(tmp_path / "kafka")
    broker.start()
    try:
        with Pipeline(tmp_path, broker.bootstrap_servers, redis_url, settings) as pipeline:
            pipeline.create_topic()
            half = len(dataset.lines) // 2
            pipeline.produce(dataset.lines[:half])
            worker = pipeline.start_worker()
            worker.wait_until(lambda: pipeline.applied_messages() > 0, "something is applied")
            broker.kill()
            broker.start()
            pipeline.produce(dataset.lines[half:])
            pipeline.wait_until_applied()
            assert pipeline.start_api().mistakes(dataset.cases) == {}
            counters = pipeline.counters()
            assert (counters["calls"], counters["messages"]) == (dataset.calls, len(dataset.lines))
            assert worker.terminate() == 0
    finally:
        broker.kill()


def test_fresh(kafka_server: KafkaServer, redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An event is in the answers soon, and while nothing comes the answers stay as of now."""
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, {}) as pipeline:
        pipeline.create_topic()
        worker, api = pipeline.start_worker(), pipeline.start_api()
        worker.wait_until_logged("partition assigned", pipeline.partitions)
        window = {"start": (datetime.now(UTC) - timedelta(hours=1)).isoformat(), "granularity": 86_400}
        request = {"project_id": PROJECT, "call_metrics": [{"metric": "call_count"}], **window}

        def count() -> int:
            return sum(row["count"] for row in api.ask("/calls/stats", request).json()["call_buckets"])

        visible_ms = []
        for number in range(1, 4):
            pipeline.produce([complete(f"call-{number}", datetime.now(UTC))])
            began_s = time.monotonic()
            assert wait_until(lambda number=number: count() == number, VISIBLE_S_MAX)  # type: ignore[misc]
            visible_ms.append(round(1_000 * (time.monotonic() - began_s)))
        with capsys.disabled():
            sys.stdout.write(f"\nvisible after {visible_ms} ms\n")
        seen = set()

        def advanced() -> bool:
            headers = api.ask("/calls/stats", request).headers
            seen.add(headers["X-Data-As-Of"])
            return len(seen) > 3 and float(headers["X-Data-Lag-Seconds"]) < 5

        assert wait_until(advanced, VISIBLE_S_MAX), seen
