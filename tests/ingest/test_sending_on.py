"""Messages of a call come through several partitions: every end finds its start, and nothing counts twice."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api, Pipeline
from tests.servers.kafka_server import KafkaServer

PROJECT = "acme/agents"
CALLS = 60
APPLIED_S_MAX = 60
BEGAN = datetime.now(UTC) - timedelta(minutes=10)


def start(number: int) -> bytes:
    """The start of a call that is a trace by itself."""
    call = {"project_id": PROJECT, "id": f"call-{number}", "op_name": "op", "started_at": BEGAN.isoformat()}
    return json.dumps({"start": call}).encode()


def end(number: int) -> bytes:
    """Returns the call's end, a second later."""
    at = (BEGAN + timedelta(seconds=1)).isoformat()
    call = {
        "project_id": PROJECT,
        "id": f"call-{number}",
        "ended_at": at,
        "summary": {"usage": {"m": {"input_tokens": 1}}},
    }
    return json.dumps({"end": call}).encode()


def produce(pipeline: Pipeline, values: Iterable[bytes], keyed: bool) -> None:
    """Sends by the client's own partitioner, with the call's id as key or with none."""
    settings: dict[str, Any] = {"bootstrap.servers": pipeline.bootstrap_servers, "sticky.partitioning.linger.ms": 0}
    producer = Producer(settings)
    for value in values:
        key = json.loads(value)[next(iter(json.loads(value)))]["id"] if keyed else None
        producer.produce(pipeline.topic, value, key)
        producer.poll(0)
    assert producer.flush(30) == 0


def totals(api: Api) -> tuple[int, int, int]:
    """Calls, calls with an end, and tokens."""
    request = {
        "project_id": PROJECT, "start": (BEGAN - timedelta(hours=1)).isoformat(), "granularity": 86_400,
        "call_metrics": [{"metric": "call_count"}, {"metric": "latency_ms", "aggregations": ["count"]}],
        "usage_metrics": [{"metric": "input_tokens"}],
    }  # fmt: skip
    body = api.ask("/calls/stats", request).json()
    calls, usage = body["call_buckets"], body["usage_buckets"]
    return (
        sum(row["sum_call_count"] for row in calls),
        sum(row["count_latency_ms"] for row in calls),
        sum(row["sum_input_tokens"] for row in usage),
    )


@pytest.mark.parametrize("keyed", [True, False], ids=["partitions added", "no keys"])
def test_ends_find_their_starts(keyed: bool, kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Between starts and ends the topic gets more partitions, or messages have no keys; every start comes twice."""
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, {}, partitions=4) as pipeline:
        pipeline.create_topic()
        api = pipeline.start_api()
        workers = [pipeline.start_worker(), pipeline.start_worker()]
        produce(pipeline, map(start, range(CALLS)), keyed)
        if keyed:
            assert wait_until(lambda: totals(api)[0] == CALLS, APPLIED_S_MAX), totals(api)
            admin = AdminClient({"bootstrap.servers": pipeline.bootstrap_servers})
            admin.create_partitions([NewPartitions(pipeline.topic, 6)])[pipeline.topic].result(30)
            pipeline.partitions = 6
        again = [line for number in range(CALLS) for line in (end(number), start(number))]
        produce(pipeline, again, keyed)
        wanted = (CALLS, CALLS, CALLS)
        found = wait_until(lambda: totals(api) == wanted, APPLIED_S_MAX)
        assert found, (totals(api), pipeline.counters(), workers[0].log()[-3_000:])
        # What was sent on counts where it was sent to before it is forgotten where it waited.
        assert wait_until(lambda: pipeline.counters()["ends_waiting"] == 0, APPLIED_S_MAX), pipeline.counters()
        counters = pipeline.counters()
        assert counters["calls"] == CALLS
        assert counters["events_sent_on"] > 0
        assert [worker.terminate() for worker in workers] == [0, 0]


def test_ends_that_wait_are_counted(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Ends that come before their starts wait, are counted as waiting, and are found once the start is anywhere."""
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, {}, partitions=4) as pipeline:
        pipeline.create_topic()
        api, worker = pipeline.start_api(), pipeline.start_worker()
        produce(pipeline, map(end, range(CALLS)), keyed=False)
        assert wait_until(lambda: pipeline.counters()["ends_waiting"] == CALLS, APPLIED_S_MAX), pipeline.counters()
        produce(pipeline, map(start, range(CALLS)), keyed=False)
        assert wait_until(lambda: totals(api) == (CALLS, CALLS, CALLS), APPLIED_S_MAX), totals(api)
        assert wait_until(lambda: pipeline.counters()["ends_waiting"] == 0, APPLIED_S_MAX), pipeline.counters()
        assert worker.terminate() == 0
