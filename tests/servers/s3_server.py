"""A server of S3's protocol for tests: moto's, a process of its own, in memory."""

import sys
import urllib.error
import urllib.request
from pathlib import Path

from callmeter.local.child_process import ChildProcess
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port

START_TIMEOUT_S = 30.0
BUCKET = "segments"


class S3Server:
    """The server; with one bucket once it has started."""

    def __init__(self, directory: Path) -> None:
        self.port = free_loopback_port()
        command = [sys.executable, "-m", "moto.server", "-H", LOOPBACK, "-p", str(self.port)]
        self._child = ChildProcess("S3", command, directory / "s3.log")

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

    def start(self) -> None:
        """Return when it answers and the bucket is there, which is empty."""
        self._child.start(self._answers, START_TIMEOUT_S)
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}/{BUCKET}", method="PUT"), timeout=10).close()

    def kill(self) -> None:
        """Kills the server, with all it held."""
        self._child.kill()

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint}/moto-api/", timeout=1).close()
        except urllib.error.HTTPError:
            return True
        except OSError:
            return False
        return True
