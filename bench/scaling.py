"""What the speed of ingest depends on: workers, a hot project, how many projects, models and op names there are.

Workers share the machine with the broker and Redis, so where it has fewer than four cores what counts for two and four
workers is their processor time per event: what they would fold on cores of their own.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from bench.folding import Folded, fold, fold_shared
from bench.generator import generate
from bench.ingest_ceiling import backlog
from bench.measuring import Line, alone, compared, ratio_at_least
from bench.scale import Scale, tell
from bench.stage import Stage

PARTITIONS = 12
EVENTS_MIN, SERIES_EVENTS_MIN = 120_000, 60_000  # several batches of each worker
TWO_WORKERS_MIN = 1.5
CORES_FOR_TWO = 4

# As what `callmeter plan` knows a series.
FIGURES = {"projects": "cpu_us_by_projects", "models": "cpu_us_by_models", "op names": "cpu_us_by_ops"}
# Each series is compared with its first.
SERIES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "a hot project": {"its traces in all partitions": {"key": "trace"}, "in one partition": {"key": "project"}},
    "projects": {f"{count:,}": {"projects": count, "key": "project"} for count in (1, 100, 10_000)},
    "models": {f"{count:,}": {"models": count, "key": "trace"} for count in (1, 5, 50)},
    "op names": {f"{count:,}": {"ops": count, "key": "trace"} for count in (10, 1_000, 100_000)},
}


def run(scale: Scale) -> Iterator[Line]:
    """Workers first, then one worker on topics of several kinds."""
    events = scale.amount(600_000, 240_000, least=EVENTS_MIN)
    rounds = 1 if scale.short else 3
    with Stage() as stage:
        yield from _workers(stage, events, rounds)
        for name, kinds in SERIES.items():
            if scale.short:  # the ends of each series
                kinds = {kind: kinds[kind] for kind in (*list(kinds)[:1], *list(kinds)[-1:])}
            yield from _series(stage, name, kinds, scale.amount(300_000, SERIES_EVENTS_MIN, SERIES_EVENTS_MIN), rounds)


def _workers(stage: Stage, events: int, rounds: int) -> Iterator[Line]:
    lines = list(generate(backlog(events, key="trace")))
    taken: dict[int, list[Folded]] = {1: [], 2: [], 4: []}
    for _ in range(rounds):
        for workers, folded in taken.items():
            folded.append(fold_shared(stage, lines, PARTITIONS, workers))
    rates = {workers: [one.events_per_s for one in folded] for workers, folded in taken.items()}
    costs = {workers: [one.cpu_s_per_million for one in folded] for workers, folded in taken.items()}
    enough_cores = (os.cpu_count() or 1) >= CORES_FOR_TWO
    target = ratio_at_least(TWO_WORKERS_MIN)
    yield alone("scaling: 1 worker, CPU per million events", "s", costs[1])
    for workers in (2, 4):
        capacity = [workers / cost * 1e6 for cost in costs[workers]]
        title = f"scaling: {workers} workers / 1"
        for_cpu = target if workers == 2 and not enough_cores else None
        for_clock = target if workers == 2 and enough_cores else None
        yield compared(f"{title}, per CPU second of each", "events/s", capacity, [1e6 / c for c in costs[1]], for_cpu)
        yield compared(f"{title}, on this machine", "events/s", rates[workers], rates[1], for_clock)


def _series(
    stage: Stage, name: str, kinds: Mapping[str, Mapping[str, Any]], events: int, rounds: int
) -> Iterator[Line]:
    topics = {}
    for kind, settings in kinds.items():
        topic = stage.new_topic(PARTITIONS)
        lines = generate(backlog(events, **settings))
        topics[kind] = (topic, stage.fill(topic, lines, events, f"events with {name}: {kind}"))
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind, (topic, ends) in topics.items():
            tell(f"folding {name}: {kind}")
            taken[kind].append(1e6 / fold(stage, topic, ends).cpu_s_per_million)
    for kind, rates in taken.items() if name in FIGURES else ():
        figure = f"{FIGURES[name]}.{kind.replace(',', '')}"
        yield alone(f"scaling: {name}: {kind}, CPU per event", "us", [1e6 / rate for rate in rates], figure=figure)
    first, *others = kinds
    for kind in others:
        yield compared(f"scaling: {name}: {kind} / {first}", "events/CPU s", taken[kind], taken[first])
