"""A plan as people read it, with the arithmetic beside each number, and as JSON."""

from typing import Any

import msgspec
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregator.rollups.levels import LEVELS
from aggregator.time_units import DAY_S
from callmeter.durations import format_duration
from callmeter.planning.capacity import Plan
from callmeter.planning.costs import DISK_PER_DATA
from callmeter.planning.figures import Figures
from callmeter.planning.load import BASELINE, EVENTS_PER_CALL, Deployment, Load

WIDTH = 110
ASSUMPTIONS = (
    f"Every call is {EVENTS_PER_CALL} messages, uncompressed; calls are spread evenly over values, models and time.",
    "Workers and masters run on cores like those measured, on which broker, Redis and worker shared the machine.",
    "Rollups go by blocks of an hour or a day, indexes by UTC days: what is kept longer by that is counted.",
    "Masters' slots are spread evenly; replicas of Redis, and what Kafka keeps on disk, come on top.",
    f"Answers grow in proportion to shards that hold the project, and to models beyond {BASELINE.models}; they are one "
    "client's.",
    "What goes beyond the benchmarks is scaled; no Kafka and no Redis Cluster of such a size was run.",
)


def show(load: Load, deployment: Deployment, plan: Plan, figures: Figures) -> None:
    """Print the plan, its warnings, what was measured where, and what is assumed."""
    console = Console(width=WIDTH)
    mix = load.mix
    console.print(
        f"{_count(load.calls_per_s)} calls/s of {load.projects:,} {_plural(load.projects, 'project')}; in each "
        f"{mix.models:,} {_plural(mix.models, 'model')}, {mix.ops:,} {_plural(mix.ops, 'op')}, "
        f"{mix.users:,} {_plural(mix.users, 'user')}, {mix.runs:,} {_plural(mix.runs, 'run')}",
        highlight=False,
    )
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("needed", justify="right")
    table.add_column("because")
    for part, rows in _parts(load, deployment, plan).items():
        table.add_section()
        table.add_row(Text(part, "bold"))
        for name, needed, because in rows:
            table.add_row(f"  {name}", needed, because)
    console.print(table)
    for warning in plan.warnings:
        console.print(Text(f"! {warning}", "bold"))
    console.print("Measured:", highlight=False)
    for occasion, benchmarks in _by_occasion(figures).items():
        console.print(Text(f"  {', '.join(benchmarks)}: {occasion}"))
    console.print("Assumed:", highlight=False)
    for assumption in ASSUMPTIONS:
        console.print(Text(f"  {assumption}"))


def as_builtins(load: Load, deployment: Deployment, plan: Plan, figures: Figures) -> dict[str, Any]:
    """Return what `--json` prints: the load, the deployment, the plan (units last in its names), sources and
    assumptions.
    """
    built: dict[str, Any] = msgspec.to_builtins(
        {
            "load": load,
            "deployment": deployment,
            "plan": plan,
            "measured": figures.sources,
            "assumed": ASSUMPTIONS,
        }
    )
    lengths = {name: kept for name, kept in built["load"]["retention"].items() if name.endswith("_s")}
    built["load"]["retention"] = lengths  # since when less is kept is a state, not a plan
    built["plan"]["memory"] |= {
        "levels": {letter: sizes._asdict() for letter, sizes in plan.memory.levels.items()},
        "total_bytes": plan.memory.total_bytes,
    }
    return built


Row = tuple[str, str, str]
"""What, how much, and the arithmetic."""


def _parts(load: Load, deployment: Deployment, plan: Plan) -> dict[str, list[Row]]:
    return {
        "Kafka": _kafka_rows(load, deployment, plan),
        "workers": _worker_rows(deployment, plan),
        "Redis": _redis_rows(load, deployment, plan),
        "a month": _cost_rows(load, deployment, plan),
        "answers, p50 of one client": [
            (
                answer.question,
                _duration(answer.p50_ms),
                f"{_duration(answer.first_p50_ms)} where no rows of it are kept",
            )
            for answer in plan.answers
        ],
    }


def _kafka_rows(load: Load, deployment: Deployment, plan: Plan) -> list[Row]:
    most = plan.memory.total_bytes / plan.partitions
    return [
        ("partitions", f"{plan.partitions:,}", f"at least one a worker; {_bytes(most)} of Redis a shard"),
        (
            "message key",
            plan.key,
            f"the busiest project sends {load.busiest_calls_per_s * EVENTS_PER_CALL:,.4g} events/s",
        ),
        (
            "in",
            f"{_bytes(plan.in_bytes_per_s)}/s",
            f"{_count(plan.events_per_s)} events/s × {_bytes(load.message_bytes)}",
        ),
        ("out to workers", f"{_bytes(plan.out_bytes_per_s)}/s", "each message once"),
        ("between brokers", f"{_bytes(plan.replication_bytes_per_s)}/s", f"in × {deployment.replicas - 1}"),
    ]


