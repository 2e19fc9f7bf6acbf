"""What an operator types while the pipeline runs: a `callmeter` command with its status and its words."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

from tests.servers.clustered import with_cluster

COMMAND_TIMEOUT_S = 120


class Said(NamedTuple):
    """How a command ended."""

    status: int
    output: str
    errors: str

    def json(self) -> Any:
        """The output of `--json`."""
        return json.loads(self.output)


def operate(settings: Mapping[str, str], *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Said:
    """Run `callmeter <arguments>` with these settings and no others."""
    done = subprocess.run(
        [sys.executable, "-m", "callmeter", *arguments],
        env={f"CALLMETER_{name}": text for name, text in with_cluster(settings).items()} | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Said(done.returncode, done.stdout, done.stderr)
