"""What breakdowns by model and by error cost: views of every model and class of error, on the fold and in memory.

    python -m bench.facets

The same calls are folded with these views and without them, in turn, into an empty Redis in batches as a worker applies
them. Every combination of op, root, user and run that occurs has views of its own, and so has each of these with each
model, and with each class of error.
"""

import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice
from typing import NamedTuple
from unittest.mock import patch

from aggregator.calls.event import Event
from aggregator.rollups.levels import LEVELS
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.writing.shard import Shard
from bench.measuring import HEADING, Line, compared
from bench.memory import SHARD, events_at, weigh
from bench.month import RETENTION, last_minute, prices
from bench.scale import tell
from bench.stage import Stage, cpu_s

ROUNDS = 2
# Calls a second of one project, and how many of them are folded.
LOADS = ((10.0, 18_000), (1_000.0, 20_000))
BATCH_S, BATCH_EVENTS_MAX = 1.0, 2_000


class Cost(NamedTuple):
    """Costs of one run: processor time an event, in µs; memory of rollups and directories of views a call, in bytes."""

    fold_us: float
    redis_us: float
    rollup_bytes: float
    directory_bytes: float


def main() -> None:
    """Print the lines."""
    sys.stdout.write(f"{HEADING}\n")
    with Stage(broker=False) as stage:
        for calls_per_s, calls in LOADS:
            end = last_minute()
            now_us = round(end.timestamp() * 1e6)
            events = list(events_at(calls, calls_per_s, end))
            batch = max(1, min(BATCH_EVENTS_MAX, round(2 * calls_per_s * BATCH_S)))
            taken = [(_cost(stage, events, batch, now_us, True), _cost(stage, events, batch, now_us, False))]
            for _ in range(ROUNDS - 1):
                taken.append((_cost(stage, events, batch, now_us, True), _cost(stage, events, batch, now_us, False)))
            for line in _lines(f"{calls_per_s:,.0f} calls/s", taken):
                sys.stdout.write(f"{line}\n")


def _lines(load: str, taken: Sequence[tuple[Cost, Cost]]) -> list[Line]:
    names = {
        "fold_us": ("processor time of the fold an event", "us"),
        "redis_us": ("processor time of Redis an event", "us"),
        "rollup_bytes": ("rollups of all levels a call, not sealed", "B"),
        "directory_bytes": ("directories of views a call", "B"),
    }
    return [
        compared(
            f"{load}: {what}, with facets / without",
            unit,
            [getattr(ours, field) for ours, _ in taken],
            [getattr(other, field) for _, other in taken],
        )
        for field, (what, unit) in names.items()
    ]


def _cost(stage: Stage, events: Sequence[Event], batch_events: int, now_us: int, with_facets: bool) -> Cost:
    stage.redis.flushall()
    tell(f"folding {len(events):,} events {'with' if with_facets else 'without'} facets")
    client = connect(stage.redis_server.url)
    assert stage.redis_server.pid is not None
    shard = Shard(ShardStore(client, SHARD), prices(), RETENTION)
    rest = iter(events)
    counted = nullcontext() if with_facets else patch("aggregator.writing.fold.count_facets", lambda call, of: None)
    begun_s, redis_s = time.process_time(), cpu_s(stage.redis_server.pid)
    with counted:
        while batch := list(islice(rest, batch_events)):
            shard.apply(batch, (shard.next_offset or 0) + len(batch), now_us, now_us, {})
    fold_s = time.process_time() - begun_s
    redis_s = cpu_s(stage.redis_server.pid) - redis_s
    client.close()
    sizes, calls = weigh(stage), len(events) / 2
    rollups = sum(sizes[level.letter] for level in LEVELS)
    return Cost(fold_s / len(events) * 1e6, redis_s / len(events) * 1e6, rollups / calls, sizes["views"] / calls)


if __name__ == "__main__":
    main()
