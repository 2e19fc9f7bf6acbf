"""How much Kafka, how many workers and how much Redis a load needs, and what answers cost: measured figures, scaled.

The arithmetic, in this order: events a second give workers; messages are keyed by project where each fits into one
partition, else by trace; memory may ask for more partitions, since a partition's shard never leaves its Redis master.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aggregator.reading.rollups import FIELDS_READ_MAX
from aggregator.rollups.levels import DAY_S, LEVELS, Retention
from callmeter.durations import format_duration
from callmeter.planning.figures import Curve, Figures
from callmeter.planning.rollup_memory import LevelBytes, Mix, directory_bytes, level_bytes

EVENTS_PER_CALL = 2  # a start and an end, as Weave's SDKs send them
KEPT = Retention()
BASELINE = Mix()  # what the benchmarks' calls are like, of one project
MONTH_S = 30 * DAY_S
PARTITIONS_MAX = 200_000  # of a whole Kafka cluster
CLUSTER_MASTERS_MIN = 3
# Rollups that the benchmark's question with the most reads of one shard (30 days of hours): more than FIELDS_READ_MAX
# of them are refused.
SLOTS_ASKED_MAX = 30 * 24


@dataclass(frozen=True)
class Load:
    """What comes in and how long it is kept. `busiest_share`: of the calls, in the busiest project (None: all alike).

    Raises ValueError for what is no load.
    """

    calls_per_s: float
    projects: int = 1
    mix: Mix = BASELINE
    message_bytes: float = 1_000.0
    retention: Retention = KEPT
    busiest_share: float | None = None

    def __post_init__(self) -> None:
        amounts = (self.calls_per_s, self.projects, self.mix.models, self.mix.ops, self.message_bytes)
        if not all(0 < amount < math.inf for amount in amounts):
            raise ValueError("calls a second, projects, models, ops and message bytes must be above 0")
        if self.mix.calls_per_trace < 1 or not 0 <= self.mix.usage_share <= 1:
            raise ValueError("a trace has at least one call, and a share is between 0 and 1")
        if self.busiest_share is not None and not 1 / self.projects <= self.busiest_share <= 1:
            raise ValueError("the busiest project has at least its even share of the calls, and at most all of them")

    @property
    def events_per_s(self) -> float:
        return self.calls_per_s * EVENTS_PER_CALL

    @property
    def busiest_calls_per_s(self) -> float:
        """Of the busiest project."""
        return self.calls_per_s * (self.busiest_share or 1 / self.projects)


@dataclass(frozen=True)
class Deployment:
    """How full things may be: `busy` is the part of its speed at which a worker or a master runs, `filled` the part of
    `master_bytes` that a master's data takes. `replicas` counts the copies of a message that the broker keeps.
    """

    busy: float = 0.5
    master_bytes: float = 32e9
    filled: float = 0.7
    replicas: int = 3

    def __post_init__(self) -> None:
        if not (0 < self.busy <= 1 and 0 < self.filled <= 1 and self.master_bytes > 0 and self.replicas >= 1):
            raise ValueError("parts are above 0 and at most 1, a master has memory, a message at least one copy")

    @property
    def usable_bytes(self) -> float:
        """Of one master."""
        return self.master_bytes * self.filled


@dataclass(frozen=True)
class Memory:
    """Bytes of Redis, of everything that is kept."""

    records_bytes: float
    indexes_bytes: float
    levels: dict[str, LevelBytes]
    directories_bytes: float

    @property
    def total_bytes(self) -> float:
        return (
            self.records_bytes
            + self.indexes_bytes
            + self.directories_bytes
            + sum(one.total_bytes for one in self.levels.values())
        )

    @property
    def largest(self) -> str:
        """What takes most, in words."""
        parts = {"Call records": self.records_bytes, "Indexes of calls": self.indexes_bytes}
        parts |= {f"Rollups by {format_duration(one.slot_s)}": self.levels[one.letter].total_bytes for one in LEVELS}
        return max(parts, key=lambda name: parts[name])


class Speed(NamedTuple):
    """How many workers, what each is to fold a second, and how much more an event costs than one of the baseline."""

    workers: int
    worker_events_per_s: float
    growth: float


class Placement(NamedTuple):
    """What messages are keyed by, and over how many partitions. Not `fits`: no partition's shard fits into a master."""

    key: str
    partitions: int
    speed: Speed
    fits: bool = True
    warning: str = ""


