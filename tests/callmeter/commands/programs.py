"""The commands and a worker as programs, as an operator runs them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.servers.clustered import with_cluster

TIMEOUT_S = 60.0
NOW = datetime.now(UTC).isoformat()


def environment(bootstrap_servers: str, redis_url: str, topic: str) -> dict[str, str]:
    """Returns what an operator sets."""
    settings = {
        "KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
        "KAFKA__TOPICS": topic,
        "KAFKA__GROUP_ID": topic,
        "REDIS__URL": redis_url,
    }
    return {f"CALLMETER_{name}": text for name, text in with_cluster(settings).items()} | {"PATH": os.environ["PATH"]}


@contextmanager
def worker(variables: dict[str, str], log_path: Path) -> Iterator[None]:
    """A worker, which on SIGTERM ends with status 0."""
    with log_path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "callmeter", "worker"], stderr=log, env=variables)
    try:
        yield
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()


def callmeter(variables: dict[str, str], *arguments: str, text: str = "") -> str:
    """Runs the program, which must end well, and returns what it prints."""
    command = [sys.executable, "-m", "callmeter", *arguments]
    run = subprocess.run(command, input=text, capture_output=True, text=True, env=variables, timeout=60, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it; fail when it takes too long."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def status(variables: dict[str, str]) -> dict[str, Any]:
    """Returns what `callmeter status --json` says."""
    found: dict[str, Any] = json.loads(callmeter(variables, "status", "--json"))
    return found


def lines(*events: dict[str, Any]) -> str:
    """Events as `callmeter produce` reads them."""
    return "".join(json.dumps(event) + "\n" for event in events)
