"""The gateway in front of a real Kafka: SDKs send to it as they are, and it dies while they do."""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.pipeline.program import START_TIMEOUT_S, Program
from tests.scenarios.sdk_programs import PROJECT, SDKS, check_program
from tests.support.paths import ROOT

# A kill and a start take some seconds; CALLMETER_TEST_GATEWAY_KILLS=20 has been seen to pass.
KILLS = int(os.environ.get("CALLMETER_TEST_GATEWAY_KILLS", "4"))
STARTED = "2026-06-10T10:00:00Z"
# Redis drops by the time that it is what is past its retention, whatever the fixed clock says.
FOREVER = {f"RETENTION__{level}": "3650d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")}
SETTINGS = {"GATEWAY__AUTH": "false", "NOW": "2026-06-11T00:00:00Z", **FOREVER}
STATS = {
    "project_id": PROJECT,
    "start": "2026-06-10T00:00:00Z",
    "end": "2026-06-11T00:00:00Z",
    "granularity": 86_400,
    "call_metrics": [{"metric": "call_count"}],
    "usage_metrics": [{"metric": "total_tokens"}],
}


class GatewayProgram:
    """`callmeter gateway` as a process, on a port of its own."""

    def __init__(self, settings: dict[str, str], log_path: Path) -> None:
        self.port = free_loopback_port()
        self.url = f"http://{LOOPBACK}:{self.port}"
        self.program = Program("gateway", {**settings, "GATEWAY__PORT": str(self.port)}, log_path)

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.program.start(self.answers, START_TIMEOUT_S)

    def answers(self) -> bool:
        """Whether it does."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=1) as response:
                return bool(response.status == 200)
        except OSError:
            return False


@pytest.fixture
def pipeline(tmp_path: Path, bootstrap_servers: str, redis_url: str) -> Iterator[Pipeline]:
    """A topic with a worker that reads it."""
    with Pipeline(tmp_path, bootstrap_servers, redis_url, SETTINGS) as made:
        made.create_topic()
        yield made


@pytest.fixture
def gateway(pipeline: Pipeline, tmp_path: Path) -> Iterator[GatewayProgram]:
    """A gateway that writes to it."""
    started = GatewayProgram(dict(pipeline.settings), tmp_path / "gateway.log")
    started.start()
    yield started
    started.program.kill()


def complete(call_id: str) -> dict[str, Any]:
    """A call of 15 tokens."""
    return {
        "project_id": PROJECT,
        "id": call_id,
        "op_name": "op",
        "started_at": STARTED,
        "ended_at": "2026-06-10T10:00:01Z",
        "summary": {"usage": {"m": {"prompt_tokens": 10, "completion_tokens": 5}}},
    }


class Sender(threading.Thread):
    """Sends batches until told to stop, each again until it is acknowledged, as an SDK does."""

    def __init__(self, url: str, name: str) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self.refusals: set[int] = set()
        self.stopping = False
        self._url = f"{url}/v2/ent/proj/calls/complete"
        self._name = name

    def run(self) -> None:
        number = 0
        while not self.stopping:
            ids = [f"{self._name}-{number + n}" for n in range(10)]
            number += 10
            while not self._send(ids) and not self.stopping:
                time.sleep(0.02)

    def _send(self, ids: list[str]) -> bool:
        body = json.dumps({"batch": list(map(complete, ids))}).encode()
        try:
            with urllib.request.urlopen(urllib.request.Request(self._url, body), timeout=30) as response:
                assert response.status == 200
        except urllib.error.HTTPError as refused:
            self.refusals.add(refused.code)
            return False
        except OSError:
            return False
        self.acknowledged += ids
        return True


def have_sent(senders: list[Sender], calls: int) -> bool:
    """Whether so many calls have been acknowledged to them all together."""
    return sum(len(sender.acknowledged) for sender in senders) > calls


def test_killed_while_it_takes_events(pipeline: Pipeline, gateway: GatewayProgram) -> None:
    """Killed again and again in the middle of it: every acknowledged call is counted, once."""
    pipeline.start_worker()
    senders = [Sender(gateway.url, f"s{n}") for n in range(3)]
    for sender in senders:
        sender.start()
    for _ in range(KILLS):
        before = sum(len(sender.acknowledged) for sender in senders)
        assert wait_until(partial(have_sent, senders, before + 50), START_TIMEOUT_S)
        gateway.program.end_by(signal.SIGKILL)
        gateway.start()
    for sender in senders:
        sender.stopping = True
    for sender in senders:
        sender.join()
    assert {code for sender in senders for code in sender.refusals} <= {429, 503}
    acknowledged = [call_id for sender in senders for call_id in sender.acknowledged]
    assert len(acknowledged) == len(set(acknowledged)) > KILLS * 50
    api = pipeline.start_api()
    usage = {"project_id": PROJECT, "call_ids": acknowledged, "limit": len(acknowledged)}

    def counted_once() -> bool:
        answer = api.ask("/calls/usage", usage).json()["call_usage"]
        return all(answer[call_id].get("m", {}).get("total_tokens") == 15 for call_id in acknowledged)

    assert wait_until(counted_once, 60)
    # What was sent without an acknowledgement may have arrived; each such batch at most once more.
    calls = api.ask("/calls/stats", STATS).json()["call_buckets"][0]["count"]
    assert len(acknowledged) <= calls <= len(acknowledged) + 10 * len(senders)


NODE_MODULES = ROOT / ".servers" / "sdks" / "node_modules"
PYTHON = [sys.executable, str(SDKS / "weave_program.py")]
NODE = ["node", str(SDKS / "weave_program.cjs")]
needs_npm = pytest.mark.skipif(not NODE_MODULES.exists(), reason="`make sdks` installs what npm has")


@pytest.mark.parametrize("program", [PYTHON, pytest.param(NODE, marks=needs_npm)], ids=["Python", "TypeScript"])
def test_weave(tmp_path: Path, bootstrap_servers: str, redis_url: str, program: list[str]) -> None:
    """The unmodified SDKs at our address, the api's own: nested ops, a client's answer, an exception, threads."""
    with Pipeline(tmp_path, bootstrap_servers, redis_url, {}) as pipeline:
        pipeline.create_topic()
        pipeline.start_worker()
        api = pipeline.api(gateway=True)
        api.start()
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "WANDB_API_KEY": "any",
            "WANDB_BASE_URL": f"http://{LOOPBACK}:{api.port}",
            "WF_TRACE_SERVER_URL": f"http://{LOOPBACK}:{api.port}",
            "WANDB_ERROR_REPORTING": "false",
            "NODE_PATH": str(NODE_MODULES),
        }
        ran = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stderr
        check_program(api, json.loads(ran.stdout.splitlines()[-1]))


def test_opentelemetry_for_python(tmp_path: Path, bootstrap_servers: str, redis_url: str) -> None:
    """OpenTelemetry's SDK and exporter as they are: agents that repeat what their models used count it once."""
    with Pipeline(tmp_path, bootstrap_servers, redis_url, {}) as pipeline:
        pipeline.create_topic()
        pipeline.start_worker()
        api = pipeline.api(gateway=True)
        api.start()
        program = [sys.executable, str(SDKS / "otel_program.py"), f"http://{LOOPBACK}:{api.port}/v1/traces"]
        ran = subprocess.run(program, capture_output=True, text=True, timeout=120, check=True)
        check_program(api, json.loads(ran.stdout.splitlines()[-1]))


