"""Where benchmarks happen: a broker, a Redis, and callmeter's own processes on them, in a directory that is then gone.

The broker is Apache Kafka where its jars are (`make servers`), else the embedded one.
"""

import json
import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import redis

from aggregator.layout.keys import ShardKeys, ShardName, stored_offset
from bench.scale import tell, watched
from callmeter.local.embedded_broker import EmbeddedBroker
from callmeter.local.embedded_redis import EmbeddedRedis
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from ingest.kafka.producer import EventProducer
from ingest.kafka.watermarks import watermarks
from tests.pipeline.program import START_TIMEOUT_S, Program
from tests.servers.kafka_server import JARS, KafkaServer, create_topic

POLL_S = 0.01
PRODUCED_PER_LOOK = 1_000
RETENTION_SETTINGS = {"RETENTION__CALLS": "32d", "RETENTION__MINUTES": "32d"}
LOG_TAIL_CHARACTERS = 1_500

Ends = dict[int, int]
"""By partition, the offset after its last message."""


class Stage:
    """A context manager. `broker=False`: Redis only. `redis_options` are options of the Redis server."""

    def __init__(self, broker: bool = True, redis_options: Sequence[str] = ()) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="callmeter-bench-"))
        self.redis_server = EmbeddedRedis(self.directory / "redis", extra_args=redis_options)
        self._broker = _broker(self.directory / "broker") if broker else None
        self._programs: list[Program] = []

    def __enter__(self) -> "Stage":
        self.redis_server.start()
        if self._broker is not None:
            tell(f"starting {type(self._broker).__name__}")
            self._broker.start()
        self.redis = redis.Redis.from_url(self.redis_server.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        for program in self._programs:
            if raised is not None and program.running:
                tell(f"{program.name} logged last:\n{program.log()[-LOG_TAIL_CHARACTERS:]}")
            program.kill()
        self.redis.close()
        if self._broker is not None:
            self._broker.kill()
        self.redis_server.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def bootstrap_servers(self) -> str:
        assert self._broker is not None
        return self._broker.bootstrap_servers

    def new_topic(self, partitions: int = 1) -> str:
        """A topic of its own, still empty."""
        topic = f"bench-{uuid.uuid4().hex[:8]}"
        create_topic(self.bootstrap_servers, topic, partitions)
        return topic

    def fill(self, topic: str, lines: Iterable[bytes], events: int, what: str = "producing") -> Ends:
        """Produce the generator's lines; where the topic then ends."""
        with EventProducer(self.bootstrap_servers) as producer:
            for count, line in enumerate(watched(lines, events, what)):
                key, value = key_and_value(line)
                producer.produce(topic, key, value)
                if count % PRODUCED_PER_LOOK == 0:
                    producer.poll()
        return self.ends(topic)

    def ends(self, topic: str) -> Ends:
        return {partition: high for partition, (_, high) in watermarks(self.bootstrap_servers, topic).items()}

    def worker(self, topic: str, **settings: str) -> Program:
        """A worker for the topic that is not started yet; its keys begin with the topic's name."""
        settings = {
            "KAFKA__BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "KAFKA__TOPICS": topic,
            "KAFKA__GROUP_ID": topic,
            "KAFKA__EXTRA": json.dumps({"topic.metadata.refresh.interval.ms": 500}),
            "REDIS__URL": self.redis_server.url,
            "REDIS__NAMESPACE": topic,
            **RETENTION_SETTINGS,
            **settings,
        }
        return self._program("worker", settings)

    def api(self, namespace: str, **settings: str) -> tuple[Program, str]:
        """An api that answers, and its `host:port`."""
        port = free_loopback_port()
        program = self._program(
            "api",
            {
                "REDIS__URL": self.redis_server.url,
                "REDIS__NAMESPACE": namespace,
                "API__AUTH": "false",
                "API__WORKERS": "1",
                "API__PORT": str(port),
                **RETENTION_SETTINGS,
                **settings,
            },
        )
        program.start(lambda: _listens(port), START_TIMEOUT_S)
        return program, f"{LOOPBACK}:{port}"

    def next_offsets(self, topic: str, partitions: Iterable[int]) -> Ends:
        """How far each shard is."""
        wanted = list(partitions)
        stored: Any = self.redis.mget([ShardKeys(ShardName(topic, topic, partition)).next for partition in wanted])
        return {partition: stored_offset(offset) or 0 for partition, offset in zip(wanted, stored, strict=True)}

    def forget(self, topic: str, program: Program) -> None:
        """End a worker and drop all it has written; the next one begins at the beginning of the topic."""
        program.stop()
        self.redis.flushall()

    def _program(self, command: str, settings: dict[str, str]) -> Program:
        program = Program(command, settings, self.directory / f"{command}-{len(self._programs)}.log")
        self._programs.append(program)
        return program


def key_and_value(line: bytes) -> tuple[bytes, bytes]:
    """The key and the value of a generator's line, without reading its JSON."""
    end = line.index(b'","value":', 8)
    return line[8:end], line[end + 10 : -2]


def cpu_s(pid: int) -> float:
    """Processor time of a process so far, in user and system, in seconds. Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Resident memory of a process. Linux only."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def pause() -> None:
    """Between two looks at what another process does."""
    time.sleep(POLL_S)


def _broker(directory: Path) -> KafkaServer | EmbeddedBroker:
    if shutil.which("java") and any(JARS.glob("*.jar")):
        directory.mkdir(parents=True)
        return KafkaServer(directory)
    return EmbeddedBroker(directory)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
