"""OpenTelemetry's SDK → a real Collector with the Kafka exporter → Kafka → worker → api; and its recorded messages."""

import base64
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import yaml
from confluent_kafka import Consumer, TopicPartition

from callmeter.local.child_process import ChildProcess
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from ingest.decoding.single import decode_message
from tests.pipeline.pipeline import Pipeline
from tests.pipeline.program import START_TIMEOUT_S
from tests.scenarios.sdk_programs import SDKS, check_program
from tests.support.paths import CASES, ROOT

COLLECTOR = ROOT / ".servers" / "otelcol" / "otelcol-callmeter"
RECORDED = CASES / "wire" / "otelcol-0.165.0.jsonl"
NOW_US = 1_800_000_000_000_000
AGENTS = 5  # of tests/sdks/otel_program.py


def configuration(port: int, broker: str, topic: str, encoding: str, keyed: bool) -> str:
    """The Collector's, as docs/producers.md has it."""
    kafka = {"brokers": [broker], "traces": {"topic": topic, "encoding": encoding}, "partition_traces_by_id": keyed}
    return yaml.safe_dump(
        {
            "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"{LOOPBACK}:{port}"}}}},
            "exporters": {"kafka": kafka},
            "service": {
                "telemetry": {"metrics": {"level": "none"}},
                "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["kafka"]}},
            },
        }
    )


def listens(port: int) -> bool:
    """Whether the receiver takes an empty request."""
    empty = urllib.request.Request(f"http://{LOOPBACK}:{port}/v1/traces", b"{}", {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(empty, timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@pytest.mark.skipif(not COLLECTOR.exists(), reason="`make collector` builds one")
@pytest.mark.parametrize(("encoding", "keyed"), [("otlp_proto", True), ("otlp_json", True), ("otlp_proto", False)])
def test_the_collector(tmp_path: Path, bootstrap_servers: str, redis_url: str, encoding: str, keyed: bool) -> None:
    """All spans are counted, in both encodings; with `partition_traces_by_id` each message has its trace as key."""
    port = free_loopback_port()
    with Pipeline(tmp_path, bootstrap_servers, redis_url, {}) as pipeline:
        pipeline.create_topic()
        pipeline.start_worker()
        settings = tmp_path / "otelcol.yaml"
        settings.write_text(configuration(port, bootstrap_servers, pipeline.topic, encoding, keyed))
        collector = ChildProcess("the Collector", [str(COLLECTOR), "--config", str(settings)], tmp_path / "otelcol.log")
        collector.start(lambda: listens(port), START_TIMEOUT_S)
        try:
            program = [sys.executable, str(SDKS / "otel_program.py"), f"http://{LOOPBACK}:{port}/v1/traces"]
            ran = subprocess.run(program, capture_output=True, text=True, timeout=120, check=True)
            check_program(pipeline.start_api(), json.loads(ran.stdout.splitlines()[-1]))
        finally:
            collector.stop()
        keys = [key for key, _ in messages(pipeline)]
        assert all(key is not None for key in keys) == keyed
        record(pipeline, encoding, keyed)


def messages(pipeline: Pipeline) -> list[tuple[bytes | None, bytes]]:
    """Keys and values of all messages of the topic."""
    found = []
    consumer = Consumer({"bootstrap.servers": pipeline.bootstrap_servers, "group.id": pipeline.topic + "-look"})
    for partition in range(pipeline.partitions):
        at = TopicPartition(pipeline.topic, partition, 0)
        _, high = consumer.get_watermark_offsets(at, timeout=10)
        consumer.assign([at])
        for _ in range(high):
            message = consumer.poll(10)
            assert message is not None
            key, value = message.key(), message.value()
            assert value is not None
            found.append((key.encode() if isinstance(key, str) else key, value))
    consumer.close()
    return found


def record(pipeline: Pipeline, encoding: str, keyed: bool) -> None:
    """Add what was sent to the recording, where one is asked for by CALLMETER_TEST_RECORD."""
    if not os.environ.get("CALLMETER_TEST_RECORD"):
        return
    with RECORDED.open("a") as recording:
        for key, value in messages(pipeline):
            line = {"encoding": encoding, "keyed": keyed, "key": key and base64.b64encode(key).decode()}
            recording.write(json.dumps(line | {"value": base64.b64encode(value).decode()}) + "\n")


@pytest.mark.parametrize(("encoding", "keyed"), [("otlp_proto", True), ("otlp_json", True), ("otlp_proto", False)])
def test_recorded_messages(encoding: str, keyed: bool) -> None:
    """The messages that the Collector wrote of that program are its calls: agents may roll up, models used 15 tokens
    each."""
    lines = [json.loads(line) for line in RECORDED.read_text().splitlines()]
    values = [
        base64.b64decode(line["value"]) for line in lines if (line["encoding"], line["keyed"]) == (encoding, keyed)
    ]
    decoded = [decode_message(value, NOW_US) for value in values]
    assert [bad for one in decoded for bad in one.invalid] == []
    ends = [event.end for one in decoded for event in one.events if event.end]
    assert len(ends) == 3 * AGENTS + 1
    stated = [(end.may_roll_up, counts.total_tokens) for end in ends for counts in end.usage.values()]
    assert sorted(stated) == [(False, 15)] * 2 * AGENTS + [(True, 30)] * AGENTS
    assert sum(end.failed for end in ends) == 1
    assert {event.project_id for one in decoded for event in one.events} == {"ent/proj"}
