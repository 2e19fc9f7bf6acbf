"""Processes that are kept running: told to stop at any time, all of them do, in good order."""

import signal
import subprocess
import sys
import time

import pytest

from callmeter.supervision import PAUSE_S_MIN

TIMEOUT_S = 60
PROCESSES = 2
PROGRAM = """
import os, signal, sys, time
from callmeter.supervision import supervise
signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))
print(supervise([{run}] * 2))
"""


def supervised(run: str, after_s: str) -> "subprocess.CompletedProcess[str]":
    """Two of them, told to stop after that."""
    program = [sys.executable, "-c", PROGRAM.format(run=run), after_s]
    return subprocess.run(program, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)


@pytest.mark.parametrize("after_s", ["0.001", "0.5"])
def test_told_to_stop(after_s: str) -> None:
    """Processes that are told to stop do, also those that have not begun yet."""
    assert supervised("lambda crew: time.sleep(600)", after_s).stdout.split() == ["True"]


def test_those_that_fail_are_started_again_and_again() -> None:
    """Processes that fail are started again with pauses between, and each failure is logged with what it was."""
    failures = 0
    program = [sys.executable, "-c", PROGRAM.format(run="lambda crew: 1 / 0"), str(TIMEOUT_S)]
    began_s = time.monotonic()
    with subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            failures += line.startswith("ZeroDivisionError")
            if failures == 3 * PROCESSES:
                process.send_signal(signal.SIGTERM)
                break
        process.stderr.read()
    assert process.returncode == 0
    assert failures == 3 * PROCESSES
    assert time.monotonic() - began_s > 2 * PAUSE_S_MIN + 4 * PAUSE_S_MIN  # twice as long after each failure
