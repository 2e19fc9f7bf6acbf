"""`callmeter produce` against a broker: everything arrives with its key, and a bad line is named."""

import json
import random
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from callmeter.commands.produce import LINE_BYTES_MAX
from ingest.kafka.watermarks import watermarks
from tests.servers.kafka_server import create_topic

PARTITIONS = 3
BEGUN = b'{"start":{"project_id":"p","id":"1","op_name":"o","started_at":"2026-06-10T00:00:00Z","inputs":"'


@pytest.fixture
def topic(bootstrap_servers: str) -> str:
    """A topic of its own for each test."""
    name = f"produce-{uuid.uuid4().hex}"
    create_topic(bootstrap_servers, name, PARTITIONS)
    return name


def produce(
    bootstrap_servers: str, topic: str, *arguments: str, text: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run `callmeter produce` as a program, as an operator does."""
    return subprocess.run(
        [sys.executable, "-m", "callmeter", "produce", *arguments],
        input=text,
        capture_output=True,
        timeout=60,
        env={"CALLMETER_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers, "CALLMETER_KAFKA__TOPICS": topic, "PATH": ""},
        check=False,
    )


def arrived(bootstrap_servers: str, topic: str) -> list[tuple[int, str, bytes]]:
    """Partition, key and value of every message of the topic, partition by partition."""
    messages = []
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": topic, "enable.auto.commit": False})
    for partition, (low, high) in watermarks(bootstrap_servers, topic).items():
        consumer.assign([TopicPartition(topic, partition, low)])
        while high > low:
            message = consumer.poll(10)
            assert message is not None
            assert message.error() is None
            key, value, offset = message.key(), message.value(), message.offset()
            assert isinstance(key, bytes)
            assert value is not None
            assert offset is not None
            messages.append((partition, key.decode(), value))
            low = offset + 1
    consumer.close()
    return messages


def start(call: str, project: str = "acme", trace: str | None = None) -> bytes:
    """The line of a start."""
    ids = {"project_id": project, "id": call, "trace_id": trace}
    return json.dumps({"start": ids | {"op_name": "op", "started_at": "2026-06-10T00:00:00Z"}}).encode() + b"\n"


def end(call: str, project: str = "acme") -> bytes:
    """The line of an end, which names no trace."""
    ids = {"project_id": project, "id": call}
    return json.dumps({"end": ids | {"ended_at": "2026-06-10T00:00:01Z", "summary": {}}}).encode() + b"\n"


def test_a_file_by_project(bootstrap_servers: str, topic: str, tmp_path: Path) -> None:
    """Every line of a file arrives as it was, keyed by its project; the summary says how many."""
    lines = [start(f"call-{n}", project=f"project-{n % 7}") for n in range(500)]
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"".join(lines) + b"\n  \n")
    run = produce(bootstrap_servers, topic, str(path))
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(b"500 messages (")
    messages = arrived(bootstrap_servers, topic)
    assert sorted(value for _, _, value in messages) == sorted(line.strip() for line in lines)
    assert all(json.loads(value)["start"]["project_id"] == key for _, key, value in messages)


def test_standard_input_by_trace(bootstrap_servers: str, topic: str) -> None:
    """A call's end lies behind its start in the same partition where keys are traces; a batch is taken apart."""
    calls = [(f"call-{n}", f"trace-{n % 11}") for n in range(100)]
    batch = b'{"batch":[' + b",".join(start(call, trace=trace).strip() for call, trace in calls[50:]) + b"]}\n"
    text = b"".join(start(call, trace=trace) for call, trace in calls[:50]) + batch + b"".join(end(c) for c, _ in calls)
    run = produce(bootstrap_servers, topic, "-", "--key", "trace", text=text)
    assert run.returncode == 0, run.stderr
    messages = arrived(bootstrap_servers, topic)
    assert len(messages) == 200
    assert len({partition for partition, _, _ in messages}) == PARTITIONS
    begun: dict[str, tuple[int, str]] = {}
    for partition, key, value in messages:
        ((kind, event),) = json.loads(value).items()
        if kind == "start":
            assert key == event["trace_id"]
            begun[event["id"]] = (partition, key)
        else:
            assert begun[event["id"]] == (partition, key)


def test_a_bad_line_is_named(bootstrap_servers: str, topic: str) -> None:
    """The first bad line ends the run with status 1 and its number; only the lines before it are delivered."""
    text = start("a") + b"\n" + start("b") + b'{"start": {"id": 1}}\n' + start("c")
    run = produce(bootstrap_servers, topic, "-", text=text)
    assert run.returncode == 1
    assert b"line 4: is not an event" in run.stderr
    assert b"Traceback" not in run.stderr
    assert len(arrived(bootstrap_servers, topic)) == 2


@pytest.mark.apache_kafka
def test_a_message_that_the_broker_refuses(bootstrap_servers: str, topic: str) -> None:
    """A message over the broker's limit (1 MiB by default) is an undelivered one: status 1, with the reason."""
    noise = random.Random(1).randbytes(4_000_000).hex()  # it does not compress below the limit
    big = BEGUN + noise.encode() + b'"}}\n'
    run = produce(bootstrap_servers, topic, "-", text=start("a") + big)
    assert run.returncode == 1
    assert b"1 of 2 messages were not delivered: line 2: Broker: Message size too large (8000" in run.stderr


@pytest.mark.apache_kafka
def test_the_longest_line(bootstrap_servers: str, topic: str, tmp_path: Path) -> None:
    """A line of the largest message is sent; with one byte more it is refused by its number, and not read further."""
    create_topic(bootstrap_servers, topic + "-large", 1, {"max.message.bytes": str(LINE_BYTES_MAX)})
    path = tmp_path / "events.jsonl"
    begun, ended = BEGUN, b'"}}'
    largest = begun.ljust(LINE_BYTES_MAX - 1 - len(ended) - len(b"p"), b"x") + ended  # a key counts too
    path.write_bytes(start("a") + largest + b"\n")
    run = produce(bootstrap_servers, topic + "-large", str(path))
    assert (run.returncode, run.stderr[-200:]) == (0, b"")
    assert run.stdout.startswith(b"2 messages (67.1 MB)")
    path.write_bytes(start("a") + b"x" * (LINE_BYTES_MAX + 1) + b"\n")
    run = produce(bootstrap_servers, topic + "-large", str(path))
    assert run.returncode == 1
    assert b"line 2: is longer than 67,108,865 bytes (1 messages before it were delivered)" in run.stderr


def test_no_broker_and_no_topic(bootstrap_servers: str) -> None:
    """A run without a broker, or without the topic, ends with one sentence that names what is missing."""
    run = produce(bootstrap_servers, "no-such-topic", "-", text=start("a"))
    assert run.returncode == 1
    assert b"'no-such-topic' does not exist" in run.stderr
    run = produce("127.0.0.1:1", "calls", "-", text=start("a"))
    assert run.returncode == 1
    assert b"no Kafka broker answers at 127.0.0.1:1 (CALLMETER_KAFKA__BOOTSTRAP_SERVERS)" in run.stderr
    assert b"Traceback" not in run.stderr
