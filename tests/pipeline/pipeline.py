"""A topic, workers that fold it and an api that answers from it, all of their own."""

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import redis

from aggregator.layout.keys import SHORT_ROLLUP, ShardKeys, ShardName, stored_offset
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from tests.pipeline.feed import Feed, Line
from tests.pipeline.patience import wait_until
from tests.pipeline.program import START_TIMEOUT_S, Program
from tests.servers.kafka_server import create_topic, delete_topic
from tests.support.answers import differences

APPLY_TIMEOUT_S = 90.0
# A worker that was killed is taken for dead after a second (10 s otherwise); topics that appear are seen sooner.
KAFKA_EXTRA = {
    "session.timeout.ms": 1_500,
    "heartbeat.interval.ms": 300,
    "topic.metadata.refresh.interval.ms": 500,
}


class Pipeline:
    """Names of its own and an end to all processes when left; nothing runs that has not been asked for.

    `settings` are those of every process (`{"BATCH__MESSAGES_MAX": "1"}`); a worker may have more. `environment`: what
    else they find in theirs.
    """

    def __init__(
        self,
        directory: Path,
        bootstrap_servers: str,
        redis_url: str,
        settings: Mapping[str, str],
        partitions: int = 3,
        namespace: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.topic = f"calls-{uuid.uuid4().hex}"
        self.namespace = namespace or self.topic
        self.partitions = partitions
        self.bootstrap_servers = bootstrap_servers
        self.redis = redis.Redis.from_url(redis_url)
        self.feed = Feed(bootstrap_servers, self.topic)
        self.settings = {
            "KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
            "KAFKA__TOPICS": self.topic,
            "KAFKA__GROUP_ID": self.topic,
            "KAFKA__EXTRA": json.dumps(KAFKA_EXTRA),
            "REDIS__URL": redis_url,
            "REDIS__NAMESPACE": self.namespace,
            "API__AUTH": "false",
            **settings,
        }
        self.environment = environment or {}
        self._directory = directory
        self._programs: list[Program] = []
        self._apis: list[Api] = []

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *raised: type[BaseException] | BaseException | TracebackType | None) -> None:
        for program in self._programs:
            program.kill()
        for api in self._apis:
            api.stop()
        self.redis.close()

    def create_topic(self, config: dict[str, str] | None = None) -> None:
        """Make the topic."""
        create_topic(self.bootstrap_servers, self.topic, self.partitions, config)

    def delete_topic(self) -> None:
        """Delete the topic, and return when the broker has forgotten it."""
        delete_topic(self.bootstrap_servers, self.topic)

    def worker(self, **more: str) -> Program:
        """A worker that is not started yet."""
        log_path = self._directory / f"worker-{len(self._programs)}.log"
        program = Program("worker", self.settings | more, log_path, environment=self.environment)
        self._programs.append(program)
        return program

    def start_worker(self, **more: str) -> Program:
        """A worker that reads."""
        worker = self.worker(**more)
        worker.start_until_logged("worker started")
        return worker

    def start_workers(self, count: int) -> list[Program]:
        """Workers that read; they start at the same time."""
        workers = [self.worker() for _ in range(count)]
        for worker in workers:
            worker.launch()
        for worker in workers:
            worker.wait_until_logged("worker started")
        return workers

    def start_workers_and_api(self, count: int) -> "tuple[list[Program], Api]":
        """Workers that read and an api that answers; all start at the same time."""
        api = self.api()
        api.program.launch()
        workers = self.start_workers(count)
        api.wait_until_it_answers()
        return workers, api

    def api(self, gateway: bool = False) -> "Api":
        """An api that is not started yet; with the `gateway` on its address if so asked."""
        log_path, options = self._directory / f"api-{len(self._apis)}.log", ["--gateway"] if gateway else []
        api = Api(self.settings, log_path, options, self.environment)
        self._apis.append(api)
        return api

    def start_api(self) -> "Api":
        """An api that answers."""
        api = self.api()
        api.start()
        return api

    def produce(self, lines: Iterable[Line]) -> None:
        """Produce the lines; the topic has them on return."""
        self.feed.send(lines)

    def applied(self) -> dict[int, int]:
        """The next offset of each shard that has one, by partition."""
        stored: Any = self.redis.mget([self._keys(partition).next for partition in range(self.partitions)])
        offsets = enumerate(map(stored_offset, stored))
        return {partition: offset for partition, offset in offsets if offset is not None}

    def applied_messages(self) -> int:
        """Returns how many messages all shards have applied."""
        return sum(self.applied().values())

    def wait_until_applied(self, timeout_s: float = APPLY_TIMEOUT_S) -> None:
        """Return when the next offset of every shard is the end of what was produced."""
        for program in self._programs:
            if program.running:
                program.wait_until(self._all_applied, f"everything is applied: {self.feed.ends}", timeout_s)
                return
        assert wait_until(self._all_applied, timeout_s)

    def counters(self) -> Counter[str]:
        """The counters of all shards, summed up."""
        summed: Counter[str] = Counter()
        for partition in range(self.partitions):
            fields: dict[bytes, bytes] = self.redis.hgetall(self._keys(partition).shard)  # type: ignore[assignment]
            fields.pop(SHORT_ROLLUP.encode(), None)  # an example, no number
            summed.update({name.decode(): int(value) for name, value in fields.items()})
        return summed

    def _all_applied(self) -> bool:
        return self.applied() == self.feed.ends

    def _keys(self, partition: int) -> ShardKeys:
        return ShardKeys(ShardName(self.namespace, self.topic, partition))


class Api:
    """An api process, asked over HTTP."""

    def __init__(
        self,
        settings: Mapping[str, str],
        log_path: Path,
        options: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.port = free_loopback_port()
        settings = {"API__WORKERS": "1", **settings, "API__PORT": str(self.port)}
        self.program = Program("api", settings, log_path, options, environment)
        self._client = httpx.Client(base_url=f"http://{LOOPBACK}:{self.port}", timeout=60)

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.program.start(self._listens, START_TIMEOUT_S)

    def wait_until_it_answers(self) -> None:
        """Return when it answers, once it has been launched."""
        self.program.wait_until(self._listens, "the api answers")

    def stop(self) -> None:
        """End it."""
        self._client.close()
        self.program.stop()

    def ask(self, path: str, request: Any) -> httpx.Response:
        """The response to a request, given as what JSON makes of it or as raw bytes."""
        content = request if isinstance(request, bytes) else json.dumps(request).encode()
        return self._client.post(path, content=content)

    def mistakes(self, cases: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
        """Returns what is wrong with the answers to golden cases, by the case's name; empty when all are right."""
        found = {}
        for case in cases:
            response = self.ask(case["path"], case["body"].encode() if "body" in case else case["request"])
            if differing := differences(case, response.status_code, response.json()):
                found[case["name"]] = differing
        return found

    def _listens(self) -> bool:
        try:
            return self._client.get("/health").status_code == 200
        except httpx.TransportError:
            return False
