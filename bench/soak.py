"""Weeks of a worker's life in minutes: calls come, some days late; all is sealed, moved, unsealed and sealed again.

The clock is simulated, hour by hour: a batch is what came in the hour, with what was held back until then; then the
worker seals and moves what is due, as it does when idle. Once a simulated day it starts anew. The weeks lie ahead of
the clock of Redis, which so drops nothing by itself: what is past its expiry by the simulated clock is dropped here.
After two weeks as much goes as comes, so that Redis and the worker must not grow any more. At the end hours of
every day that is kept are verified, records against rollups and trees, and every object is read.

`python -m bench --only soak --calls 10000000` takes as many calls as one waits for.
"""

import asyncio
import heapq
import os
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Any, NamedTuple

from aggregator.calls.event import Event
from aggregator.layout.keys import ShardName
from aggregator.objects.opening import open_store
from aggregator.rollups.levels import Retention
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, DAY_US, HOUR_S, HOUR_US, SECOND_US
from aggregator.writing.limits import ShardLimits
from aggregator.writing.object_verification import shard_objects, verify_objects
from aggregator.writing.objects_access import AtOnce, objects_access
from aggregator.writing.shard import Shard
from bench.generator import GeneratorSettings, generate
from bench.measuring import Line, alone, compared, ours_at_most, ratio_at_most
from bench.month import PROJECT, events_of, prices
from bench.scale import Scale, tell, watched
from bench.sealed_stage import object_bytes, objects_url
from bench.stage import Stage, resident_bytes
from callmeter.settings import RedisSettings, RetentionSettings, SegmentSettings, Settings
from callmeter.window_verification import verify_window

SHARD = ShardName("soak", "calls", 0)
DAYS, WEEK_DAYS = 28, 7
KEPT = Retention(7 * DAY_S, 7 * DAY_S, 7 * DAY_S, 10 * DAY_S)
# Not after what they are about is past its retention: a worker would refuse them.
LATE_SHARE, LATE_DAYS_MAX = 0.01, 6
LIMITS = ShardLimits(seal_after_s=HOUR_S)
# As many as a worker takes at once; records expire some thousand a batch.
BATCH_EVENTS = 5_000
KEYS_PER_LOOK = 1_000
HOURS_PER_EXPIRY = 6
GROWTH_MAX = 1.05
WEIGHED = ("Redis", "worker", "objects")


class Weight(NamedTuple):
    """What there was at the end of a day: bytes that Redis uses, resident bytes of this process, and of all objects."""

    redis_bytes: int
    resident_bytes: int
    objects_bytes: int


def run(scale: Scale) -> Iterator[Line]:
    """Yields what was found wrong, and how memory went."""
    calls = scale.calls or scale.amount(1_000_000, 40_000, least=2_000)
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    end = start + timedelta(days=DAYS)
    settings = GeneratorSettings(calls, start, DAYS, message_bytes=0)
    events = events_of(watched(generate(settings), 2 * calls, f"events of {calls:,} calls in {DAYS} days"), end)
    with Stage(broker=False, redis_options=("--appendonly", "no")) as stage:
        begun_s, begun_cpu_s = time.monotonic(), time.process_time()
        weights = list(_live(stage, _by_hour(events, settings, end)))
        took_s, cpu_s = time.monotonic() - begun_s, time.process_time() - begun_cpu_s
        title = f"soak, {calls:,} calls in {DAYS} days"
        yield alone(f"{title}: calls a second, with making them", "1/s", [calls / took_s])
        yield alone(f"{title}: processor time of this process, a call", "us", [cpu_s / calls * 1e6])
        yield from _memory(title, weights)
        yield from _verified(stage, title, end)


def _by_hour(events: Iterator[Event], settings: GeneratorSettings, end: datetime) -> Iterator[tuple[int, list[Event]]]:
    """Yields the end of each hour (microseconds since 1970), and what came in it; some of it happened days before."""
    rng, order = Random(settings.seed), count()
    late: list[tuple[int, int, Event]] = []
    end_us = round(end.timestamp() * 1e6)
    hour_us, batch = round(settings.start.timestamp() * 1e6) + HOUR_US, []
    for event in events:
        at_us = event.at_us
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


