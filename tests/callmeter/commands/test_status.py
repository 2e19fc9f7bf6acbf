"""`callmeter worker` and `callmeter status` as programs, on a real Kafka and Redis."""

import io
import json
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from callmeter.commands.status import status_table, summary
from callmeter.local.loopback_port import free_loopback_port
from callmeter.stored_offsets import PartitionProgress
from tests.callmeter.commands.programs import NOW, callmeter, environment, lines, status, until, worker
from tests.pipeline.feed import Feed, Line
from tests.servers.kafka_server import create_topic
from tests.servers.redis_server import RedisServer


def complete(call: str, model: str) -> dict[str, Any]:
    """A call that has ended."""
    ids = {"project_id": "acme", "id": call, "op_name": "op", "started_at": NOW, "ended_at": NOW}
    return {"complete": ids | {"summary": {"usage": {model: {"prompt_tokens": 1}}}}}


def test_status_counts_what_was_folded(bootstrap_servers: str, redis_url: str, tmp_path: Path) -> None:
    """Lag falls to 0 once a worker runs; calls, duplicates, dead letters and unpriced are counted."""
    topic = f"status-{uuid.uuid4().hex}"
    create_topic(bootstrap_servers, topic, 2)
    port = free_loopback_port()
    variables = environment(bootstrap_servers, redis_url, topic) | {"CALLMETER_METRICS__PORT": str(port)}
    first, second = complete("call-1", "gpt-4o"), complete("call-2", "nobodys-model")
    invalid = {"start": {"project_id": "acme", "id": "call-3", "op_name": "op", "started_at": "yesterday"}}
    callmeter(variables, "produce", "-", text=lines(first, second, first, first))
    Feed(bootstrap_servers, topic).send([Line("acme", json.dumps(invalid).encode())])  # `produce` would not take it
    found = status(variables)
    assert (found["lag_messages"], found["as_of"], found["calls"]) == (5, None, 0)
    with worker(variables, tmp_path / "worker.log"):
        until(lambda: status(variables)["lag_messages"] == 0)
        # Of a topic whose times are the producers', a worker knows how far it is when it has met the end.
        until(lambda: status(variables)["as_of"] is not None)
        found = status(variables)
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert [found[name] for name in ("calls", "dead_letters", "unpriced")] == [2, 1, 1]
    assert re.findall(r"^callmeter_invalid_events_total{.*} .*", metrics, re.MULTILINE) == [
        'callmeter_invalid_events_total{reason="timestamp"} 1.0'
    ]
    assert found["warnings"] == []  # `produce` keys what it sends
    assert re.search(r'^callmeter_redis_used_bytes{node=".*"} [1-9]', metrics, re.MULTILINE)
    assert found["duplicates"] > 0
    assert found["as_of"] >= NOW.replace("+00:00", "Z")
    assert [row["log_ends"] - row["lag_messages"] for row in found["partitions"]].count(5) == 1
    assert "together" in callmeter(variables, "status")


def test_a_topic_that_does_not_exist_yet(bootstrap_servers: str, redis_url: str, tmp_path: Path) -> None:
    """The worker waits for its topic and says so, and reads it when it is there; status names it meanwhile."""
    topic = f"late-{uuid.uuid4().hex}"
    variables, log = environment(bootstrap_servers, redis_url, topic), tmp_path / "worker.log"
    with worker(variables, log):
        until(lambda: "waiting for a topic that does not exist yet" in log.read_text())
        assert status(variables)["missing_topics"] == [topic]
        create_topic(bootstrap_servers, topic, 1)
        callmeter(variables, "produce", "-", text=lines(complete("call-1", "gpt-4o")))
        until(lambda: status(variables)["calls"] == 1)
    assert all(json.loads(line)["event"] for line in log.read_text().splitlines())


@pytest.mark.parametrize("kept", [False, True])
def test_redis_that_keeps_nothing(bootstrap_servers: str, tmp_path: Path, kept: bool) -> None:
    """A worker says at its start that a restart of Redis would lose things, where it would."""
    topic, log = f"volatile-{uuid.uuid4().hex}", tmp_path / "worker.log"
    create_topic(bootstrap_servers, topic, 1)
    server = RedisServer(tmp_path / "redis", appendonly=kept)
    server.start()
    variables = environment(bootstrap_servers, server.url, topic)
    callmeter(variables, "produce", "-", text=lines(complete("call-1", "gpt-4o")))
    with worker(variables, log):
        until(lambda: status(variables)["calls"] == 1)
    assert log.read_text().count("keeps nothing on disk") == int(not kept)
    server.stop()