def test_one_address_with_keys(tmp_path: Path, bootstrap_servers: str, redis_url: str) -> None:
    """A key of scope `write` sends and may not ask, one of scope `read` asks and may not send, on one address."""
    with Pipeline(tmp_path, bootstrap_servers, redis_url, SETTINGS | {"API__AUTH": "true"}) as pipeline:
        pipeline.create_topic()
        pipeline.start_worker()
        environment = {f"CALLMETER_{name}": value for name, value in pipeline.settings.items()}
        keys = {}
        for scope in ("read", "write"):
            create = [sys.executable, "-m", "callmeter", "keys", "create", "--name", scope, "--project", PROJECT]
            run = subprocess.run([*create, "--scope", scope], env=environment, stdout=subprocess.PIPE, check=True)
            keys[scope] = run.stdout.decode().strip()
        api = pipeline.api(gateway=True)
        api.start()
        batch = json.dumps({"batch": [complete("c1")]}).encode()
        question = json.dumps(STATS).encode()
        statuses = {
            (scope, path): _post(f"http://{LOOPBACK}:{api.port}{path}", body, keys[scope])
            for scope in keys
            for path, body in (("/v2/ent/proj/calls/complete", batch), ("/calls/stats", question))
        }
        assert statuses == {
            ("read", "/v2/ent/proj/calls/complete"): 403,
            ("read", "/calls/stats"): 200,
            ("write", "/v2/ent/proj/calls/complete"): 200,
            ("write", "/calls/stats"): 403,
        }


def _post(url: str, body: bytes, key: str) -> int:
    basic = base64.b64encode(f"api:{key}".encode()).decode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, {"Authorization": f"Basic {basic}"})) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        return refused.code
