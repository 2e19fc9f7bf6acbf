"""Cells that are too many for one command are read right, whatever a writer seals or closes between two of them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import redis

from aggregator.reading.cells import add_cells
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import place_of, view_of
from aggregator.rollups.series import LATENCY
from aggregator.store.connection import connect_readers
from aggregator.store.pieces import PIECE_PARTS_MAX
from aggregator.store.reader import StateLost
from tests.support.folding import SHARD, apply, complete, open_shard
from tests.support.interrupted_reader import BetweenPieces
from tests.support.open_minutes import OPEN, close_all
from tests.support.sealing import AT_ONCE, seal_all

CALLS = 40


def counted(redis_url: str, key: str, places: list[bytes], before: Callable[[], object]) -> tuple[list[int], int]:
    """Returns how many calls cells have, and how many bytes of latencies percentiles are read from."""

    async def read() -> tuple[list[int], int]:
        client, merged = connect_readers(redis_url), Merged(1)
        reader = BetweenPieces(client, SHARD.namespace, before)
        try:
            await add_cells(reader, [(key, places, [0] * len(places))], merged, True, True)
        finally:
            await client.aclose()
        return merged.calls, sum(map(len, merged.values[0, LATENCY].rows))

    return asyncio.run(read())


def still_counted(
    redis_url: str,
    key: str,
    places: list[bytes],
    expected: tuple[list[int], int],
    at: int,
    happens: Callable[[], object],
) -> int:
    """Checks that cells count what they did, or do not hold still, if something happens before a piece of the commands;
    returns how many pieces there were."""
    pieces = 0

    def before() -> None:
        nonlocal pieces
        pieces += 1
        if pieces == at:
            happens()

    with suppress(StateLost):
        assert counted(redis_url, key, places, before) == expected
    return pieces


@pytest.mark.parametrize("seal_at", range(1, 6))
def test_sealed_in_between(seal_at: int, redis_url: str) -> None:
    """All cells count once, with all that is beside them, or it is told that they did not hold still."""
    client: Any = redis.Redis.from_url(redis_url)
    client.flushall()
    shard = open_shard(client, AT_ONCE)
    apply(shard, [complete(str(at), at, at + 2) for at in range(CALLS)])
    [key] = [one.decode() for one in client.scan_iter(f"{SHARD.tag}:*:r:h:*")]
    there = [field for field in client.hkeys(key) if len(field) == len(place_of(0, 0))]
    places = [*(place_of(0, 50_000 + at) for at in range(3 * PIECE_PARTS_MAX)), *there]
    expected = counted(redis_url, key, places, lambda: None)
    assert expected[0] == [CALLS * len(there)]
    assert still_counted(redis_url, key, places, expected, seal_at, partial(seal_all, shard)) >= seal_at
    client.close()


@pytest.mark.parametrize("close_at", range(1, 7))
def test_closed_in_between(close_at: int, redis_url: str) -> None:
    """Hours get what they lack once, from minutes or from hours, or it is told that they did not hold still."""
    client: Any = redis.Redis.from_url(redis_url)
    client.flushall()
    shard = open_shard(client, OPEN)
    apply(shard, [complete(str(at), at, at + 2) for at in range(CALLS)])
    close_all(shard)  # so that the hours have something, and lack the rest
    apply(shard, [complete(str(at), at, at + 2) for at in range(400, 400 + CALLS)])
    [key] = [one.decode() for one in client.scan_iter(f"{SHARD.tag}:*:r:h:*")]
    [minutes] = client.scan_iter(f"{SHARD.tag}:*:r:m:*")
    views = {view_of(int.from_bytes(one, "big")) for one in client.hkeys(minutes) if len(one) == len(place_of(0, 0))}
    places = [*(place_of(10, 50_000 + at) for at in range(3 * PIECE_PARTS_MAX)), *(place_of(10, one) for one in views)]
    expected = counted(redis_url, key, places, lambda: None)
    assert expected[0] == [2 * CALLS * len(views)]
    still_counted(redis_url, key, places, expected, close_at, partial(close_all, shard))
    close_all(shard)
    assert counted(redis_url, key, places, lambda: None) == expected
    client.close()
