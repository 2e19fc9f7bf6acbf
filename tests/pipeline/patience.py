"""Waiting for what other processes do: as short as possible, never for ever."""

import time
from collections.abc import Callable

POLL_S = 0.01


def wait_until(condition: Callable[[], bool], timeout_s: float, poll_s: float = POLL_S) -> bool:
    """Return as soon as `condition()` holds; whether it did within `timeout_s`."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(poll_s)
    return True
