"""A server of S3's protocol for tests: moto's, a process of its own, in memory or with a journal."""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Literal

from callmeter.local.child_process import ChildProcess
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from tests.servers.s3_process import ORDER

START_TIMEOUT_S = 30.0
BUCKET = "segments"


class S3Server:
    """The server; with one bucket once it has started. `keeps`: it has all of it again when it starts again."""

    def __init__(self, directory: Path, keeps: bool = False) -> None:
        self.port = free_loopback_port()
        self._order, self._keeps = directory / ORDER, keeps
        of_module = ["moto.server", "-H", LOOPBACK, "-p"]
        command = (
            ["tests.servers.s3_process", str(self.port), str(directory)] if keeps else [*of_module, str(self.port)]
        )
        self._child = ChildProcess("S3", [sys.executable, "-m", *command], directory / "s3.log")

    @property
    def endpoint(self) -> str:
        """The server's address."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """The bucket, as CALLMETER_SEGMENTS__URL names one."""
        return f"s3://{BUCKET}/callmeter"

    @property
    def environment(self) -> dict[str, str]:
        """Returns what a client of S3 has to find in its environment."""
        return {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }

    @property
    def pid(self) -> int | None:
        """The server's process id while started, else None."""
        return self._child.pid

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._child.running

    def kill_at_next_put(self, pid: int, when: Literal["before", "after"]) -> None:
        """Let a process (its own too) be killed at the next object: before it is kept, or before that is answered."""
        assert self._keeps
        whole = self._order.with_suffix(".new")
        whole.write_text(json.dumps({"kill": pid, "when": when}))
        os.replace(whole, self._order)

    def forget_order(self) -> None:
        """Let nothing be killed."""
        self._order.unlink(missing_ok=True)

    def start(self) -> None:
        """Return when it answers and the bucket is there, which is empty at first."""
        self._child.start(self._answers, START_TIMEOUT_S)
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT"), timeout=10).close()

    def kill(self) -> None:
        """Kills the server, with all it held in memory."""
        self._child.kill()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=1).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True
