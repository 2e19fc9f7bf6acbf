"""Calls counted as columns: each once, however they are found, and only what is needed need be readable."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
import redis.asyncio

from aggregator.calls.event import Event
from aggregator.objects.frame_cache import FrameCache
from aggregator.reading.facts import CHUNKS_PER_PORTION, MINUTES_PER_CHUNK, CallBudget, count_facts
from aggregator.reading.records import DamagedCalls
from aggregator.rollups.views import ViewFilter
from aggregator.segments.call_selection import WantedCalls
from aggregator.store.reader import StoreReader
from aggregator.time_units import DAY_S, DAY_US, HOUR_S, MINUTE_US, SECOND_US
from tests.support.folding import PROJECT, SHARD, T0_US, apply, complete
from tests.support.moving import FailingStore, moved_chunks, open_moving
from tests.support.sealing import seal_all
from tests.support.small_chunks import small_chunks

Windows = Sequence[tuple[int, int]]
CHUNK = 4
NOW_US = T0_US + 9 * DAY_US
# Of the calls below: before, among and after them.
BEGIN_US, NOON_US, END_US = (T0_US // DAY_US * DAY_US + days * DAY_US for days in (-3, 3, 9))


@pytest.fixture(autouse=True)
def few_calls_per_chunk() -> Iterator[None]:
    """Some calls fill some chunks, which are sealed."""
    with small_chunks(CHUNK):
        yield


def calls_from(day: int, count: int) -> list[Event]:
    """Calls ten minutes apart, on a day after the first."""
    starts_s = [day * DAY_S - 9 * HOUR_S + number * 600 for number in range(count)]
    return [complete(f"{day}-{number}", at_s, at_s + 1) for number, at_s in enumerate(starts_s)]


def counted(redis_url: str, objects: FailingStore, windows: Windows) -> list[int]:
    """Starts of all calls that are counted of some windows, in order."""

    async def ask() -> list[int]:
        async with redis.asyncio.Redis.from_url(redis_url) as readers:
            reader = StoreReader(readers, SHARD.namespace, frames=FrameCache(objects))
            [shard] = (await reader.open_project(PROJECT)).shards
            wanted = WantedCalls(shard.project, 0, 0, ViewFilter(), usage=False, trees=False)
            found: list[int] = []
            await count_facts(
                reader,
                shard,
                windows,
                wanted,
                lambda columns: found.extend(columns.started_us.tolist()),
                CallBudget(),
                lambda: asyncio.sleep(0),
            )
            return sorted(found)

    return asyncio.run(ask())


def stored(redis_url: str, objects: FailingStore) -> tuple[list[int], list[int]]:
    """Fold calls of two days, those of the first moved, of the second moved, sealed, changed and hot; returns when
    those of each began.
    """
    client: Any = redis.Redis.from_url(redis_url)
    client.flushall()
    shard = open_moving(client, objects)
    first, second = calls_from(1, 3 * CHUNK), calls_from(5, 25 * CHUNK - 1)
    for some in (first, second[: 20 * CHUNK]):
        apply(shard, some, NOW_US)
        seal_all(shard, NOW_US)
    assert len(moved_chunks(client)) == 23 > CHUNKS_PER_PORTION
    apply(shard, second[20 * CHUNK :], NOW_US)
    return _starts(first), _starts(second)


def _starts(events: Sequence[Event]) -> list[int]:
    return [event.start.started_at_us for event in events if event.start is not None]


def hours(begin_us: int, end_us: int) -> list[Windows]:
    """A window for each hour: of so few minutes that those are looked up one by one."""
    hour_us = HOUR_S * SECOND_US
    return [[(at, at + hour_us)] for at in range(begin_us, end_us, hour_us)]


def test_the_same_by_minutes_and_of_all_chunks(redis_url: str, tmp_path: Path) -> None:
    """A long window looks through all chunks, and asks no posting."""
    objects = FailingStore(tmp_path / "objects")
    first, second = stored(redis_url, objects)
    chunks = -(-(len(first) + len(second)) // CHUNK)
    assert HOUR_S * SECOND_US // MINUTE_US < chunks * MINUTES_PER_CHUNK < (END_US - BEGIN_US) // MINUTE_US
    by_hours = [counted(redis_url, objects, window) for window in hours(BEGIN_US, END_US)]
    assert [start_us for of_hour in by_hours for start_us in of_hour] == [*first, *second]
    client: Any = redis.Redis.from_url(redis_url)
    client.delete(*client.keys("*:w:*"), *client.keys("*:x:*"))
    assert counted(redis_url, objects, [(BEGIN_US, END_US)]) == [*first, *second]
    assert counted(redis_url, objects, [(BEGIN_US, NOON_US)]) == first
    assert counted(redis_url, objects, [(NOON_US, END_US)]) == second


@pytest.mark.parametrize("lost", [0, 1])
def test_only_what_is_needed_need_be_readable(redis_url: str, tmp_path: Path, lost: int) -> None:
    """Calls of an object that is lost, before or after a window, are not missed in it."""
    objects = FailingStore(tmp_path / "objects")
    starts = stored(redis_url, objects)
    of_calls = list((tmp_path / "objects").rglob("*-c-*"))
    day = sorted({path.name.partition("-")[0] for path in of_calls})[lost]
    for path in of_calls:
        if path.name.startswith(day):
            path.unlink()
    windows = [(BEGIN_US, NOON_US), (NOON_US, END_US)]
    assert counted(redis_url, objects, [windows[1 - lost]]) == starts[1 - lost]
    with pytest.raises(DamagedCalls):
        counted(redis_url, objects, [windows[lost]])