def _live(stage: Stage, hours: Iterator[tuple[int, list[Event]]]) -> Iterator[Weight]:
    """Folds, seals and moves hour by hour; yields what there was at the end of each day."""
    client = connect(stage.redis_server.url)
    access = objects_access(open_store(objects_url(stage)), AtOnce())
    store = ShardStore(client, SHARD)
    shard, offset = Shard(store, prices(), KEPT, LIMITS, access), 0
    told, told_s, told_cpu_s = 0, time.monotonic(), time.process_time()
    for number, (now_us, batch) in enumerate(hours, 1):
        for at in range(0, len(batch), BATCH_EVENTS):
            some = batch[at : at + BATCH_EVENTS]
            offset += len(some)
            shard.apply(some, offset, None, now_us, {})
        shard.touch(now_us)
        while shard.seal(now_us):
            pass
        if number % HOURS_PER_EXPIRY == 0:
            expire(stage.redis, now_us // SECOND_US)
        if number % 24 == 0:
            shard = Shard(store, prices(), KEPT, LIMITS, access)
            weight = Weight(stage.redis.info("memory")["used_memory"], resident_bytes(os.getpid()), object_bytes(stage))
            sizes = ", ".join(f"{what} {size / 1e6:.1f} MB" for what, size in zip(WEIGHED, weight, strict=True))
            more, took_s, cpu_s = offset - told, time.monotonic() - told_s, time.process_time() - told_cpu_s
            told, told_s, told_cpu_s = offset, time.monotonic(), time.process_time()
            speed = f"{more / took_s:.0f}/s, {cpu_s / more * 1e6:.0f} us of processor time each"
            tell(f"day {number // 24}: {offset:,} events, {speed}; {sizes}")
            yield weight
    client.close()


def expire(client: Any, now_s: int) -> int:
    """Drops the keys that Redis would have dropped by then; how many."""
    dropped, cursor = 0, 0
    while True:
        cursor, keys = client.scan(cursor, count=KEYS_PER_LOOK)
        asking: Any = client.pipeline(transaction=False)
        for key in keys:
            asking.expiretime(key)
        over = [key for key, at_s in zip(keys, asking.execute(), strict=True) if 0 < at_s <= now_s]
        if over:
            dropped += client.unlink(*over)
        if not cursor:
            return dropped


def _memory(title: str, weights: Sequence[Weight]) -> Iterator[Line]:
    """Compares the last whole days, a week, with the week before, by the most of each; a line for each week's end of
    Redis.
    """
    for week in range(WEEK_DAYS, DAYS + 1, WEEK_DAYS):
        yield alone(f"{title}: Redis after {week} days", "MB", [weights[week - 1].redis_bytes / 1e6])
    whole = weights[:-1]  # all that was held back until then comes on the last day
    last, before = whole[-WEEK_DAYS:], whole[-2 * WEEK_DAYS : -WEEK_DAYS]
    for number, what in enumerate(WEIGHED):
        ours, other = (max(weight[number] for weight in week) / 1e6 for week in (last, before))
        # Objects are deleted a week after they are retired: they grow until then.
        target = ratio_at_most(GROWTH_MAX) if what != "objects" else None
        yield compared(f"{title}: {what}, last week / before", "MB", [ours], [other], target)


def _verified(stage: Stage, title: str, end: datetime) -> Iterator[Line]:
    """Verifies another hour of each day that is kept, and all objects."""
    kept_days = KEPT.calls_s // DAY_S
    settings = Settings(
        redis=RedisSettings(url=stage.redis_server.url, namespace=SHARD.namespace),
        segments=SegmentSettings(url=objects_url(stage)),
        retention=RetentionSettings(
            calls=KEPT.calls_s, minutes=KEPT.minutes_s, five_minutes=KEPT.five_minutes_s, hours=KEPT.hours_s
        ),
        now=end,
    )
    found = hours = 0
    first_hour = round(end.timestamp()) // HOUR_S - kept_days * 24
    for day in watched(range(kept_days), kept_days, "days to verify"):
        first_us = (first_hour + day * 24 + 1 + day * 7 % 23) * HOUR_US
        window = first_us, first_us + HOUR_US, round(end.timestamp() * 1e6)
        verified = asyncio.run(verify_window(settings, None, PROJECT, *window, tree=True))
        found, hours = found + len(verified.differences) + verified.unsettled_minutes, hours + 1
    yield alone(f"{title}: differences in {hours} hours verified", "", [found], ours_at_most(0))
    client = connect(stage.redis_server.url)
    store, objects = ShardStore(client, SHARD), open_store(objects_url(stage))
    assert objects is not None
    states = list(verify_objects(store, objects, shard_objects(store)[0]))
    wrong = sum(len(state.wrong) for state in states)
    yield alone(f"{title}: faults in {len(states)} objects", "", [wrong], ours_at_most(0))
    client.close()
