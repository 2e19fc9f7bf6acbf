"""Ids are found while they move: between two commands of a look-up some go to pages, and pages are split."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from aggregator.layout import id_hashes, id_search
from aggregator.reading.calls import read_by_ids, select_ids
from aggregator.store.elsewhere import Elsewhere
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.time_units import DAY_S
from aggregator.writing import ids as moving
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from tests.support.folding import PROJECT, SHARD, apply, open_shard, start
from tests.support.interrupted_reader import MovedMeanwhile, answers_meanwhile

CALLS = 700  # more than a hash may hold and still be told whole, however few are asked for
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
    monkeypatch.setattr(id_hashes, "HASH_BITS", 10)
    monkeypatch.setattr(id_search, "IDS_PER_COMMAND", 9)
    shard = open_shard(redis.Redis.from_url(redis_url), ShardLimits(seal_after_s=-10 * DAY_S))
    apply(shard, [start(f"call-{number}", number) for number in range(CALLS)])
    return shard


def test_readers(redis_url: str, shard: Shard) -> None:
    """All are found, each under its own id, and nothing under another; or the answer is refused."""

    async def read(reader: StoreReader, project: OpenedProject) -> tuple[set[str], int]:
        by_id = await read_by_ids(reader, project, [*IDS, "unknown"])
        selected = await select_ids(reader, project, [*IDS, "unknown"])
        return set(by_id), sum(map(len, selected.values()))

    found = answers_meanwhile(redis_url, shard, read)
    assert len(found) > 3
    assert found == [(set(IDS), len(IDS))] * len(found)


def test_other_shards(redis_url: str, shard: Shard) -> None:
    """A sibling that asks whether starts are here finds all of them, or fails as if Redis were away."""
    elsewhere = InterruptedElsewhere(redis.Redis.from_url(redis_url), SHARD._replace(partition=1), 0)
    moved = MovedMeanwhile(shard)
    elsewhere.before = moved.step
    asked = [b"\0" + call_id.encode() for call_id in IDS]
    answers = 0
    while moved.goes_on:
        try:
            found = elsewhere.started(PROJECT, [*asked, b"\0unknown"])
        except redis.RedisError:
            continue
        assert found == dict.fromkeys(asked, 0)
        answers += 1
    assert answers > 3
