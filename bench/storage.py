"""What a call takes when all of it is sealed, beside ClickHouse's raw table of the same calls, by the servers' counts.

Ours is everything: records, ids, indexes, rollups of all levels and views, in Redis and in objects. Theirs is the table
alone, merged to one part, each column with the codec that suits it: what it answers it reads from calls.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

from aggregator.calls.event import Event
from aggregator.rollups.levels import LEVELS
from aggregator.time_units import DAY_S
from bench.clickhouse import ClickHouse
from bench.environments import NotInstallable, python_with
from bench.generator import GeneratorSettings, generate
from bench.measuring import Line, alone, compared, ours_at_most, ratio_at_most
from bench.memory import SHARD, weigh
from bench.month import events_of
from bench.raw_table import load
from bench.scale import Scale, watched
from bench.sealed_stage import load_sealed, object_bytes
from bench.stage import Stage

CALLS_PER_S = 10.0
HOURS, HOURS_SHORT = 4, 1
PROFILES: tuple[tuple[int, Literal["ordered", "random"]], ...] = (
    (2, "ordered"),
    (2, "random"),
    (50, "ordered"),
    (50, "random"),
)
# All calls are of a day that is over: what is of one that is not stays in Redis.
BEFORE_MIDNIGHT = timedelta(hours=1)
CALL_BYTES_MAX, OF_CLICKHOUSE_MAX = 40.0, 1.15


def run(scale: Scale) -> Iterator[Line]:
    """Yields lines for each profile: few and many users, ids that begin with the time and random ones."""
    try:
        python = python_with("chdb")
    except NotInstallable as why:
        yield Line("storage", absent=str(why))
        return
    hours = HOURS_SHORT if scale.short else HOURS
    calls = scale.amount(round(CALLS_PER_S * 3_600 * hours), round(CALLS_PER_S * 3_600 * hours), least=2_000)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = midnight - BEFORE_MIDNIGHT
    for users, ids in PROFILES:
        days = calls / CALLS_PER_S / DAY_S
        settings = GeneratorSettings(calls, end - timedelta(days=days), days, message_bytes=0, users=users, ids=ids)
        with Stage(broker=False) as stage:
            theirs = ClickHouse(python, stage.directory / "clickhouse")
            try:
                their_bytes = load(theirs, stage.directory / "calls.jsonl", _events(settings, end), end)
            finally:
                theirs.close()
            yield from _profile(stage, settings, end, f"{users} users, {ids} ids", their_bytes / calls)


def _events(settings: GeneratorSettings, end: datetime) -> Iterator[Event]:
    return events_of(watched(generate(settings), 2 * settings.calls, f"events of {settings.calls:,} calls"), end)


def _profile(stage: Stage, settings: GeneratorSettings, end: datetime, title: str, theirs: float) -> Iterator[Line]:
    """Yields what each part takes, a call, and how all of it compares."""
    calls = settings.calls
    took_s = load_sealed(stage, SHARD, _events(settings, end), end + 2 * BEFORE_MIDNIGHT)
    sizes, objects = weigh(stage), object_bytes(stage)
    rollups = sum(sizes[level.letter] for level in LEVELS) - sizes["views"]
    parts = {
        "Redis: records with ids": sizes["calls"] - sizes["indexes"],
        "Redis: indexes": sizes["indexes"],
        "Redis: directories of views, one a day": sizes["views"],
        "Redis: rollups": rollups,
        "objects": objects,
    }
    for name, size in parts.items():
        yield alone(f"sealed, {title}: {name}, a call", "B", [size / calls])
    ours = (sizes["all"] + objects) / calls
    yield alone(f"sealed, {title}: all, a call", "B", [ours], ours_at_most(CALL_BYTES_MAX))
    yield compared(f"sealed, {title}: all / ClickHouse raw", "B", [ours], [theirs], ratio_at_most(OF_CLICKHOUSE_MAX))
    yield alone(f"sealed, {title}: processor time of sealing, a call", "us", [took_s / calls * 1e6])
