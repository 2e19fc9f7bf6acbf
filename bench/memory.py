"""Memory of Redis, by what it is spent on: per cell, per month at three rates; and of a worker over time.

Each key is asked for its size; what the server needs beside (its own tables) is added in proportion. A block of
rollups holds the cells of all views: what is of the view of all calls is its part of the bytes of fields and values,
each entry with the same overhead. A month is extrapolated from up to an hour at its rate: calls and slots of every
level, for as long as each is kept by default.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.layout.keys import ShardName
from aggregator.rollups.levels import LEVELS, Retention
from aggregator.rollups.views import ALL_CALLS
from aggregator.time_units import DAY_S
from bench.generator import GeneratorSettings, generate
from bench.measuring import Line, alone, compared, ours_at_most, ratio_at_most
from bench.month import events_of, fold, last_minute
from bench.scale import Scale, watched
from bench.stage import Stage, pause, resident_bytes

SHARD = ShardName("memory", "calls", 0)
KEYS_PER_LOOK = 1_000
CELL_BYTES_MAX = 1_200
CELL_MODELS, CELL_CALLS = 5, 10
# Calls per second, and how many minutes of that rate are measured, in a full run and in a short one. A level whose slot
# is longer is not told: what part of an hour brings says little about its sketches.
MONTHS = ((1, 60, 60), (100, 60, 10), (1_000, 60, 2))
RESIDENT_MAX = 1.05
# Pointers and headers of an entry of a hash table, about.
ENTRY_BYTES = 40

Sizes = Counter[str]
"""Bytes by what they are for: `calls`, of these `indexes`, `views`, and each level's letter for all views (`m`) and for
the view of all (`m:0`).
"""


def run(scale: Scale) -> Iterator[Line]:
    """Redis first, then the worker."""
    with Stage(broker=False) as stage:
        yield _per_cell(stage, scale.amount(120, 30, least=5))
        for rate, minutes, minutes_short in MONTHS:
            yield from _per_month(stage, rate, scale.amount(rate * minutes * 60, rate * minutes_short * 60, least=20))
    events = scale.amount(10_000_000, 200_000, least=100_000)
    with Stage(redis_options=("--appendonly", "no")) as stage:
        yield from _resident(stage, events)


def _per_cell(stage: Stage, minutes: int) -> Line:
    end = last_minute()
    sizes = fold_and_weigh(stage, _busy_cells(minutes, end), end)
    cell_bytes = sizes["m:0"] / (minutes * CELL_MODELS)
    target = ours_at_most(CELL_BYTES_MAX)
    return alone(f"redis: per (minute, model) cell of {CELL_CALLS} calls", "B", [cell_bytes], target)


def _per_month(stage: Stage, rate: int, calls: int) -> Iterator[Line]:
    seconds = calls / rate
    now = last_minute()
    # Whole slots of every level.
    sizes = fold_and_weigh(stage, events_at(calls, rate, now.replace(minute=0, second=0)), now)
    kept = Retention()
    parts = {f"calls for {kept.calls_s // DAY_S} d": sizes["calls"] / seconds * kept.calls_s}
    for level in LEVELS:
        name = f"{level.slot_s} s slots for {kept.level_s(level) // DAY_S} d"
        if seconds >= level.slot_s:
            parts[name] = sizes[level.letter] / seconds * kept.level_s(level)
        else:
            yield Line(f"redis: {rate:,} calls/s, {name}", absent=f"{level.slot_s} s at this rate take a full run")
    for name, size in parts.items():
        yield alone(f"redis: {rate:,} calls/s, {name}", "GB", [size / 1e9])
    if len(parts) > len(LEVELS):
        yield alone(f"redis: {rate:,} calls/s, all that is kept by default", "GB", [sum(parts.values()) / 1e9])


def events_at(calls: int, calls_per_s: float, end: datetime) -> Iterator[Event]:
    """Events of calls at this rate, up to the end."""
    days = calls / calls_per_s / DAY_S
    settings = GeneratorSettings(calls, end - timedelta(days=days), days, message_bytes=0)
    what = f"events of {calls:,} calls at {calls_per_s:,.0f}/s"
    return events_of(watched(generate(settings), 2 * calls, what), end)


def _busy_cells(minutes: int, end: datetime) -> Iterator[Event]:
    """Returns CELL_CALLS calls of each of CELL_MODELS models in each minute; all values differ."""
    first_us = int((end - timedelta(minutes=minutes)).timestamp()) // 60 * 60_000_000
    for number in range(minutes * CELL_MODELS * CELL_CALLS):
        minute, place = divmod(number, CELL_MODELS * CELL_CALLS)
        started_us = first_us + minute * 60_000_000 + place * 1_000_000
        tokens = 500 + number * 7919 % 3_000
        used = UsageCounts(tokens, tokens // 5, tokens + tokens // 5, tokens // 2, 0, 1)
        model = ("gpt-4o", "claude-sonnet-4", "gpt-4o-mini", "gemini-2.5-flash", "o3")[place % CELL_MODELS]
        ended_us = started_us + 200_000 + number * 104_729 % 3_000_000
        yield Event("acme", f"{number:016x}", CallStart("llm", started_us), CallEnd(ended_us, False, {model: used}))


def fold_and_weigh(stage: Stage, events: Iterable[Event], end: datetime) -> Sizes:
    """Returns what an empty Redis holds after these events; Redis is empty again on return."""
    stage.redis.flushall()
    before = stage.redis.info("memory")["used_memory"]
    fold(stage.redis_server.url, SHARD, events, end)
    sizes = weigh(stage)
    used = stage.redis.info("memory")["used_memory"] - before
    stage.redis.flushall()
    overflow = max(1.0, used / sizes["all"])  # the server's own buffers may have shrunk meanwhile
    return Counter({purpose: round(size * overflow) for purpose, size in sizes.items()})


def weigh(stage: Stage) -> Sizes:
    """Returns what the shard's keys take, as the server counts it."""
    sizes: Sizes = Counter()
    keys = list(stage.redis.scan_iter(count=KEYS_PER_LOOK))
    for at in range(0, len(keys), KEYS_PER_LOOK):
        pipeline = stage.redis.pipeline(transaction=False)
        for key in keys[at : at + KEYS_PER_LOOK]:
            pipeline.memory_usage(key, samples=0)
        for key, size in zip(keys[at : at + KEYS_PER_LOOK], pipeline.execute(), strict=True):
            for purpose, part in _purposes(stage, key):
                sizes[purpose] += round(size * part)
            sizes["all"] += size
    return sizes


