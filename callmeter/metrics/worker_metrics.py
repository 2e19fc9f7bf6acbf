"""A worker's metrics: how far its partitions are, what was counted in them, and its process.

Counters come from the shards, so they go on over restarts; they are read at the scrape, from Redis and the broker.
Labels are topics and partitions: never ids, users or models without bound.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from aggregator.store.memory import NodeMemory
from aggregator.time_units import SECOND_US
from callmeter.metrics.unpriced_models import ModelsTold, PartitionName
from callmeter.stored_offsets import PartitionProgress

_LABELS = ("topic", "partition")
UNREAD = frozenset({"opening", "refused"})

# By the name of a shard's counter: the metric, and what it counts.
COUNTERS = {
    "messages": ("callmeter_messages", "Messages applied."),
    "calls": ("callmeter_calls_counted", "Calls counted, by their starts."),
    "unpriced": ("callmeter_unpriced_calls", "Calls that ended with a model that has no price."),
    "offsets_lost": ("callmeter_lost_offsets", "Messages that the broker deleted before they were read."),
    "offsets_skipped": ("callmeter_skipped_offsets", "Offsets without a message: control records, compacted ones."),
    "rollups_short": ("callmeter_short_rollups", "Calls that state less usage than the calls below them count."),
    "messages_without_key": ("callmeter_keyless_messages", "Messages that have no key."),
    "negative_latencies": ("callmeter_negative_latencies", "Calls that ended before they started, by their clocks."),
}

# By what became of an event: the counters of a shard that come to it, the first without the others.
OUTCOMES = {
    "applied": ("events", "duplicates"),
    "duplicate": ("duplicates",),
    "sent_on": ("events_sent_on",),
    "dead_letter": ("dead_letters",),
}


class Assigned(Protocol):
    """A worker, as far as its metrics look at it."""

    def partitions(self) -> Sequence[tuple[str, int, str]]:
        """Topic, number and state of each partition that is assigned."""
        ...

    @property
    def stepped_us(self) -> int:
        """Return when it last finished a step (microseconds since 1970)."""
        ...


class Sources(NamedTuple):
    """Where a worker's metrics come from. All but `invalid` may raise: then only what the worker itself knows is told.

    `progress`: of all partitions. `memories`: of the nodes of Redis. `invalid`: events that this process set aside
    since it began, by reason. `unpriced`: calls without a cost of all partitions, by model.
    """

    progress: Callable[[], Iterable[PartitionProgress]]
    memories: Callable[[], Sequence[NodeMemory]]
    invalid: Callable[[], Mapping[str, int]]
    unpriced: Callable[[], Mapping[PartitionName, Mapping[str, int]]]


# A step takes some hundred milliseconds; recovering from a Redis that is away, which is no step, longer.
STEP_AGE_US_MAX = 30 * SECOND_US


def why_unready(worker: Assigned, now_us: int) -> str | None:
    """Why a worker is not ready, in a sentence: it stands, or a partition is not read; None: it is."""
    stands_us = now_us - worker.stepped_us
    if stands_us > STEP_AGE_US_MAX:
        return f"it finished its last step {stands_us // SECOND_US} s ago"
    stuck = [f"{topic}/{number} is {state}" for topic, number, state in worker.partitions() if state in UNREAD]
    return f"partitions are not read: {', '.join(stuck)}" if stuck else None


class WorkerCollector(Collector):
    """Collects at each scrape; where a source raises, `callmeter_sources_up` is 0."""

    def __init__(self, worker: Assigned, sources: Sources, clock: Callable[[], int]) -> None:
        self._worker = worker
        self._sources = sources
        self._clock = clock
        self._models = ModelsTold()

    def collect(self) -> Iterator[Metric]:
        """All families, of the partitions that are this worker's."""
        mine = {(topic, number): state for topic, number, state in self._worker.partitions()}
        states = GaugeMetricFamily("callmeter_partition_state", "1 for the state it is in.", labels=(*_LABELS, "state"))
        for (topic, number), state in mine.items():
            states.add_metric((topic, str(number), state), 1)
        yield states
        since_step = GaugeMetricFamily("callmeter_worker_step_age_seconds", "Seconds since the last finished step.")
        since_step.add_metric((), max(0, self._clock() - self._worker.stepped_us) / SECOND_US)
        yield since_step
        invalid = CounterMetricFamily(
            "callmeter_invalid_events", "Events set aside as dead letters by this process.", labels=("reason",)
        )
        for reason, count in self._sources.invalid().items():
            invalid.add_metric((reason,), count)
        yield invalid
        try:
            rows = [row for row in self._sources.progress() if (row.topic, row.partition) in mine]
            memories = self._sources.memories()
            unpriced = {name: calls for name, calls in self._sources.unpriced().items() if name in mine}
        except Exception:  # whatever Redis or the broker say: a scrape must still tell the rest
            yield _store_up(0)
            return
        yield _store_up(1)
        yield from _of_redis(memories)
        yield from self._of_partitions(rows)
        yield _of_models(self._models.bounded(unpriced))

    def _of_partitions(self, rows: Sequence[PartitionProgress]) -> Iterator[Metric]:
        lag = GaugeMetricFamily("callmeter_lag_messages", "Messages that are not applied yet.", labels=_LABELS)
        age = GaugeMetricFamily(
            "callmeter_as_of_age_seconds", "Seconds since the instant through which all is applied.", labels=_LABELS
        )
        waiting = GaugeMetricFamily("callmeter_waiting_ends", "Ends of calls whose start has not come.", labels=_LABELS)
        counters = {field: CounterMetricFamily(name, text, labels=_LABELS) for field, (name, text) in COUNTERS.items()}
        events = CounterMetricFamily(
            "callmeter_events",
            "Events by what became of them: applied, repeats that changed nothing, sent on to the partition that has "
            "their call, dead letters.",
            labels=(*_LABELS, "outcome"),
        )
        for row in rows:
            labels = (row.topic, str(row.partition))
            lag.add_metric(labels, row.lag_messages)
            waiting.add_metric(labels, row.fields.get("ends_waiting", 0))
            as_of_us = row.fields.get("as_of_us")
            if as_of_us is not None:
                age.add_metric(labels, max(0, self._clock() - as_of_us) / SECOND_US)
            for field, counter in counters.items():
                counter.add_metric(labels, row.fields.get(field, 0))
            for outcome, (whole, *parts) in OUTCOMES.items():
                others = sum(row.fields.get(field, 0) for field in parts)
                events.add_metric((*labels, outcome), max(0, row.fields.get(whole, 0) - others))
        yield from (lag, age, waiting, events, *counters.values())


def _of_models(unpriced: Mapping[PartitionName, Mapping[str, int]]) -> Metric:
    family = CounterMetricFamily(
        "callmeter_unpriced_model_calls",
        "Calls with a model that has no price, by model; one of several such models is in each.",
        labels=(*_LABELS, "model"),
    )
    for (topic, number), calls in unpriced.items():
        for model, count in calls.items():
            family.add_metric((topic, str(number), model), count)
    return family


def _of_redis(memories: Sequence[NodeMemory]) -> Iterator[Metric]:
    used = GaugeMetricFamily("callmeter_redis_used_bytes", "Memory that a node of Redis uses.", labels=("node",))
    limit = GaugeMetricFamily(
        "callmeter_redis_limit_bytes", "Memory that a node of Redis may use, where that is limited.", labels=("node",)
    )
    for memory in memories:
        used.add_metric((memory.node,), memory.used_bytes)
        if memory.limit_bytes:
            limit.add_metric((memory.node,), memory.limit_bytes)
    yield from (used, limit)


def _store_up(up: int) -> GaugeMetricFamily:
    family = GaugeMetricFamily("callmeter_sources_up", "1 while Redis and the broker answered this scrape.")
    family.add_metric((), up)
    return family
