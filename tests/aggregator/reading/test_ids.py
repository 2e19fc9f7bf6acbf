"""Ids are found while they move: between two commands of a look-up some go to pages, and pages are split."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
import redis

from aggregator.layout import id_pages, id_search
from aggregator.reading.calls import read_by_ids, select_ids
from aggregator.store.connection import connect_readers
from aggregator.store.elsewhere import Elsewhere
from aggregator.store.reader import StateLost
from aggregator.time_units import DAY_S
from aggregator.writing import ids as moving
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from tests.support.folding import NOW_US, PROJECT, SHARD, apply, open_shard, start
from tests.support.interrupted_reader import InterruptedReader

CALLS = 700  # more than a hash may hold and still be told whole, however few are asked for
STEPS_PER_COMMAND = 0.05  # else pages are others whenever they are looked at
IDS = [f"call-{number}" for number in range(0, CALLS, 10)]


class InterruptedElsewhere(Elsewhere):
    """Lets something happen before every command."""

    before: Callable[[], object]

    def _pipelined(self, commands: Any) -> list[Any]:
        replies = []
        for command in list(commands):
            self.before()
            replies += super()._pipelined([command])
        return replies


@pytest.fixture
def shard(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Shard:
    """A writer that moves a few ids at a time to pages of two, where many hash alike; a page splits at nearly each."""
    monkeypatch.setattr(moving, "IDS_PER_STEP", 5)
    monkeypatch.setattr(moving, "ENTRIES_PER_PAGE", 2)
    monkeypatch.setattr(id_pages, "_HASH_BITS", 10)
    monkeypatch.setattr(id_search, "IDS_PER_COMMAND", 9)
    shard = open_shard(redis.Redis.from_url(redis_url), ShardLimits(seal_after_s=-10 * DAY_S))
    apply(shard, [start(f"call-{number}", number) for number in range(CALLS)])
    return shard


def test_readers(redis_url: str, shard: Shard) -> None:
    """All are found, each under its own id, and nothing under another; or the answer is refused."""
    left = [1, 1]

    rng = random.Random(0)

    def step() -> None:
        if rng.random() < STEPS_PER_COMMAND:
            left.append(shard.seal(NOW_US))

    async def ask() -> list[tuple[set[str], int]]:
        client = connect_readers(redis_url)
        found = []
        try:
            reader = InterruptedReader(client, SHARD.namespace, step)
            while any(left[-2:]):
                project = await reader.open_project(PROJECT)
                try:
                    by_id = await read_by_ids(reader, project, [*IDS, "unknown"])
                    selected = await select_ids(reader, project, [*IDS, "unknown"])
                except StateLost:
                    continue
                found.append((set(by_id), sum(map(len, selected.values()))))
            return found
        finally:
            await client.aclose()

    found = asyncio.run(ask())
    assert len(found) > 3
    assert found == [(set(IDS), len(IDS))] * len(found)


def test_other_shards(redis_url: str, shard: Shard) -> None:
    """A sibling that asks whether starts are here finds all of them, or fails as if Redis were away."""
    elsewhere = InterruptedElsewhere(redis.Redis.from_url(redis_url), SHARD._replace(partition=1), 0)
    left = [1, 1]
    rng = random.Random(0)

    def step() -> None:
        if rng.random() < STEPS_PER_COMMAND:
            left.append(shard.seal(NOW_US))

    elsewhere.before = step
    asked = [b"\0" + call_id.encode() for call_id in IDS]
    answers = 0
    while any(left[-2:]):
        try:
            found = elsewhere.started(PROJECT, [*asked, b"\0unknown"])
        except redis.RedisError:
            continue
        assert found == dict.fromkeys(asked, 0)
        answers += 1
    assert answers > 3
