"""Processes that are kept running: told to stop at any time, all of them do, in good order."""

import subprocess
import sys

import pytest

TIMEOUT_S = 60
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
    logged = supervised("lambda crew: 1 / 0", "2.5").stderr
    assert 4 <= logged.count("ZeroDivisionError") <= 8
