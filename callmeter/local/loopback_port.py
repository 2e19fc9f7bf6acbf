"""Finds a free TCP port of the loopback interface for a child process to listen on."""

import random
import socket
import threading

LOOPBACK = "127.0.0.1"

# Below the ephemeral ranges (Linux from 32768, macOS from 49152): a client that retries while the server is down
# could otherwise be given the server's own port as its source port, connect to itself and keep the port taken.
FIRST_PORT = 15_000
LAST_PORT = 32_000
ATTEMPTS_MAX = 100
# Ports that one process hands out before it begins anew: no run starts as many servers at once.
HANDED_OUT_MAX = (LAST_PORT - FIRST_PORT) // 2

# A port of a server that has not started yet is free and yet not to be had. The generator of the operating system:
# two processes that seeded their own alike, as tests do, would draw the same ports.
_DRAW = random.SystemRandom()
_HANDED_OUT: set[int] = set()
_LOCK = threading.Lock()


def free_loopback_port() -> int:
    """A port that nothing listens on now, and that this process has not been given before.

    Raises `OSError` when `ATTEMPTS_MAX` random ones were all taken.
    """
    with _LOCK:
        if len(_HANDED_OUT) >= HANDED_OUT_MAX:
            _HANDED_OUT.clear()
        for _ in range(ATTEMPTS_MAX):
            port = _DRAW.randint(FIRST_PORT, LAST_PORT)
            if port not in _HANDED_OUT and _is_free(port):
                _HANDED_OUT.add(port)
                return port
    raise OSError(f"no free port on {LOOPBACK} in {ATTEMPTS_MAX} attempts from {FIRST_PORT} to {LAST_PORT}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
