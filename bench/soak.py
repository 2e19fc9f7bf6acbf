"""Weeks of a worker's life in minutes: calls come, some days late; all is sealed, moved, unsealed and sealed again.

The clock is simulated, hour by hour: a batch is what came in the hour, with what was held back until then; then the
worker seals and moves what is due, as it does when idle. Once a simulated day it starts anew. At the end hours of every
day are verified, records against rollups and trees, and every object is read. Nothing expires: Redis does that by a
clock of its own. So its memory grows with the calls, and must not grow faster in the last third than in the first.
"""

import asyncio
import heapq
import os
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import count, pairwise
from random import Random
from typing import NamedTuple

from aggregator.calls.event import Event
from aggregator.layout.keys import ShardName
from aggregator.objects.opening import open_store
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_US, HOUR_S, HOUR_US
from aggregator.writing.limits import ShardLimits
from aggregator.writing.object_verification import shard_objects, verify_objects
from aggregator.writing.objects_access import AtOnce, objects_access
from aggregator.writing.shard import Shard
from bench.generator import GeneratorSettings, generate
from bench.measuring import Line, alone, compared, ours_at_most, ratio_at_most
from bench.month import PROJECT, RETENTION, events_of, last_minute, prices
from bench.scale import Scale, tell, watched
from bench.sealed_stage import object_bytes, objects_url
from bench.stage import Stage, resident_bytes
from callmeter.settings import RedisSettings, SegmentSettings, Settings
from callmeter.window_verification import verify_window

SHARD = ShardName("soak", "calls", 0)
DAYS, THIRDS = 21, 3
LATE_SHARE, LATE_DAYS_MAX = 0.01, 14
LIMITS = ShardLimits(seal_after_s=HOUR_S)
GROWTH_MAX, RESIDENT_MAX = 1.1, 1.05


class Weight(NamedTuple):
    """What there was at some moment: calls that came, bytes that Redis uses, and resident bytes of this process."""

    calls: int
    redis_bytes: int
    resident_bytes: int


def run(scale: Scale) -> Iterator[Line]:
    """Yields what was found wrong, and how memory went."""
    calls, end = scale.amount(1_000_000, 40_000, least=2_000), last_minute().replace(minute=0, second=0)
    settings = GeneratorSettings(calls, end - timedelta(days=DAYS), DAYS, message_bytes=0)
    events = events_of(watched(generate(settings), 2 * calls, f"events of {calls:,} calls in {DAYS} days"), end)
    with Stage(broker=False, redis_options=("--appendonly", "no")) as stage:
        begun_s = time.process_time()
        weights = [Weight(0, 0, 0), *_live(stage, _by_hour(events, settings, end))]
        took_s = time.process_time() - begun_s
        yield alone(f"soak, {calls:,} calls: processor time of the worker, a call", "us", [took_s / calls * 1e6])
        yield from _memory(stage, calls, weights)
        yield from _verified(stage, calls, settings.start, end)


def _by_hour(events: Iterator[Event], settings: GeneratorSettings, end: datetime) -> Iterator[tuple[int, list[Event]]]:
    """Yields the end of each hour (microseconds since 1970), and what came in it; some of it happened days before."""
    rng, order = Random(settings.seed), count()
    late: list[tuple[int, int, Event]] = []
    end_us = round(end.timestamp() * 1e6)
    hour_us, batch = round(settings.start.timestamp() * 1e6) + HOUR_US, []
    for event in events:
        at_us = happened_us(event)
        while at_us >= hour_us and hour_us < end_us:
            while late and late[0][0] < hour_us:
                batch.append(heapq.heappop(late)[2])
            yield hour_us, batch
            hour_us, batch = hour_us + HOUR_US, []
        if rng.random() < LATE_SHARE:
            due_us = min(at_us + round(rng.random() * LATE_DAYS_MAX * DAY_US), end_us - 1)
            heapq.heappush(late, (due_us, next(order), event))
        else:
            batch.append(event)
    yield end_us, [*batch, *(event for _, _, event in sorted(late))]


def happened_us(event: Event) -> int:
    """Returns when an event, a start or an end, happened (microseconds since 1970)."""
    if event.start is not None:
        return event.start.started_at_us
    assert event.end is not None
    return event.end.ended_at_us


def _live(stage: Stage, hours: Iterator[tuple[int, list[Event]]]) -> Iterator[Weight]:
    """Folds, seals and moves hour by hour; yields what there was after each third of the days."""
    client = connect(stage.redis_server.url)
    access = objects_access(open_store(objects_url(stage)), AtOnce())
    store = ShardStore(client, SHARD)
    shard, offset = Shard(store, prices(), RETENTION, LIMITS, access), 0
    per_third = DAYS * 24 // THIRDS
    for number, (now_us, batch) in enumerate(hours, 1):
        offset += len(batch)
        shard.apply(batch, offset, now_us, now_us, {})
        while shard.seal(now_us):
            pass
        if number % 24 == 0:
            shard = Shard(store, prices(), RETENTION, LIMITS, access)
        if number % per_third == 0:
            tell(f"{number // 24} days, {offset:,} events")
            yield Weight(offset // 2, stage.redis.info("memory")["used_memory"], resident_bytes(os.getpid()))
    client.close()


def _memory(stage: Stage, calls: int, weights: list[Weight]) -> Iterator[Line]:
    grown = [
        (after.redis_bytes - before.redis_bytes) / (after.calls - before.calls) for before, after in pairwise(weights)
    ]
    title = f"soak, {calls:,} calls"
    yield compared(f"{title}: Redis, last third / first, a call", "B", grown[-1:], grown[:1], ratio_at_most(GROWTH_MAX))
    yield alone(f"{title}: objects, a call", "B", [object_bytes(stage) / calls])
    resident = [weight.resident_bytes / 1e6 for weight in weights]
    target = ratio_at_most(RESIDENT_MAX)
    yield compared(f"{title}: worker's memory, at the end / after a third", "MB", resident[-1:], resident[1:2], target)


def _verified(stage: Stage, calls: int, start: datetime, end: datetime) -> Iterator[Line]:
    """Verifies another hour of each day, and all objects."""
    settings = Settings(
        redis=RedisSettings(url=stage.redis_server.url, namespace=SHARD.namespace),
        segments=SegmentSettings(url=objects_url(stage)),
        now=end,
    )
    found = hours = 0
    for day in watched(range(DAYS), DAYS, "days to verify"):
        first_us = (round(start.timestamp()) // HOUR_S + day * 24 + day * 7 % 24) * HOUR_US
        window = first_us, first_us + HOUR_US, round(end.timestamp() * 1e6)
        verified = asyncio.run(verify_window(settings, None, PROJECT, *window, tree=True))
        found, hours = found + len(verified.differences) + verified.unsettled_minutes, hours + 1
    yield alone(f"soak, {calls:,} calls: differences in {hours} hours verified", "", [found], ours_at_most(0))
    client = connect(stage.redis_server.url)
    store, objects = ShardStore(client, SHARD), open_store(objects_url(stage))
    assert objects is not None
    states = list(verify_objects(store, objects, shard_objects(store)[0]))
    wrong = sum(len(state.wrong) for state in states)
    yield alone(f"soak, {calls:,} calls: faults in {len(states)} objects", "", [wrong], ours_at_most(0))
    client.close()
