"""Postings are read while they move: between two commands of a look-up some go to pages, and pages are split."""

import asyncio
from typing import Any

import pytest
import redis

from aggregator.layout import keys as layout
from aggregator.layout import postings
from aggregator.reading import postings as reading
from aggregator.reading.calls import IndexValues, select_by_index, select_minutes
from aggregator.reading.postings import exists
from aggregator.store.connection import connect_readers
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.time_units import MINUTE_US
from aggregator.writing import posting_moving as moving
from aggregator.writing.shard import Shard
from tests.support.folding import PROJECT, SHARD, T0_US, apply, open_shard, start
from tests.support.interrupted_reader import answers_meanwhile
from tests.support.sealing import AT_ONCE, seal_all

CALLS = 300
DAY = layout.day_of(T0_US)
THREADS = tuple(f"thread-{at}" for at in range(CALLS // 3))
MINUTES = range(T0_US // MINUTE_US, T0_US // MINUTE_US + CALLS)


@pytest.fixture
def shard(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Shard:
    """A writer that moves a few values at a time to pages of two; a page splits at nearly each."""
    monkeypatch.setattr(moving, "VALUES_PER_STEP", 5)
    monkeypatch.setattr(moving, "ENTRIES_PER_PAGE", 2)
    monkeypatch.setattr(moving, "BLOCKS_PER_STEP", 5)
    monkeypatch.setattr(postings, "BLOCK_BYTES_MAX", 10)
    monkeypatch.setattr(reading, "PAGES_PER_COMMAND_MAX", 7)
    monkeypatch.setattr(reading, "COMMANDS_AT_ONCE_MAX", 3)
    client = redis.Redis.from_url(redis_url)
    client.config_set("hash-max-listpack-entries", 0)  # else all of it is scanned at once
    shard = open_shard(client, AT_ONCE)
    apply(shard, [start(f"call-{at}", at * 60, thread_id=THREADS[at % len(THREADS)]) for at in range(CALLS)])
    return shard


async def selected(reader: StoreReader, project: OpenedProject) -> tuple[list[int], list[int]]:
    """Returns what some threads, and what all minutes, have."""
    wanted = IndexValues(layout.THREAD, (*THREADS[::4], "unknown"))
    [of_threads] = (await select_by_index(reader, project, wanted, [DAY - 1, DAY])).values()
    [of_minutes] = (await select_minutes(reader, project, MINUTES)).values()
    return sorted(of_threads), sorted(of_minutes)


def test_readers(redis_url: str, shard: Shard) -> None:
    """All are found, and nothing else; or the answer is refused."""
    found = answers_meanwhile(redis_url, shard, selected)
    assert len(found) > 3
    expected = [at for at in range(CALLS) if at % len(THREADS) % 4 == 0], list(range(CALLS))
    assert found == [expected] * len(found)


def test_days_are_known_by_pages(redis_url: str, shard: Shard) -> None:
    """A day whose postings have all moved has some, and other days have none."""
    seal_all(shard)

    async def ask() -> list[Any]:
        client = connect_readers(redis_url)
        try:
            reader = StoreReader(client, SHARD.namespace)
            [found] = (await reader.open_project(PROJECT)).shards
            return await reader.fetch([exists(found, layout.MINUTE, day) for day in (DAY - 1, DAY)])
        finally:
            await client.aclose()

    assert asyncio.run(ask()) == [0, 1]
