"""A trial: the product on servers that may die, under constant load, questioned all the time and judged at the end."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import redis
from confluent_kafka.admin import AdminClient

from aggregator.layout.keys import SHORT_ROLLUP, ShardKeys, ShardName, stored_offset
from aggregator.store.connection import StoreAway, connect
from aggregator.store.generation import live_namespace
from tests.chaos.asker import Asker, Interval, unexpected, wrong_answers
from tests.chaos.history import Appended, History, log_ends, read_log
from tests.chaos.load import Delivered, Load, Partitioner
from tests.chaos.stage import ChaosFailed, Stage
from tests.chaos.workload import PRICES, Workload
from tests.pipeline.feed import Line
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api, Pipeline
from tests.pipeline.program import Program
from tests.servers.kafka_server import TOPIC_TIMEOUT_S, KafkaServer, create_topic

PARTITIONS = 12
APPLY_TIMEOUT_S = 300.0
SHOWN_MISTAKES = 8
SETTINGS = {
    "PRICES_FILE": str(PRICES),
    "BATCH__MESSAGES_MAX": "500",
    "BATCH__WAIT_MS": "20",
    **{f"RETENTION__{level}": "3650d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")},
}
TOPIC_SETTINGS = {"message.timestamp.type": "LogAppendTime"}


class Trial:
    """Leave it and all processes are gone. `check` says in the end whether all came out right."""

    def __init__(
        self,
        stage: Stage,
        redis_url: str,
        cluster: bool = False,
        partitions: int = PARTITIONS,
        kafka: KafkaServer | None = None,
        environment: Mapping[str, str] | None = None,
        workload: Workload | None = None,
        also: Mapping[str, str] | None = None,
        **settings: str,
    ) -> None:
        self.stage = stage
        self.workload = workload or stage.workload
        self.kafka = kafka or stage.kafka
        chosen = SETTINGS | {"REDIS__CLUSTER": str(cluster).lower()} | {**(also or {})} | settings
        self.pipeline = Pipeline(
            stage.directory, self.kafka.bootstrap_servers, redis_url, chosen, partitions, environment=environment
        )
        self.topic = self.pipeline.topic
        self._redis_at = (redis_url, cluster)
        self._redis: redis.Redis | None = None
        self._asking: redis.Redis | None = None
        self._partitions = partitions
        self.load: Load
        self.api: Api
        self._asker: Asker
        self._delivered: Delivered = {}
        self._away: list[Interval] = []
        self._rollbacks: list[Interval] = []
        self._broken_off: list[Interval] = []

    def __enter__(self) -> "Trial":
        self.pipeline.create_topic(TOPIC_SETTINGS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, at: TracebackType | None
    ) -> None:
        for thread in (getattr(self, "load", None), getattr(self, "_asker", None)):
            if thread is not None:
                thread.stop()
        self.pipeline.__exit__(kind, raised, at)

    def begin(
        self,
        duration_s: float,
        workers: int = 1,
        lines: Sequence[Line] | None = None,
        partitioner: Partitioner = lambda _: None,
    ) -> list[Program]:
        """Start workers, api, load (to last so long) and questions; returns the workers."""
        started, self.api = self.pipeline.start_workers_and_api(workers)
        until = self.workload.asked_until
        self._asker = Asker(self.api, self._applied_if_known, self.stage.rng.randrange(2**32), until)
        self._asker.start()
        self.produce(self.workload.lines if lines is None else lines, duration_s, partitioner)
        return started

    def produce(self, lines: Sequence[Line], duration_s: float = 0, partitioner: Partitioner = lambda _: None) -> None:
        """Produce such lines, when those before are all produced (0: as fast as can be)."""
        self.load = Load(self.kafka.bootstrap_servers, self.topic, lines, self._delivered, partitioner)
        self.load.last_for(duration_s)
        self.load.start()

    def steps(self, count: int, step_s: float) -> Iterator[int]:
        """0, 1, 2, ... with the load paced so that some of it is left for each, at `step_s` each or what they take."""
        began_s = time.monotonic()
        for step in range(count):
            if step:
                step_s = (time.monotonic() - began_s) / step
            self.load.last_for(step_s * (count - step))
            self.stage.say(f"step {step + 1} of {count}, {self.load.sent} messages sent")
            yield step

    def applied(self) -> dict[int, int]:
        """The next offset of each shard that has one. Raises one of StoreAway."""
        return self._read_applied(self._known_redis())

    def applied_messages(self) -> int:
        """How many messages are applied, all partitions together."""
        return sum(self.applied().values())

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float = APPLY_TIMEOUT_S) -> None:
        """Return when it holds; raises ChaosFailed."""
        if not wait_until(condition, timeout_s, 0.05):
            ends = {partition: high for partition, (_, high) in self._ends().items()}
            raise ChaosFailed(f"not within {timeout_s:g} s: {what}; applied {self.applied()} of {ends}")

    def wait_for_progress(self, messages: int) -> None:
        """Return when so many more messages are applied than now, or all."""
        before = self.applied_messages()
        self.wait(
            lambda: self.applied_messages() >= before + messages or not (self.load.left or self._behind()),
            f"{messages} more are applied",
        )

    def wait_for_applied(self, messages: int) -> None:
        """Return when so many messages are applied in all."""
        self.wait(lambda: self.applied_messages() >= messages, f"{messages} messages are applied")

    def wait_until_said(self, workers: Sequence[Program], words: str, times: int, what: str) -> None:
        """Return when the workers have logged these words so many times more than now."""

        def said() -> int:
            return sum(worker.log().count(words) for worker in workers)

        before = said()
        self.wait(lambda: said() >= before + times, what)

    def settle(self) -> None:
        """Produce what is left and return when all of it is applied."""
        self.load.finish()
        self.stage.say("all is produced")
        self.wait(lambda: not self._behind(), "all is applied")
        self.stage.say("all is applied")

    @contextmanager
    def redis_away(self, forgets: bool = True) -> Iterator[None]:
        """Notes the time while Redis cannot be reached, and perhaps comes back with less than it had."""
        began_s = time.time()
        yield
        interval = Interval(began_s, time.time())
        self._away.append(interval)
        if forgets:
            self._rollbacks.append(interval)

    @contextmanager
    def questions_may_break_off(self) -> Iterator[None]:
        """Note the time while connections to the api may be lost."""
        began_s = time.time()
        yield
        self._broken_off.append(Interval(began_s, time.time()))

    @property
    def questions_broken_off(self) -> int:
        """How many questions were not answered since their connection was lost."""
        return len(self._asker.broken_off)

    def refused_until_now(self, since_s: float) -> None:
        """Answers since then may have been refused."""
        self._away.append(Interval(since_s, time.time()))

    @contextmanager
    def redis_forgets(self) -> Iterator[None]:
        """Notes the time while Redis loses what it had, but answers."""
        began_s = time.time()
        yield
        self._rollbacks.append(Interval(began_s, time.time()))

    def make_topic_anew(self, partitions: int) -> None:
        """Delete the topic and create it again, with so many partitions."""
        admin = AdminClient({"bootstrap.servers": self.kafka.bootstrap_servers})
        admin.delete_topics([self.topic])[self.topic].result(TOPIC_TIMEOUT_S)
        self.wait(lambda: self.topic not in admin.list_topics(timeout=TOPIC_TIMEOUT_S).topics, "the topic is gone")
        create_topic(self.kafka.bootstrap_servers, self.topic, partitions, TOPIC_SETTINGS)
        self._delivered.clear()

    def namespace(self) -> str:
        """The namespace of the live generation."""
        return live_namespace(self._known_redis(), self.pipeline.namespace)

    def shard_keys(self, partition: int, namespace: str = "") -> ShardKeys:
        """The keys of a partition's shard, of the live generation if not said otherwise."""
        return ShardKeys(ShardName(namespace or self.namespace(), self.topic, partition))

    def _known_redis(self) -> redis.Redis:
        self._redis = self._redis or connect(*self._redis_at)
        return self._redis

    def read_log(self) -> dict[int, list[Appended]]:
        """Reads what is in the topic; all of it must be produced."""
        return read_log(self.kafka.bootstrap_servers, self.topic, self._delivered)

    def check(self, log: dict[int, list[Appended]] | None = None) -> None:
        """Raise ChaosFailed where an answer is or was wrong, or something was counted twice or not at all.

        `log`: the topic as it was before it lost messages (those with the value None), if it did.
        """
        self.stop_asking()
        log = self.read_log() if log is None else log
        mistakes = self._wrong_now(log)
        mistakes += unexpected(self._asker.broken_off, self._broken_off)
        mistakes += wrong_answers(self._asker.asked, History(log, self.workload), self._away, self._rollbacks)
        self.stage.say(f"{len(self._asker.asked)} answers under load")
        _raise(mistakes)

    def check_now(self, log: dict[int, list[Appended]]) -> None:
        """Raise ChaosFailed where an answer is not what this log comes to; questions go on."""
        _raise(self._wrong_now(log))

    def stop_asking(self) -> None:
        """Ask no more questions."""
        self._asker.stop()

    def _wrong_now(self, log: dict[int, list[Appended]]) -> list[str]:
        """Returns what is wrong with answers and counters when just the messages with a value are applied."""
        workload = self.workload
        values = [one.value for messages in log.values() for one in messages if one.value is not None]
        whole = sorted(values) == sorted(line.value for line in workload.lines if line.value is not None)
        model = workload.model if whole else workload.fold(values)
        self.stage.say("asking")
        mistakes = [
            f"{name[:300]}: {differing[:3]}"
            for name, differing in self.api.mistakes(workload.cases if whole else workload.ask(model)).items()
        ]
        counters = self.counters()
        expected = {
            "messages": len(values),
            "calls": model.started_calls,
            "dead_letters": sum(not workload.events[value] for value in values),
        }
        return mistakes + [
            f"{name}: {counters[name]}, not {count}" for name, count in expected.items() if counters[name] != count
        ]

    def counters(self) -> Counter[str]:
        """The counters of all shards, summed up."""
        client = connect(*self._redis_at)
        summed: Counter[str] = Counter()
        for partition in range(self._partitions):
            fields: dict[bytes, bytes] = client.hgetall(self.shard_keys(partition).shard)  # type: ignore[assignment]
            fields.pop(SHORT_ROLLUP.encode(), None)  # an example, no number
            summed.update({name.decode(): int(value) for name, value in fields.items()})
        return summed

    def _behind(self) -> bool:
        return self.applied() != {partition: high for partition, (_, high) in self._ends().items() if high}

    def _ends(self) -> dict[int, tuple[int, int]]:
        return log_ends(self.kafka.bootstrap_servers, self.topic)

    def _applied_if_known(self) -> dict[int, int] | None:
        """Returns what is applied, for the asking thread, over a connection of its own."""
        try:
            self._asking = self._asking or connect(*self._redis_at)
            return self._read_applied(self._asking)
        except (*StoreAway, redis.RedisError):
            return None

    def _read_applied(self, client: Any) -> dict[int, int]:
        pipeline, namespace = client.pipeline(transaction=False), live_namespace(client, self.pipeline.namespace)
        for partition in range(self._partitions):
            pipeline.get(self.shard_keys(partition, namespace).next)
        offsets = enumerate(map(stored_offset, pipeline.execute()))
        return {partition: offset for partition, offset in offsets if offset is not None}


def _raise(mistakes: list[str]) -> None:
    if mistakes:
        more = [f"... {len(mistakes)} in all"] if len(mistakes) > SHOWN_MISTAKES else []
        raise ChaosFailed("\n".join(["", *mistakes[:SHOWN_MISTAKES], *more]))
