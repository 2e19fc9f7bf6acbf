"""Broker, Redis, worker and api as child processes on loopback: started in order, watched, ended in order."""

import fcntl
import json
import os
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from aggregator.store.connection import connect
from aggregator.store.shard_store import StoreAway
from callmeter.local.child_process import ChildFailed, ChildProcess
from callmeter.local.embedded_broker import EmbeddedBroker
from callmeter.local.embedded_redis import EmbeddedRedis
from callmeter.local.loopback_port import LOOPBACK
from callmeter.settings import Settings
from callmeter.stored_offsets import partition_progress, rewind

# So many workers could share the work. A topic made anew has as many as before: keys stay where they were.
PARTITIONS = 4
TOPIC_TIMEOUT_S = 10.0
START_TIMEOUT_S = 30.0
# What is in the broker when it stops is lost with it; so much time the worker gets to fold it before.
DRAIN_TIMEOUT_S = 10.0
DRAIN_POLL_S = 0.2
LOG_TAIL_LINES = 15
LOG_TAIL_BYTES = 64_000

Report = Callable[[str], None]


class Processes:
    """The four processes with their data and logs in `directory`, one at a time for a directory.

    Raises ChildFailed when one cannot be started, and when `check` finds that one has died.
    """

    def __init__(self, directory: Path, settings: Settings, api_port: int, kafka_port: int, redis_port: int) -> None:
        self.directory = directory
        self.topics = settings.kafka.topics
        self.namespace = settings.redis.namespace
        self.redis = EmbeddedRedis(directory / "redis", redis_port)
        self.broker = EmbeddedBroker(directory / "broker", kafka_port)
        self.api_url = f"http://{LOOPBACK}:{api_port}"
        # Safe path (-P): a directory with somebody's own api/ or ingest/ in it must not be imported for ours.
        command = [sys.executable, "-P", "-m", "callmeter"]
        self._worker = ChildProcess("the worker", [*command, "worker"], directory / "worker.log")
        self._api = ChildProcess("the api", [*command, "api", "--gateway"], directory / "api.log")
        self._logs: dict[str, tuple[EmbeddedRedis | EmbeddedBroker | ChildProcess, Path]] = {
            "Redis": (self.redis, directory / "redis" / "redis.log"),
            "the broker": (self.broker, directory / "broker" / "broker.log"),
            "the worker": (self._worker, directory / "worker.log"),
            "the api": (self._api, directory / "api.log"),
        }
        self._environment = {
            "CALLMETER_KAFKA__BOOTSTRAP_SERVERS": self.broker.address,
            "CALLMETER_KAFKA__EXTRA": "{}",
            "CALLMETER_REDIS__URL": self.redis.url,
            "CALLMETER_REDIS__CLUSTER": "false",
            "CALLMETER_API__HOST": LOOPBACK,
            "CALLMETER_API__PORT": str(api_port),
            "CALLMETER_API__AUTH": "false",
            "CALLMETER_API__WORKERS": "1",
            # Beside Redis, which points into it: they are kept, or thrown away, together.
            "CALLMETER_SEGMENTS__URL": settings.segments.url or (directory / "segments").as_uri(),
            "CALLMETER_LOG__LEVEL": "info",
        }
        self._client = connect(self.redis.url)
        self._lock: TextIO | None = None

    def start(self, report: Report) -> None:
        """Start all and return when the worker reads and the api answers; `report` is told what comes next."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as refused:
            raise ChildFailed(
                f"{self.directory} cannot be made ({refused.strerror}); choose another --data-dir"
            ) from None
        self._lock = _locked(self.directory / "lock")
        report("starting Redis")
        self.redis.start()
        report("starting the Kafka broker")
        self.broker.start()
        _create_topics(self.broker.address, self.topics)
        rewind(self._client, self.namespace)
        os.environ.update(self._environment)  # children take the settings from this process
        report("starting the worker")
        log_begin = _size(self._worker.log_path)
        self._worker.start(lambda: b"partition assigned" in _text(self._worker.log_path, log_begin), START_TIMEOUT_S)
        report("starting the api")
        self._api.start(lambda: _is_ready(self.api_url), START_TIMEOUT_S)

    def check(self) -> None:
        """Raise ChildFailed, with its last log lines, when one of the processes has ended."""
        for name, (process, log_path) in self._logs.items():
            if not process.running:
                raise ChildFailed(f"{name} ended by itself; the end of {log_path}:\n{_tail(log_path)}")

    def lag_messages(self) -> int:
        """Messages in the broker that are not folded yet. Raises OSError when it cannot be known."""
        try:
            progress = partition_progress(self._client, self.namespace, self.broker.address, self.topics)
        except (KafkaException, *StoreAway) as away:
            raise OSError(str(away)) from away
        return sum(partition.lag_messages for partition in progress)

    def stop(self, report: Report, keep_state: bool) -> None:
        """End all in order; to `keep_state`, what the broker holds is folded first, since it is gone with it."""
        self._api.stop()
        if keep_state and self._worker.running and self.broker.running and self.redis.running:
            self._drain(report)
        self._worker.stop()
        self.broker.kill()  # it has nothing to tidy up, and in good order it waits seconds for its clients to go
        self.redis.stop()
        if self._lock is not None:
            self._lock.close()

    def _drain(self, report: Report) -> None:
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        try:
            while (left := self.lag_messages()) and time.monotonic() < deadline and self._worker.running:
                report(f"folding the last {left} messages")
                time.sleep(DRAIN_POLL_S)
        except OSError:
            return


def _unwritable(directory: Path, refused: OSError) -> ChildFailed:
    return ChildFailed(f"{directory} cannot be written ({refused.strerror}); choose another --data-dir")


def _locked(path: Path) -> TextIO:
    """The lock file, held until it is closed. Raises ChildFailed when another process holds it."""
    try:
        lock = path.open("w")
    except OSError as refused:
        raise _unwritable(path.parent, refused) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise ChildFailed(f"{path.parent} is in use by another `callmeter up`; choose another --data-dir") from None
    return lock


def _create_topics(bootstrap_servers: str, topics: tuple[str, ...]) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    made = admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics], operation_timeout=TOPIC_TIMEOUT_S)
    for topic in topics:
        made[topic].result(TOPIC_TIMEOUT_S)


def _is_ready(api_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{api_url}/ready", timeout=1) as response:
            return bool(json.load(response)["status"] == "ok")
    except (OSError, ValueError):
        return False


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _text(path: Path, begin: int) -> bytes:
    with path.open("rb") as log:
        log.seek(begin)
        return log.read()


def _tail(path: Path) -> str:
    lines = _text(path, max(0, _size(path) - LOG_TAIL_BYTES)).decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LOG_TAIL_LINES:])
