"""A real Prometheus as a process of a test, with a configuration of its own, until the block is left."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from tests.pipeline.patience import wait_until

START_TIMEOUT_S = 60.0


@contextmanager
def prometheus(directory: Path, configuration: Mapping[str, Any], *options: str) -> Iterator[str]:
    """Debian's; gives its address once it is ready."""
    port = free_loopback_port()
    (directory / "prometheus.yml").write_text(json.dumps(configuration))
    command = ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/tsdb"]
    command += [f"--web.listen-address={LOOPBACK}:{port}", *options]
    with running(command, directory / "prometheus.log", f"http://{LOOPBACK}:{port}/-/ready"):
        yield f"http://{LOOPBACK}:{port}"


@contextmanager
def running(command: list[str], log_path: Path, ready_url: str) -> Iterator[None]:
    """A program that answers at an address once it is ready."""

    def ready() -> bool:
        try:
            return httpx.get(ready_url, timeout=2).status_code == 200
        except httpx.TransportError:
            return False

    with log_path.open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            assert wait_until(ready, START_TIMEOUT_S), log_path.read_text()
            yield
        finally:
            process.kill()
