"""What folding costs in processor time, the worker's and Redis's, an event: decoded and folded in one process.

    python -m bench.fold_cost

By processor time, so that it tells something on a machine with other work, too. Of a backlog, traces come whole; live
traces, at 20,000 events/s, come in the order of time, one in four of them, as a partition of four has them: the
smaller their batches, the more often is each cell written again. Of traces that come for minutes, by the clock of their
events, a five-minute slot is closed, too. Redis writes no file.
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from zlib import crc32

import click

from aggregator.layout.keys import ShardName
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from bench.feeding import live_messages
from bench.generator import generate
from bench.ingest_ceiling import RETAINED_US, backlog
from bench.measuring import HEADING, alone
from bench.stage import Stage, key_and_value
from callmeter.garbage import YOUNG_OF_BATCHES_MAX, collect_seldom
from ingest.decoding.batch import decode_batch

EVENTS = 72_000
LIVE_EVENTS_PER_S = 20_000
PARTITIONS = 4
# Of each of them: enough that the first answers of caches, and empty cells, matter little.
WARM_UP_PART = 6
BACKLOG, LIVE, FOR_MINUTES = "backlog", "live", "live for minutes"
BATCHES = ((BACKLOG, 20_000), (BACKLOG, 5_000), (LIVE, 5_000), (LIVE, 2_000), (LIVE, 500), (FOR_MINUTES, 200))
# Of a partition, by the clock of the events; of these, the last five minutes are measured.
MINUTES_EVENTS_PER_S, MINUTES_S, MINUTES_WARM_UP_S = 1_000, 420, 120
MINUTES_BEGIN = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


@click.command()
@click.option("--rounds", default=3, show_default=True)
def main(rounds: int) -> None:
    """Print the worker's and Redis's microseconds an event, of a backlog and of live traces, by the size of batches."""
    messages = {BACKLOG: _backlog(), LIVE: _live(), FOR_MINUTES: _for_minutes()}
    collect_seldom(YOUNG_OF_BATCHES_MAX)
    print(HEADING)
    for name, batch in BATCHES:
        taken = [_fold(messages[name], batch, name == FOR_MINUTES) for _ in range(rounds)]
        for who, costs in zip(("worker", "Redis"), zip(*taken, strict=True), strict=True):
            print(alone(f"{who}'s CPU an event, {name}, batches of {batch:,}", "us", costs), flush=True)


def _backlog() -> list[bytes]:
    return [key_and_value(line)[1] for line in generate(backlog(EVENTS))]


def _live() -> list[bytes]:
    """The messages of one partition, traces by their keys."""
    told = live_messages(datetime.now(UTC), LIVE_EVENTS_PER_S, EVENTS * PARTITIONS / LIVE_EVENTS_PER_S)
    return [value for key, value in told if crc32(key) % PARTITIONS == 0]


def _for_minutes() -> list[bytes]:
    """The messages of a partition that gets few, for more than one five-minute slot."""
    return [value for _, value in live_messages(MINUTES_BEGIN, MINUTES_EVENTS_PER_S, MINUTES_S)]


def _fold(values: Sequence[bytes], batch: int, by_events: bool) -> tuple[float, float]:
    """Microseconds of this process and of Redis an event, after some; `by_events`: the clock is that of the events."""
    with Stage(broker=False, redis_options=("--appendonly", "no")) as stage:
        limits = ShardLimits(seal_after_s=7_200)  # nothing is sealed meanwhile
        store = ShardStore(stage.redis, ShardName("callmeter", "bench", 0))
        shard = Shard(store, PriceBook(None, PriceCatalogue()), Retention(), limits)
        warm = MINUTES_WARM_UP_S * MINUTES_EVENTS_PER_S if by_events else max(batch, len(values) // WARM_UP_PART)
        _fold_some(shard, values[:warm], 0, batch, by_events)
        ours_s, redis_s = time.process_time(), _redis_cpu_s(stage)
        _fold_some(shard, values[warm:], warm, batch, by_events)
        ours_s, redis_s = time.process_time() - ours_s, _redis_cpu_s(stage) - redis_s
    return ours_s / (len(values) - warm) * 1e6, redis_s / (len(values) - warm) * 1e6


def _redis_cpu_s(stage: Stage) -> float:
    told = stage.redis.info("cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


def _fold_some(shard: Shard, values: Sequence[bytes], offset: int, batch: int, by_events: bool) -> None:
    begin_us = round(MINUTES_BEGIN.timestamp() * 1e6)
    for at in range(0, len(values), batch):
        some = values[at : at + batch]
        told_us = begin_us + (offset + at + len(some)) * SECOND_US // MINUTES_EVENTS_PER_S
        now_us = told_us if by_events else time.time_ns() // 1_000
        decoded = decode_batch(some, [now_us] * len(some), RETAINED_US)
        shard.finish()
        shard.begin(decoded.events, offset + at + len(some), now_us, now_us, {})
    shard.finish()


if __name__ == "__main__":
    main()
