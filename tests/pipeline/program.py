"""A `callmeter` command as a process of its own, with its settings, its log and its exit status."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from callmeter.local.child_process import STOP_TIMEOUT_S, ChildFailed, ChildProcess
from tests.pipeline.patience import wait_until
from tests.servers.clustered import with_cluster

START_TIMEOUT_S = 60.0


class Program(ChildProcess):
    """`callmeter <command>` with these settings and no others (`{"KAFKA__TOPICS": ...}`), in this `environment`."""

    def __init__(
        self,
        command: str,
        settings: Mapping[str, str],
        log_path: Path,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        env = shutil.which("env")
        assert env is not None
        assignments = [f"CALLMETER_{name}={value}" for name, value in with_cluster(settings).items()]
        assignments += [f"{name}={value}" for name, value in (environment or {}).items()]
        run = [sys.executable, "-m", "callmeter", command, *options]
        super().__init__(command, [env, "-i", f"PATH={os.environ['PATH']}", *assignments, *run], log_path)

    def terminate(self) -> int:
        """Ask it to end, and wait; its exit status."""
        return self.end_by(signal.SIGTERM)

    def end_by(self, number: int) -> int:
        """Send it a signal, and wait; its exit status."""
        self.signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it ends; its exit status."""
        assert self._process is not None
        exit_status = self._process.wait(STOP_TIMEOUT_S)
        self._process = None
        return exit_status

    def signal(self, number: int) -> None:
        """Send it a signal, and do not wait for what becomes of it."""
        assert self._process is not None
        self._process.send_signal(number)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Returns the program's log lines of this event so far, over all its runs."""
        found = []
        for text in self.log_path.read_text().splitlines() if self.log_path.exists() else []:
            try:
                line = json.loads(text)
            except ValueError:
                continue  # a line that is being written, or a traceback
            if line["event"] == event:
                found.append(line)
        return found

    def log(self) -> str:
        """All it said, over all its runs."""
        return self.log_path.read_text()

    def launch(self) -> None:
        """Start, and do not wait for what becomes of it."""
        self._spawn()

    def start_until_logged(self, event: str) -> None:
        """Start, and return when it logs `event` (once more)."""
        before = len(self.logged(event))
        self.start(lambda: len(self.logged(event)) > before, START_TIMEOUT_S)

    def wait_until(self, condition: Callable[[], bool], what: str, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return when `condition()` holds; raises ChildFailed with its log when that takes too long, or it ends."""

        def holds() -> bool:
            if not self.running:
                raise ChildFailed(f"the {self.name} ended by itself{self._log_tail()}")
            return condition()

        if not wait_until(holds, timeout_s):
            raise ChildFailed(f"not within {timeout_s:g} s: {what}{self._log_tail()}")

    def wait_until_logged(self, event: str, times: int = 1) -> None:
        """Return when it has logged `event` so often, over all its runs."""
        self.wait_until(lambda: len(self.logged(event)) >= times, f"{event!r} logged {times} times")
