"""Finds a free TCP port of the loopback interface for a child process to listen on."""

import random
import socket

LOOPBACK = "127.0.0.1"

# Below the ephemeral ranges (Linux from 32768, macOS from 49152): a client that retries while the server is down
# could otherwise be given the server's own port as its source port, connect to itself and keep the port taken.
FIRST_PORT = 15_000
LAST_PORT = 32_000
ATTEMPTS_MAX = 100


def free_loopback_port() -> int:
    """A port that nothing listens on now. Raises `OSError` when `ATTEMPTS_MAX` random ones were all taken."""
    for _ in range(ATTEMPTS_MAX):
        port = random.randint(FIRST_PORT, LAST_PORT)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port on {LOOPBACK} in {ATTEMPTS_MAX} attempts from {FIRST_PORT} to {LAST_PORT}")