def _purposes(stage: Stage, key: bytes) -> list[tuple[str, float]]:
    """Returns what a key is for, by `aggregator.layout.keys`, each purpose with its part of the key."""
    parts = key.decode("utf-8", "replace").removeprefix(f"{SHARD.tag}:").split(":")
    if len(parts) > 2 and parts[1] == "r":
        block: Any = stage.redis.hgetall(key)
        return [(parts[2], 1), (f"{parts[2]}:{ALL_CALLS}", _part_of_all_calls(block))]
    if len(parts) > 1 and parts[1] == "views":
        return [("m", 1), ("views", 1)]
    if len(parts) > 1 and parts[1] == "busy":
        return [("busy", 1)]
    return [("calls", 1), ("indexes", 1)] if len(parts) > 1 and parts[1] in ("x", "y", "w", "z") else [("calls", 1)]


def _part_of_all_calls(block: Mapping[bytes, bytes]) -> float:
    sizes: Counter[int] = Counter()
    for field, value in block.items():
        sizes[int.from_bytes(field[2:5], "big")] += len(field) + len(value) + ENTRY_BYTES
    return sizes[ALL_CALLS] / sizes.total()


def _resident(stage: Stage, events: int) -> Iterator[Line]:
    """A worker's resident memory after a fifth of the events, and after all."""
    topic = stage.new_topic()
    start = datetime.now(UTC) - timedelta(days=events / 200 / DAY_S, hours=1)
    settings = GeneratorSettings(events // 2, start, events / 200 / DAY_S, message_bytes=0)
    stage.fill(topic, generate(settings), events, "events for a worker's memory")
    worker = stage.worker(topic)
    worker.start_until_logged("partition assigned")
    assert worker.pid is not None
    early = late = 0
    for done in watched(_folded(stage, topic, events), events, "folding"):
        late = resident_bytes(worker.pid)
        if done <= events // 5 or not early:
            early = late
    yield alone(f"worker: resident after {events:,} events", "B", [late], figure="worker_resident_bytes")
    yield compared(
        f"worker: resident after {events:,} events / after a fifth",
        "MB",
        [late / 1e6],
        [early / 1e6],
        ratio_at_most(RESIDENT_MAX),
    )


def _folded(stage: Stage, topic: str, events: int) -> Iterator[int]:
    """How many events are folded, again and again, until all are."""
    done = 0
    while done < events:
        done = stage.next_offsets(topic, [0])[0]
        yield done
        pause()
