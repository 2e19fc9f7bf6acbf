"""What a call takes in Redis, unsealed, and a rollup at each level by how many calls it counts, and a model in it with
its sketches: what `callmeter plan` reckons with.

Every call of those is a root with an op and neither user nor run, so that VIEWS views count the same calls.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial

from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.rollups.levels import LEVELS, Level
from aggregator.time_units import DAY_S
from bench.measuring import Line, alone, ours_at_most
from bench.memory import events_at, fold_and_weigh
from bench.month import last_minute
from bench.scale import Scale, tell
from bench.stage import Stage

VIEWS = 4  # of all calls, of the op, of roots, of both
COUNTS = (1, 10, 100, 1_000, 10_000)
SLOTS_MAX, SLOTS_MIN = 48, 4
CALLS_MAX = 20_000
OPS = 1_000
CALL_BYTES_MAX = 450

Weigh = Callable[[Iterable[Event], datetime], Mapping[str, int]]
"""Bytes by purpose of what an empty Redis holds after these events; the end is the time of the fold."""


def run(scale: Scale) -> Iterator[Line]:
    """Calls with their indexes first, then rollups."""
    with Stage(broker=False) as stage:
        weigh = partial(fold_and_weigh, stage)
        yield from _per_call(weigh, scale.amount(200_000, 50_000))
        yield from _rollup_lines(weigh, scale)


def _per_call(weigh: Weigh, calls: int) -> Iterator[Line]:
    sizes = weigh(events_at(calls, 100.0, last_minute()), last_minute())
    yield alone("redis: per call, with all indexes", "B", [sizes["calls"] / calls], ours_at_most(CALL_BYTES_MAX))
    indexes = sizes["indexes"] / calls
    yield alone("redis: per call, indexes only", "B", [indexes], figure="index_bytes_per_call")
    records = sizes["calls"] / calls - indexes
    yield alone("redis: per call, record and id only", "B", [records], figure="record_bytes_per_call")
    busy = sizes["busy"] / calls
    yield alone("redis: per call of a busy minute, its view and first calls", "B", [busy], figure="busy_bytes_per_call")
    yield alone(
        "redis: per call, rollups of all levels and views at 100/s",
        "B",
        [sum(sizes[level.letter] for level in LEVELS) / calls],
    )


def _rollup_lines(weigh: Weigh, scale: Scale) -> Iterator[Line]:
    """A line for each level and number of calls, without and with a model; and one for an entry of a directory."""
    end = datetime.now(UTC)
    for level in LEVELS:
        for calls in COUNTS:
            if scale.short and calls == COUNTS[-1] and level is not LEVELS[-1]:
                continue
            tell(f"rollups of {calls:,} calls in slots of {level.slot_s} s")
            slots = max(SLOTS_MIN, min(SLOTS_MAX, CALLS_MAX // calls))
            without, with_model = (
                weigh(_events(level, slots, calls, has_usage, end), end)[level.letter] / (VIEWS * slots)
                for has_usage in (False, True)
            )
            title = f"redis: {level.slot_s} s slot of {calls:,} calls"
            at = f"{level.letter}.{calls}"
            yield alone(f"{title}: without models", "B", [without], figure=f"slot_bytes.{at}")
            yield alone(f"{title}: a model in it", "B", [with_model - without], figure=f"model_bytes.{at}")
    # Besides the ops, roots and combinations with it make views.
    sizes = weigh(_of_ops(end), end)
    yield alone("redis: a view in a day's directory", "B", [sizes["views"] / (2 * OPS + 1)], figure="view_bytes")


def _events(level: Level, slots: int, calls: int, has_usage: bool, end: datetime) -> Iterator[Event]:
    """Returns so many calls in each of the last slots of the day before; all values differ, as those of real calls
    do."""
    first_us = (int(end.timestamp()) // DAY_S * DAY_S - slots * level.slot_s) * 1_000_000
    for number in range(slots * calls):
        slot, place = divmod(number, calls)
        started_us = first_us + slot * level.slot_us + place * level.slot_us // calls
        yield _call(number, "llm", started_us, has_usage)


def _of_ops(end: datetime) -> Iterator[Event]:
    started_us = (int(end.timestamp()) // DAY_S * DAY_S - DAY_S) * 1_000_000
    for number in range(OPS):
        yield _call(number, f"acme.agent.op-{number:05d}:v1", started_us, has_usage=False)


def _call(number: int, op_name: str, started_us: int, has_usage: bool) -> Event:
    tokens = 500 + number * 7_919 % 30_011
    used = UsageCounts(tokens, tokens // 5, tokens + tokens // 5, tokens // 2, 0, 1)
    ended_us = started_us + 200_000 + number * 104_729 % 30_000_000
    usage = {"gpt-4o": used} if has_usage else {}
    return Event("acme", f"{number:016x}", CallStart(op_name, started_us), CallEnd(ended_us, False, usage))
