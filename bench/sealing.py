"""Memory of Redis before and after sealing, by what it is for, on the same calls: what `callmeter plan` reckons with.

A few hours of calls are folded, and weighed; then all of it is sealed as a worker does it an hour later, and weighed
again; then it is moved into a directory, as a day later, and both are weighed. What sealing and moving take of
processor time is told for a call.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from aggregator.layout.keys import ShardKeys, ShardName
from aggregator.layout.moved import CALLS_LETTER, MINUTES_LETTER, OWNER, POSTINGS_LETTER
from aggregator.layout.sealed import object_prefix
from aggregator.objects.directory_store import DirectoryStore
from aggregator.rollups.levels import LEVELS
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S
from aggregator.writing.limits import ShardLimits
from aggregator.writing.objects_access import NO_OBJECTS, AtOnce, ObjectsAccess, objects_access
from aggregator.writing.shard import Shard
from bench.measuring import Line, alone
from bench.memory import SHARD, Sizes, events_at, weigh
from bench.month import RETENTION, fold, last_minute, prices
from bench.scale import Scale, tell
from bench.stage import Stage

CALLS_PER_S = 10.0
HOURS, HOURS_SHORT = 4, 1
# Of busy minutes, of 6,000 calls each.
BUSY_CALLS_PER_S = 100.0
BUSY_MINUTES, BUSY_MINUTES_SHORT = 20, 2
LATER = ShardLimits(seal_after_s=1_000 * DAY_S)
AT_ONCE = ShardLimits(seal_after_s=-2 * DAY_S, move_after_s=-2 * DAY_S)


def run(scale: Scale) -> Iterator[Line]:
    """A line for records with ids, for indexes, and for each level."""
    seconds = 3_600 * (HOURS_SHORT if scale.short else HOURS)
    calls = scale.amount(round(CALLS_PER_S * seconds), round(CALLS_PER_S * seconds), least=2_000)
    end = last_minute()
    with Stage(broker=False) as stage:
        fold(stage.redis_server.url, SHARD, events_at(calls, CALLS_PER_S, end), end, LATER)
        hot = _weighed(stage)
        tell(f"sealing {calls:,} calls")
        now_us = round(end.timestamp() * 1e6)
        took_s = seal(stage, SHARD, now_us, NO_OBJECTS)
        sealed = _weighed(stage)
        with tempfile.TemporaryDirectory() as directory:
            objects = DirectoryStore(Path(directory))
            moving_s = seal(stage, SHARD, now_us, objects_access(objects, AtOnce()))
            moved, in_objects = _weighed(stage), object_bytes(objects, SHARD)
    yield alone(
        "sealing: processor time of the worker a call", "us", [took_s / calls * 1e6], figure="sealing_us_per_call"
    )
    yield alone("moving: processor time of the worker a call, with that of putting", "us", [moving_s / calls * 1e6])
    yield from _lines("records with ids", "records", calls, _records(hot), _records(sealed))
    yield from _lines("indexes", "indexes", calls, hot["indexes"], sealed["indexes"])
    for level in LEVELS:
        name = f"rollups by {level.slot_s} s"
        yield from _lines(name, level.letter, calls, hot[level.letter], sealed[level.letter])
    parts = {"records": (_records(hot), _records(moved), in_objects[CALLS_LETTER])}
    parts["indexes"] = (hot["indexes"], moved["indexes"], in_objects[POSTINGS_LETTER])
    parts |= {one.letter: (hot[one.letter], moved[one.letter], in_objects[one.letter]) for one in LEVELS}
    for part, sizes in parts.items():
        yield from _moved_lines(part, calls, *sizes)
    seconds = 60 * (BUSY_MINUTES_SHORT if scale.short else BUSY_MINUTES)
    yield from _busy_lines(scale.amount(round(BUSY_CALLS_PER_S * seconds), round(BUSY_CALLS_PER_S * seconds)))


def _busy_lines(calls: int) -> Iterator[Line]:
    """Lines of what is kept of busy minutes, before it is moved and after."""
    end = last_minute()
    with Stage(broker=False) as stage, tempfile.TemporaryDirectory() as directory:
        fold(stage.redis_server.url, SHARD, events_at(calls, BUSY_CALLS_PER_S, end), end, LATER)
        hot, objects = weigh(stage), DirectoryStore(Path(directory))
        seal(stage, SHARD, round(end.timestamp() * 1e6), objects_access(objects, AtOnce()))
        sizes = hot["busy"], weigh(stage)["busy"], object_bytes(objects, SHARD)[MINUTES_LETTER]
    yield from _moved_lines("busy", calls, *sizes)


def _weighed(stage: Stage) -> Sizes:
    """Return what keys take by purpose, minutes without the directories of views: a day has one, however many calls."""
    sizes = weigh(stage)
    sizes["m"] -= sizes["views"]
    return sizes


def _records(sizes: Sizes) -> int:
    return sizes["calls"] - sizes["indexes"]


def _lines(name: str, part: str, calls: int, hot: float, sealed: float) -> Iterator[Line]:
    yield alone(f"redis: {name}, a call, not sealed", "B", [hot / calls])
    yield alone(f"redis: {name}, a call, sealed", "B", [sealed / calls])
    yield alone(f"redis: {name}, sealed / not", "", [sealed / hot], figure=f"sealed_share.{part}")


def _moved_lines(part: str, calls: int, hot: float, moved: float, in_objects: float) -> Iterator[Line]:
    yield alone(f"redis: {part}, a call, moved", "B", [moved / calls])
    yield alone(f"objects: {part}, a call", "B", [in_objects / calls])
    yield alone(f"redis: {part}, moved / not sealed", "", [moved / hot], figure=f"moved_share.{part}")
    yield alone(f"objects: {part}, / not sealed in Redis", "", [in_objects / hot], figure=f"object_share.{part}")


def object_bytes(objects: DirectoryStore, shard: ShardName) -> Counter[str]:
    """Return what a shard's objects of each level, of calls, and of indexes, take, by their letters."""
    prefix = object_prefix(ShardKeys(shard).objects)
    found: Counter[str] = Counter()
    for one in objects.listed(prefix):
        name = one.name.removeprefix(prefix)
        if name != OWNER:
            found[name.split("-")[1]] += one.size_bytes
    return found


def seal(stage: Stage, name: ShardName, now_us: int, objects: ObjectsAccess) -> float:
    """Seal all that a shard has, and move it where there are objects; returns the processor time taken, in seconds."""
    client = connect(stage.redis_server.url)
    shard = Shard(ShardStore(client, name), prices(), RETENTION, AT_ONCE, objects)
    begun_s = time.process_time()
    while shard.seal(now_us):
        pass
    client.close()
    return time.process_time() - begun_s