@dataclass(frozen=True)
class AnswerCost:
    """Milliseconds of a question to the busiest project, asked again, and where no rows of it are kept yet."""

    question: str
    p50_ms: float
    first_p50_ms: float


@dataclass(frozen=True)
class Plan:
    """What a load needs. `*_bytes_per_s` are of the broker: in, out to workers, between replicas."""

    events_per_s: float
    key: str
    fits: bool
    worker_events_per_s: float
    workers: int
    worker_cores: float
    worker_bytes: float
    partitions: int
    memory: Memory
    redis_cores: float
    masters: int
    in_bytes_per_s: float
    out_bytes_per_s: float
    replication_bytes_per_s: float
    answers: tuple[AnswerCost, ...]
    warnings: tuple[str, ...] = field(default=())


def make_plan(load: Load, deployment: Deployment, figures: Figures) -> Plan:
    """What the load needs, by the figures."""
    placed = _placed(load, deployment, figures)
    events_per_s, speed = load.events_per_s, placed.speed
    redis_cores = events_per_s * figures.redis_cpu_us_per_event.at(load.message_bytes) * speed.growth / 1e6
    memory = _memory(load, placed.key, placed.partitions, figures)
    masters = max(math.ceil(memory.total_bytes / deployment.usable_bytes), math.ceil(redis_cores / deployment.busy))
    in_bytes_per_s = events_per_s * load.message_bytes
    return Plan(
        events_per_s=events_per_s,
        key=placed.key,
        fits=placed.fits,
        worker_events_per_s=speed.worker_events_per_s,
        workers=speed.workers,
        worker_cores=events_per_s * figures.worker_cpu_us_per_event.at(load.message_bytes) * speed.growth / 1e6,
        worker_bytes=speed.workers * figures.worker_resident_bytes,
        partitions=placed.partitions,
        memory=memory,
        redis_cores=redis_cores,
        masters=masters if masters <= 1 else max(masters, CLUSTER_MASTERS_MIN),
        in_bytes_per_s=in_bytes_per_s,
        out_bytes_per_s=in_bytes_per_s,
        replication_bytes_per_s=in_bytes_per_s * (deployment.replicas - 1),
        answers=_answers(load, placed, figures),
        warnings=tuple(_warnings(placed, memory)),
    )


def _speed(load: Load, deployment: Deployment, figures: Figures, key: str) -> Speed:
    """Keyed by project the workers share the projects; by trace each meets them all."""

    def growth(workers: int) -> float:
        return _growth(load, figures, load.projects if key == "trace" else load.projects / workers)

    def worker_events_per_s(workers: int) -> float:
        return deployment.busy * 1e6 / (figures.worker_us_per_event.at(load.message_bytes) * growth(workers))

    most = math.ceil(load.events_per_s / worker_events_per_s(1))
    workers = fewest(1, lambda count: count * worker_events_per_s(count) >= load.events_per_s, most) or most
    return Speed(workers, worker_events_per_s(workers), growth(workers))


def _growth(load: Load, figures: Figures, projects: float) -> float:
    """How much more an event costs than one of the baseline, for a worker that meets so many projects."""

    def relative(curve: Curve, amount: float, baseline: float) -> float:
        return curve.at(amount) / curve.at(baseline)

    return (
        relative(figures.cpu_us_by_models, load.mix.models, BASELINE.models)
        * relative(figures.cpu_us_by_ops, load.mix.ops, BASELINE.ops)
        * relative(figures.cpu_us_by_projects, projects, 1)
    )


def _placed(load: Load, deployment: Deployment, figures: Figures) -> Placement:
    """By project, where the busiest one fits into one partition and its shard into one master; else by trace, where
    that helps.
    """
    by_project, by_trace = (_speed(load, deployment, figures, key) for key in ("project", "trace"))
    busiest_events_per_s = load.busiest_calls_per_s * EVENTS_PER_CALL
    is_too_fast = busiest_events_per_s > by_project.worker_events_per_s
    shard_bytes = _project_memory(load.busiest_calls_per_s, load, figures).total_bytes
    if not is_too_fast and shard_bytes <= deployment.usable_bytes:
        total = _memory(load, "project", 1, figures).total_bytes
        return Placement("project", max(by_project.workers, math.ceil(total / deployment.usable_bytes)), by_project)
    partitions = fewest(
        by_trace.workers,
        lambda count: _memory(load, "trace", count, figures).total_bytes <= count * deployment.usable_bytes,
    )
    if partitions is None:
        return _unfit(load, deployment, figures, *(("trace", by_trace) if is_too_fast else ("project", by_project)))
    too_much, one_takes = (
        (f"sends {busiest_events_per_s:,.0f} events/s", f"partition takes {by_project.worker_events_per_s:,.0f}")
        if is_too_fast
        else (f"takes {_gb(shard_bytes)}", f"master {_gb(deployment.usable_bytes)}")
    )
    warning = f"The busiest project {too_much}, one {one_takes}: key messages by trace, not by project."
    return Placement("trace", partitions, by_trace, True, warning)


