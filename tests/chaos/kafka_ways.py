"""Kafka as it is run: keys that move, no keys, transactions, clocks that lie, the newer group protocol, poison, topics
made anew. What is produced is the same as under load elsewhere; it is judged when all is applied.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from ingest.other_log import REFUSED
from tests.chaos.history import log_ends
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.trial import SETTINGS
from tests.pipeline.feed import Line
from tests.pipeline.operator import operate
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api, Pipeline
from tests.pipeline.program import Program
from tests.servers.redis_server import RedisServer

APPLIED_S_MAX = 300.0
LOG_APPEND_TIME = {"message.timestamp.type": "LogAppendTime"}
TRANSACTION_LINES = 40
CONSUMER_PROTOCOL = json.dumps({"group.protocol": "consumer", "topic.metadata.refresh.interval.ms": 500})
NONSENSE_MS = (1_795_170_000, 1, 3_786_912_000_000, 946_684_800_000)


class Ways:
    """A pipeline with workers and an api, and how its answers come out in the end."""

    def __init__(self, stage: Stage, pipeline: Pipeline, workers: int) -> None:
        self.stage = stage
        self.pipeline = pipeline
        self.workers: list[Program]
        self.api: Api
        self.workers, self.api = pipeline.start_workers_and_api(workers)

    def produce(self, lines: list[Line], **how: Any) -> None:
        """Produces messages as a plain client does; `key`: None sends none; `stamp_ms` gives each its time."""
        producer = _producer(self.pipeline)
        failures: list[str] = []

        def delivered(error: KafkaError | None, _: object) -> None:
            if error is not None:
                failures.append(error.str())

        for line in lines:
            key = line.key if how.get("keyed", True) else None
            stamp = {"timestamp": how["stamp_ms"]()} if "stamp_ms" in how else {}
            producer.produce(self.pipeline.topic, line.value, key, on_delivery=delivered, **stamp)
            producer.poll(0)
        if producer.flush(60) or failures:
            raise ChaosFailed(f"not produced: {failures[:1]}")

    def add_partitions(self, count: int) -> None:
        """The topic has so many from now on."""
        admin = AdminClient({"bootstrap.servers": self.pipeline.bootstrap_servers})
        admin.create_partitions([NewPartitions(self.pipeline.topic, count)])[self.pipeline.topic].result(30)
        self.pipeline.partitions = count

    def settle(self) -> None:
        """Return when every partition is applied to its end, control records included, and nothing can be found."""

        def settled() -> bool:
            ends = {partition: high for partition, (_, high) in self._ends().items() if high}
            return self.pipeline.applied() == ends

        if not wait_until(settled, APPLIED_S_MAX, 0.2):
            raise ChaosFailed(f"applied {self.pipeline.applied()} of {self._ends()}")

    def check(self) -> None:
        """Raise ChaosFailed where an answer is wrong, or something was counted twice or not at all."""
        workload = self.stage.workload
        calls = workload.model.started_calls
        wait_until(lambda: self._mistakes() == {}, 90, 1)
        counters = self.pipeline.counters()
        mistakes = [f"{name[:200]}: {found[:2]}" for name, found in self._mistakes().items()]
        if counters["calls"] != calls:
            mistakes.append(f"{counters['calls']} calls, not {calls}")
        if not all(worker.running for worker in self.workers):
            mistakes.append("a worker ended")
        if mistakes:
            raise ChaosFailed("\n".join(["", *mistakes[:8]]))

    def _mistakes(self) -> dict[str, list[str]]:
        """Returns the mistakes in what does not need a trace to lie in one shard."""
        cases = [case for case in self.stage.workload.cases if case["path"] == "/calls/stats"]
        return self.api.mistakes([case for case in cases if "trace_roots_only" not in json.dumps(case["request"])])

    def _ends(self) -> dict[int, tuple[int, int]]:
        return log_ends(self.pipeline.bootstrap_servers, self.pipeline.topic)


@contextmanager
def _ways(
    stage: Stage, partitions: int, topic: dict[str, str] = LOG_APPEND_TIME, workers: int = 2, **settings: str
) -> Iterator[Ways]:
    server = RedisServer(stage.directory / "redis")
    server.start()
    chosen = SETTINGS | settings
    try:
        with Pipeline(stage.directory, stage.kafka.bootstrap_servers, server.url, chosen, partitions) as pipeline:
            pipeline.create_topic(topic)
            yield Ways(stage, pipeline, workers)
    finally:
        server.stop()


def _producer(pipeline: Pipeline, **more: Any) -> Producer:
    return Producer(
        {
            "bootstrap.servers": pipeline.bootstrap_servers,
            "enable.idempotence": True,
            "topic.metadata.refresh.interval.ms": 500,
            "sticky.partitioning.linger.ms": 0,
            **more,
        }
    )


def _parts(lines: list[Line], count: int) -> Iterator[list[Line]]:
    size = len(lines) // count + 1
    return (lines[at : at + size] for at in range(0, len(lines), size))


def keys_move(stage: Stage) -> str:
    """Partitions are added twice, and the client's own partitioner sends most keys elsewhere from then on."""
    with _ways(stage._replace(workload=stage.workload.of_scattered_traces), 4) as ways:
        for count, lines in zip((6, 12, 12), _parts(ways.stage.workload.lines, 3), strict=True):
            ways.produce(lines)
            if ways.pipeline.partitions < count:
                ways.add_partitions(count)
        ways.settle()
        ways.check()
        sent_on = ways.pipeline.counters()["events_sent_on"]
    return f"4 -> 6 -> 12 partitions by the client's own partitioner: {sent_on} events sent on"


