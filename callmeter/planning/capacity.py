"""How much Kafka, how many workers and how much Redis a load needs, and what answers cost: measured figures, scaled.

The arithmetic, in this order: events a second give workers; messages are keyed by project where each fits into one
partition, else by trace; memory may ask for more partitions, since a partition's shard never leaves its Redis master.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aggregator.reading.rollups import FIELDS_READ_MAX
from aggregator.time_units import DAY_S
from callmeter.planning.costs import MonthlyCosts, monthly_costs
from callmeter.planning.figures import Curve, Figures
from callmeter.planning.load import BASELINE, EVENTS_PER_CALL, Deployment, Load
from callmeter.planning.memory import Memory, needed_memory, project_memory

MONTH_S = 30 * DAY_S
PARTITIONS_MAX = 200_000  # of a whole Kafka cluster
CLUSTER_MASTERS_MIN = 3
# Rollups that the benchmark's question with the most reads of one shard (30 days of hours): more than FIELDS_READ_MAX
# of them are refused.
SLOTS_ASKED_MAX = 30 * 24


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
    costs: MonthlyCosts
    warnings: tuple[str, ...] = field(default=())


def make_plan(load: Load, deployment: Deployment, figures: Figures) -> Plan:
    """Return what the load needs, by the figures."""
    placed = _placed(load, deployment, figures)
    events_per_s, speed = load.events_per_s, placed.speed
    redis_cores = events_per_s * figures.redis_cpu_us_per_event.at(load.message_bytes) * speed.growth / 1e6
    memory = needed_memory(load, placed.key, placed.partitions, figures)
    masters = max(math.ceil(memory.total_bytes / deployment.usable_bytes), math.ceil(redis_cores / deployment.busy))
    in_bytes_per_s = events_per_s * load.message_bytes
    return Plan(
        events_per_s=events_per_s,
        key=placed.key,
        fits=placed.fits,
        worker_events_per_s=speed.worker_events_per_s,
        workers=speed.workers,
        worker_cores=events_per_s * _event_us(load, figures, figures.worker_cpu_us_per_event, speed.growth) / 1e6,
        worker_bytes=speed.workers * figures.worker_resident_bytes,
        partitions=placed.partitions,
        memory=memory,
        redis_cores=redis_cores,
        masters=masters if masters <= 1 else max(masters, CLUSTER_MASTERS_MIN),
        in_bytes_per_s=in_bytes_per_s,
        out_bytes_per_s=in_bytes_per_s,
        replication_bytes_per_s=in_bytes_per_s * (deployment.replicas - 1),
        answers=_answers(load, placed, figures),
        costs=monthly_costs(memory.total_bytes, deployment.filled, memory.objects_bytes, deployment.prices),
        warnings=tuple(_warnings(placed, memory)),
    )


def _speed(load: Load, deployment: Deployment, figures: Figures, key: str) -> Speed:
    """Keyed by project the workers share the projects; by trace each meets them all."""

    def growth(workers: int) -> float:
        return _growth(load, figures, load.projects if key == "trace" else load.projects / workers)

    def worker_events_per_s(workers: int) -> float:
        return deployment.busy * 1e6 / _event_us(load, figures, figures.worker_us_per_event, growth(workers))

    most = math.ceil(load.events_per_s / worker_events_per_s(1))
    workers = fewest(1, lambda count: count * worker_events_per_s(count) >= load.events_per_s, most) or most
    return Speed(workers, worker_events_per_s(workers), growth(workers))


def _event_us(load: Load, figures: Figures, folding: Curve, growth: float) -> float:
    """Return what an event takes of a worker, in microseconds: to fold it, and to seal it later."""
    sealing_us = 0.0 if load.seal_after_s is None else figures.sealing_us_per_call / EVENTS_PER_CALL
    return folding.at(load.message_bytes) * growth + sealing_us


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
    """Key messages by project, where the busiest one fits into one partition and its shard into one master; else by
    trace, where that helps.
    """
    by_project, by_trace = (_speed(load, deployment, figures, key) for key in ("project", "trace"))
    busiest_events_per_s = load.busiest_calls_per_s * EVENTS_PER_CALL
    is_too_fast = busiest_events_per_s > by_project.worker_events_per_s
    shard_bytes = project_memory(load.busiest_calls_per_s, load, figures).total_bytes
    if not is_too_fast and shard_bytes <= deployment.usable_bytes:
        total = needed_memory(load, "project", 1, figures).total_bytes
        return Placement("project", max(by_project.workers, math.ceil(total / deployment.usable_bytes)), by_project)
    partitions = fewest(
        by_trace.workers,
        lambda count: needed_memory(load, "trace", count, figures).total_bytes <= count * deployment.usable_bytes,
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
    shard_bytes = needed_memory(load, key, speed.workers, figures).total_bytes / shards
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


def _gb(size: float) -> str:
    return f"{size / 1e9:,.3g} GB" if size < 100e9 else f"{size / 1e9:,.0f} GB"