def _unfit(load: Load, deployment: Deployment, figures: Figures, key: str, speed: Speed) -> Placement:
    shards = speed.workers if key == "trace" else load.projects
    shard_bytes = _memory(load, key, speed.workers, figures).total_bytes / shards
    return Placement(
        key,
        speed.workers,
        speed,
        False,
        f"This does not fit, however messages are keyed: a shard takes {_gb(shard_bytes)}, one master "
        f"{_gb(deployment.usable_bytes)}. Shorten the retention of what is largest, or take larger masters.",
    )


def fewest(least: int, fit: Callable[[int], bool], most: int = PARTITIONS_MAX) -> int | None:
    """The smallest number from `least` up to `most` that fits, where all larger ones fit too; None for none."""
    low, high = least, max(least, most)
    if not fit(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if fit(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _memory(load: Load, key: str, partitions: int, figures: Figures) -> Memory:
    """Of all shards together. Keyed by trace every shard holds a part of every project, with cells of its own."""
    shards = partitions if key == "trace" else 1
    one = _project_memory(load.calls_per_s / load.projects / shards, load, figures)
    times = load.projects * shards
    levels = {letter: LevelBytes(*(times * size for size in sizes)) for letter, sizes in one.levels.items()}
    return Memory(one.records_bytes * times, one.indexes_bytes * times, levels, one.directories_bytes * times)


def _project_memory(calls_per_s: float, load: Load, figures: Figures) -> Memory:
    """Of a project in one shard."""
    kept_s = load.retention.calls_s
    return Memory(
        calls_per_s * kept_s * figures.record_bytes_per_call,
        calls_per_s * (kept_s + DAY_S) * figures.index_bytes_per_call,  # indexes go by the day
        {level.letter: level_bytes(calls_per_s, level, load.mix, load.retention, figures) for level in LEVELS},
        directory_bytes(calls_per_s, load.mix, load.retention, figures),
    )


def _warnings(placed: Placement, memory: Memory) -> Iterator[str]:
    if placed.warning:
        yield placed.warning
    if placed.partitions > placed.speed.workers:
        yield (
            f"Memory asks for {placed.partitions:,} partitions where {placed.speed.workers:,} would do for speed, "
            "since a partition's shard stays on one master: a shorter retention or larger masters need fewer. "
            f"{memory.largest} take most."
        )
    if placed.key == "trace" and SLOTS_ASKED_MAX * placed.partitions > FIELDS_READ_MAX:
        yield (
            f"A project lies in {placed.partitions:,} shards: 30 days of it are more than the {FIELDS_READ_MAX:,} "
            "rollups that one request may read, and are refused."
        )


def _gb(size: float) -> str:
    return f"{size / 1e9:,.3g} GB" if size < 100e9 else f"{size / 1e9:,.0f} GB"


def _answers(load: Load, placed: Placement, figures: Figures) -> tuple[AnswerCost, ...]:
    shards = placed.partitions if placed.key == "trace" else 1
    calls_in_month = load.busiest_calls_per_s * MONTH_S / shards
    more_models = max(1.0, load.mix.models / BASELINE.models)
    fixed_ms = figures.answer_floor_ms + figures.answer_ms_per_partition * placed.partitions

    def cost_ms(curve: Curve) -> float:
        read_ms = max(0.0, curve.at(calls_in_month) - figures.answer_floor_ms)
        return fixed_ms + read_ms * shards * more_models

    return tuple(
        AnswerCost(question, cost_ms(again), cost_ms(figures.answer_first_ms[question]))
        for question, again in figures.answer_ms.items()
    )