def no_keys(stage: Stage) -> str:
    """No message has a key: start, end and repeats come through any partition."""
    with _ways(stage._replace(workload=stage.workload.of_scattered_traces), 6) as ways:
        ways.produce(ways.stage.workload.lines, keyed=False)
        ways.settle()
        ways.check()
        sent_on = ways.pipeline.counters()["events_sent_on"]
    return f"no keys over 6 partitions: {sent_on} events sent on"


def transactions(stage: Stage) -> str:
    """All is produced in transactions, of which a third are aborted and made again; lag reaches 0."""
    aborted = 0
    with _ways(stage, 4) as ways:
        producer = _producer(ways.pipeline, **{"transactional.id": ways.pipeline.topic})
        producer.init_transactions(60)
        for lines in _parts(stage.workload.lines, len(stage.workload.lines) // TRANSACTION_LINES):
            while True:
                producer.begin_transaction()
                for line in lines:
                    producer.produce(ways.pipeline.topic, line.value, line.key)
                if stage.rng.random() < 2 / 3:
                    producer.commit_transaction(60)
                    break
                producer.flush(60)
                producer.abort_transaction(60)
                aborted += 1
        ways.settle()
        ways.check()
    return f"transactions, {aborted} of them aborted"


def clocks_that_lie(stage: Stage) -> str:
    """CreateTime in seconds, of 1970, 2000 and 2090, and an hour ahead: it decides nothing."""

    def stamp_ms() -> int:
        return stage.rng.choice((*NONSENSE_MS, time.time_ns() // 1_000_000 + 3_600_000))

    topic = {
        "message.timestamp.type": "CreateTime", "message.timestamp.after.max.ms": str(2**62),
        "retention.ms": "-1",
    }  # fmt: skip
    with _ways(stage, 4, topic) as ways:
        ways.produce(stage.workload.lines, stamp_ms=stamp_ms)
        ways.settle()
        ways.check()
    return "CreateTime in seconds, of 1970 and of 2090"


def consumer_protocol(stage: Stage) -> str:
    """Workers that come and go under the newer group protocol."""
    with _ways(stage, 6, KAFKA__EXTRA=CONSUMER_PROTOCOL) as ways:
        for lines in _parts(stage.workload.lines, 3):
            ways.produce(lines)
            ways.workers.append(ways.pipeline.start_worker())
            if ways.workers.pop(0).terminate() != 0:
                raise ChaosFailed("a worker did not end in order")
        ways.settle()
        ways.check()
    return "workers replaced three times under group.protocol=consumer"


def poison(stage: Stage) -> str:
    """Among the messages: batches of a million bad elements, deep nesting, and usage of megabytes."""
    poisons = [
        b'{"batch":[' + b"0," * 1_000_000 + b"0]}",
        b'{"end":{"summary":{"usage":{' + b",".join(b'"%d":{}' % n for n in range(600_000)) + b"}}}}",
        b"[" * 500_000,
    ]
    parts = list(_parts(stage.workload.lines, stage.times(30, 3)))
    with _ways(stage, 4, LOG_APPEND_TIME | {"max.message.bytes": "20000000"}) as ways:
        big = _producer(ways.pipeline, **{"message.max.bytes": 20_000_000, "compression.type": "gzip"})
        for number, lines in enumerate(parts):
            ways.produce(lines)
            big.produce(ways.pipeline.topic, poisons[number % len(poisons)], b"k%d" % number)
            big.flush(60)
        ways.settle()
        ways.check()
    return f"{len(parts)} poison messages among the others"


def made_anew_and_grown(stage: Stage) -> str:
    """A topic is deleted, made again, and has grown past the stored offsets before a worker looks: it is refused."""
    half = len(stage.workload.lines) // 2
    with _ways(stage, 2, workers=1) as ways:
        ways.produce(stage.workload.lines[:half])
        ways.settle()
        before = ways.pipeline.applied()
        ways.workers.pop().terminate()
        ways.pipeline.delete_topic()
        ways.pipeline.create_topic(LOG_APPEND_TIME)
        ways.produce(stage.workload.lines)
        worker = ways.pipeline.start_worker()
        worker.wait_until_logged(REFUSED, 2)
        if ways.pipeline.applied() != before:
            raise ChaosFailed("something of the new topic was applied")
        ways.workers.append(worker)
        for line in worker.logged(REFUSED):
            _operate(ways.pipeline, line["command"])
        ways.settle()
        ways.check()
    return "deleted, made anew and grown past the stored offsets: refused, and reset as the worker says"


def _operate(pipeline: Pipeline, command: str) -> None:
    said = operate(pipeline.settings, *command.split()[1:], "--yes")
    if said.status != 0:
        raise ChaosFailed(f"{command}: {said.errors}")


WAYS: dict[str, Callable[[Stage], str]] = {
    "keys-move": keys_move,
    "no-keys": no_keys,
    "transactions": transactions,
    "clocks-that-lie": clocks_that_lie,
    "consumer-protocol": consumer_protocol,
    "poison": poison,
    "topic-grown-anew": made_anew_and_grown,
}
