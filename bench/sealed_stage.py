"""Calls in a Redis and a directory as they are days later: all of it sealed, and moved where workers move it."""

import time
from collections.abc import Iterable
from datetime import datetime

import msgspec

from aggregator.calls.event import Event
from aggregator.layout.keys import ShardName
from aggregator.objects.opening import open_store
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S
from aggregator.writing.limits import ShardLimits
from aggregator.writing.objects_access import AtOnce, objects_access
from aggregator.writing.shard import Shard
from bench.month import RETENTION, fold, prices
from bench.scale import tell
from bench.stage import Stage

LATER = ShardLimits(seal_after_s=1_000 * DAY_S)
AT_ONCE = ShardLimits(seal_after_s=-2 * DAY_S, move_after_s=-2 * DAY_S)


def load_sealed(
    stage: Stage, shard: ShardName, events: Iterable[Event], end: datetime, views_max: int = LATER.views_max
) -> float:
    """Folds the events as of `end`, then seals and moves all there is; returns the processor time of that (s)."""
    fold(stage.redis_server.url, shard, events, end, msgspec.structs.replace(LATER, views_max=views_max))
    tell("sealing and moving")
    client = connect(stage.redis_server.url)
    access = objects_access(open_store(objects_url(stage)), AtOnce())
    writer = Shard(ShardStore(client, shard), prices(), RETENTION, AT_ONCE, access)
    now_us = round(end.timestamp() * 1e6)
    begun_s = time.process_time()
    while writer.seal(now_us):
        pass
    client.close()
    return time.process_time() - begun_s


def objects_url(stage: Stage) -> str:
    """Returns where the objects are."""
    return (stage.directory / "objects").as_uri()


def object_bytes(stage: Stage) -> int:
    """Returns how large all objects are."""
    return sum(path.stat().st_size for path in (stage.directory / "objects").rglob("*") if path.is_file())
