"""Shards whose minutes stay open until a test closes them, and what readers see of them."""

from typing import Any

import msgspec
import numpy as np

from aggregator.layout.open_minutes import OPEN_FIELD
from aggregator.reading.rollups import LevelBlock, read_rollups
from aggregator.reading.slot_rollups import day_views, slot_rollups
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, Level
from aggregator.rollups.series import LATENCY, OF_LATENCY
from aggregator.rollups.sketch import centroids, quantiles
from aggregator.rollups.views import ViewFilter
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.time_units import DAY_S, SECOND_US
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from tests.support.folding import NOW_US, PROJECT
from tests.support.reading import read

FOR_EVER_S = 3650 * DAY_S
# Every minute is opened, however old and small; none is due until a test says so.
OPEN = ShardLimits(open_calls_min=0, open_within_s=FOR_EVER_S, close_after_s=FOR_EVER_S)
DIRECT = msgspec.structs.replace(OPEN, open_slots_max=0)
DAY = 20_515  # of T0


def close_some(shard: Shard) -> int:
    """One step of closing, as of an instant at which all minutes are due; returns how many cells."""
    shard.finish()
    return shard.seal(NOW_US + 2 * FOR_EVER_S * SECOND_US)


def close_all(shard: Shard) -> int:
    """All steps of closing; returns how many there were."""
    steps = 0
    while close_some(shard):
        steps += 1
    return steps


def said_open(client: Any) -> list[bytes]:
    """All that is stored of open minutes, wherever."""
    hashes = [client.hgetall(key) for key in client.keys("*:open_minutes")]
    blocks = [client.hget(key, OPEN_FIELD) for key in client.keys("*:r:[fh]:*")]
    return [one for one in blocks if one is not None] + [value for one in hashes for value in one.values()]


def coarser_rows(redis_url: str, project_id: str = PROJECT) -> list[Any]:
    """Returns what readers find in the five-minute slots and hours of T0's day, view by view."""

    async def ask(reader: StoreReader, project: OpenedProject) -> list[Any]:
        views = await day_views(reader, project, DAY)
        found: list[Any] = []
        for level in (FIVE_MINUTES, HOURS):
            async for rows in slot_rollups(reader, views, level, DAY, range(level.block_slots)):
                found += [(level.letter, *row) for row in rows]
        return sorted(found, key=repr)

    return read(redis_url, ask, project_id)


def latencies_counted(redis_url: str, level: Level) -> tuple[int, list[float]]:
    """How many latencies percentiles of T0's day are read from, and their quarters, by the slots of a level."""

    async def ask(reader: StoreReader, project: OpenedProject) -> tuple[int, list[float]]:
        into = Merged(1)
        wanted = {LevelBlock(level, DAY): dict.fromkeys(range(level.block_slots), 0)}
        await read_rollups(reader, project, wanted, ViewFilter(), into, True, True)
        values = into.values_of(0, LATENCY)
        rows = [float(row[0]) for row in OF_LATENCY.unpack(b"".join(values.rows))]
        sketches = [of_series[0] for of_series in values.sketches]
        weight = sum(abs(weights).sum() for _, weights in (centroids([one]) for one in sketches))
        quarters = quantiles(sketches, np.array(rows), [0.25, 0.5, 0.75, 0.95, 0.99], 0, 10**9)
        return len(rows) + round(float(weight)), quarters

    return read(redis_url, ask)