def _worker_rows(deployment: Deployment, plan: Plan) -> list[Row]:
    events, each = _count(plan.events_per_s), _count(plan.worker_events_per_s)
    return [
        (
            "processes",
            f"{plan.workers:,}",
            f"{events} events/s ÷ {each}, {deployment.busy:.0%} of what one folds",
        ),
        ("cores busy", f"{plan.worker_cores:,.1f}", f"{plan.worker_cores / plan.events_per_s * 1e6:.1f} µs an event"),
        ("memory", _bytes(plan.worker_bytes), f"{_bytes(plan.worker_bytes / plan.workers)} each"),
    ]


def _redis_rows(load: Load, deployment: Deployment, plan: Plan) -> list[Row]:
    memory, kept = plan.memory, load.retention
    calls_kept = load.calls_per_s * kept.calls_s
    indexed = calls_kept + load.calls_per_s * DAY_S
    record_bytes, index_bytes = memory.records_bytes / calls_kept, memory.indexes_bytes / indexed
    busy_bytes, levels = memory.busy_minutes_bytes, []
    for level in LEVELS:
        sizes, kept_for = memory.levels[level.letter], format_duration(kept.level_s(level))
        because = f"{kept_for}; {_bytes(sizes.sketch_bytes)} of it is sketches"
        levels.append((f"rollups by {format_duration(level.slot_s)}", _bytes(sizes.total_bytes), because))
    return [
        (
            "masters",
            f"{plan.masters:,}",
            f"{_bytes(deployment.usable_bytes)} of data and {deployment.busy:.0%} of a core each; 3 at least, if not 1",
        ),
        ("cores busy", f"{plan.redis_cores:,.1f}", f"{plan.redis_cores / plan.events_per_s * 1e6:.1f} µs an event"),
        ("memory", _bytes(memory.total_bytes), f"in all; {_sealing(load)}:"),
        (
            "call records",
            _bytes(memory.records_bytes),
            f"{format_duration(kept.calls_s)}: {_count(calls_kept)} calls × {record_bytes:,.0f} bytes",
        ),
        (
            "indexes of calls",
            _bytes(memory.indexes_bytes),
            f"a day more: {_count(indexed)} calls × {index_bytes:,.0f} bytes",
        ),
        *levels,
        ("directories of views", _bytes(memory.directories_bytes), ""),
        *([("busy minutes", _bytes(busy_bytes), "their first calls, for examples")] if busy_bytes else []),
        *(
            [("objects", _bytes(memory.objects_bytes), "in CALLMETER_SEGMENTS__URL, beside Redis")]
            if load.moves
            else []
        ),
    ]


def _cost_rows(load: Load, deployment: Deployment, plan: Plan) -> list[Row]:
    costs, prices = plan.costs, deployment.prices
    disk = f"{DISK_PER_DATA:g} × the data, for its append-only file, × ${prices.disk_usd:g} a GB"
    rows = [
        ("memory of Redis", _usd(costs.ram_usd), f"{_bytes(costs.ram_bytes)} × ${prices.ram_usd:g} a GB"),
        ("disk of Redis", _usd(costs.disk_usd), disk),
    ]
    if load.moves:
        because = f"{_bytes(costs.objects_bytes)} × ${prices.objects_usd:g} a GB"
        rows.append(("objects", _usd(costs.objects_usd), because))
    return [*rows, ("in all", _usd(costs.total_usd), "without brokers, workers and replicas of Redis")]


def _sealing(load: Load) -> str:
    if load.seal_after_s is None:
        return "nothing is sealed (CALLMETER_SEGMENTS__SEAL)"
    moved = ", and then moved out" if load.moves else ""
    return f"what is finished is sealed after {format_duration(load.seal_after_s)}{moved}"


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1_000
    return f"{size:,.0f} PB" if size >= 100 else f"{size:.3g} PB"


def _usd(amount: float) -> str:
    return f"${amount:,.2f}" if amount < 100 else f"${amount:,.0f}"


def _by_occasion(figures: Figures) -> dict[str, list[str]]:
    """Benchmarks by when and where they ran."""
    found: dict[str, list[str]] = {}
    for source in figures.sources:
        occasion = f"{source.measured}{', in a short run' if source.short else ''}, {source.machine}"
        found.setdefault(occasion, []).append(source.benchmark)
    return found


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _duration(ms: float) -> str:
    return f"{ms / 1_000:,.3g} s" if ms >= 1_000 else f"{ms:.3g} ms"


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