def test_redis_that_is_not_there_yet(bootstrap_servers: str, tmp_path: Path) -> None:
    """The worker waits for Redis and says so, without a traceback, and folds when it is there."""
    topic, port = f"early-{uuid.uuid4().hex}", free_loopback_port()
    create_topic(bootstrap_servers, topic, 1)
    variables, log = environment(bootstrap_servers, f"redis://127.0.0.1:{port}/0", topic), tmp_path / "worker.log"
    callmeter(variables, "produce", "-", text=lines(complete("call-1", "gpt-4o")))
    server = RedisServer(tmp_path / "redis", port)
    with worker(variables, log):
        until(lambda: "waiting for Redis" in log.read_text())
        server.start()
        until(lambda: status(variables)["calls"] == 1)
    server.stop()
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"CALLMETER_REDIS__URL": "redis://:hunter2@127.0.0.1:1/0"}, "no Redis answers at redis://:***@127.0.0.1:1/0"),
        ({"CALLMETER_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1"}, "no Kafka broker answers at 127.0.0.1:1"),
    ],
)
def test_what_does_not_answer_is_named(
    bootstrap_servers: str, redis_url: str, wrong: dict[str, str], sentence: str
) -> None:
    """Status ends with status 1 and one sentence that names the variable where Redis or Kafka does not answer."""
    variables = environment(bootstrap_servers, redis_url, "calls") | wrong
    command = [sys.executable, "-m", "callmeter", "status"]
    run = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=60, check=False)
    assert run.returncode == 1
    assert sentence in run.stderr
    assert next(iter(wrong)) in run.stderr
    assert "Traceback" not in run.stderr


def progress(
    partition: int, log_begins: int, log_ends: int, next_offset: int | None, **fields: int
) -> PartitionProgress:
    return PartitionProgress("calls", partition, log_begins, log_ends, next_offset, fields)


def test_sums() -> None:
    """The whole is the sum of the partitions, as of the earliest of them; an empty partition does not count there."""
    found = summary(
        [
            progress(0, 0, 100, 90, as_of_us=2_000_000, calls=40, duplicates=3),
            progress(1, 10, 50, 50, as_of_us=1_000_001, calls=2, dead_letters=1, unpriced=7),
            progress(2, 0, 0, None),
        ],
        ("calls", "other"),
    )
    assert found["lag_messages"] == 10
    assert found["as_of"] == "1970-01-01T00:00:01.000001Z"
    assert [found[name] for name in ("calls", "duplicates", "dead_letters", "unpriced")] == [42, 3, 1, 7]
    assert found["missing_topics"] == ["other"]
    assert [row["lag_messages"] for row in found["partitions"]] == [10, 0, 0]


def test_what_producers_do_wrong_is_said() -> None:
    """Messages without a key are told where a topic has several partitions, a short roll-up with its example."""
    fine = progress(0, 0, 9, 9, messages_without_key=9)
    assert summary([fine], ("calls",))["warnings"] == []
    short = progress(1, 0, 9, 9, rollups_short=2)._replace(short_rollup="acme/agents call\x1b-1")
    said = summary([fine, short], ("calls",))["warnings"]
    assert len(said) == 2
    assert "2 calls state less" in said[0]
    assert "acme/agents call\\x1b-1 (project, id)" in said[0]
    assert "9 messages of calls have no key" in said[1]


def test_a_partition_that_was_never_read() -> None:
    """The lag of a partition that was never read is what its log holds, and the whole has no as-of time: part of it is
    unknown."""
    found = summary([progress(0, 0, 5, 5, as_of_us=1), progress(1, 10, 50, None)], ("calls",))
    assert (found["lag_messages"], found["as_of"]) == (40, None)


def test_the_table_fits_80_columns() -> None:
    """The table fits 80 columns with a long topic, large counters and every column: no number is cut, and instants are
    ages."""
    counters = {"calls": 123_456_789, "duplicates": 12_345_678, "dead_letters": 1_234, "offsets_lost": 9, "unpriced": 7}
    rows = [progress(0, 0, 10**9, 10**9 - 123_456, as_of_us=1_000_000_000_000, **counters)]
    found = summary([row._replace(topic="events-of-all-agents-in-production-eu-west-1") for row in rows], ("calls",))
    printed = io.StringIO()
    Console(file=printed, width=80).print(status_table(found, 1_000_123.4, 80))
    lines = printed.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if "123M" in line and "events" in line)
    for number in ("123k", "2 min ago", "123M", "12.3M", "1,234"):
        assert number in row, (number, row)
