"""Windows that are asked for at once: what they have in common is read once, and every answer is what it is alone."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from aggregator.store.connection import connect, connect_readers
from aggregator.store.reader import Command, StoreReader
from api.contract.stats_request import read_stats_question
from api.query.answers import StoreAnswers
from api.query.under_way import UnderWay
from tests.support.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, T0_US, apply, complete, open_shard, tokens

T0 = datetime.fromtimestamp(T0_US / 1_000_000, UTC)
WINDOWS, HOURS = 8, 20


class CountingReader(StoreReader):
    """Counts the cells that are looked for; the first of them may be interrupted."""

    cells = 0
    interrupted = False

    async def fetch(self, commands: Sequence[Command]) -> list[Any]:
        for command in commands:
            if command[0] == "HMGET" and ":r:" in str(command[1]):
                self.cells += len(command) - 3
                if self.interrupted:
                    self.interrupted = False
                    await asyncio.sleep(0.02)
                    raise redis.ConnectionError("away")
        return await super().fetch(commands)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """Calls of some hours, one in seven minutes."""
    made = connect(redis_url)
    calls = [complete(f"c{at}", at * 420, at * 420 + 1, {f"m{at % 3}": tokens(at)}) for at in range(HOURS * 60 // 7)]
    apply(open_shard(made), calls)
    yield made
    made.close()


def questions() -> list[Any]:
    """Windows that begin and end one after the other, five minutes apart and not with a minute."""
    end = T0 + timedelta(hours=HOURS, seconds=11)
    bodies = [
        {
            "project_id": PROJECT,
            "start": (end - timedelta(hours=12) - timedelta(minutes=5 * at)).isoformat(),
            "end": (end - timedelta(minutes=5 * at)).isoformat(),
            "granularity": 300,
            "usage_metrics": [{"metric": "input_tokens"}],
            "call_metrics": [{"metric": "call_count"}],
        }
        for at in range(WINDOWS)
    ]
    return [read_stats_question(json.dumps(body).encode(), NOW_US) for body in bodies]


def asked_together(redis_url: str, interrupted: bool, kept_bytes_max: int = 10**7) -> tuple[list[Any], list[Any], int]:
    """Return what each window is answered alone, what together, and how many cells were then looked for."""

    async def ask() -> tuple[list[Any], list[Any], int]:
        readers = connect_readers(redis_url)
        alone = [
            (await StoreAnswers(StoreReader(readers, SHARD.namespace), KEEP_ALL, lambda: NOW_US).stats(one, NOW_US))[0]
            for one in questions()
        ]
        reader = CountingReader(readers, SHARD.namespace)
        reader.interrupted = interrupted
        answers = StoreAnswers(reader, KEEP_ALL, lambda: NOW_US, kept_bytes_max)
        found = await asyncio.gather(*(answers.stats(one, NOW_US) for one in questions()), return_exceptions=True)
        await readers.aclose()
        return alone, [one if isinstance(one, BaseException) else one[0] for one in found], reader.cells

    return asyncio.run(ask())


@pytest.mark.single_redis
def test_windows_in_common_are_read_once(client: redis.Redis, redis_url: str) -> None:
    """Each bucket that windows have in common is read by one of them."""
    alone, together, cells = asked_together(redis_url, interrupted=False)
    assert together == alone
    assert cells < 2 * 12 * 12
    alone, together, cells = asked_together(redis_url, interrupted=False, kept_bytes_max=0)
    assert together == alone
    assert cells > (WINDOWS - 1) * 12 * 12


@pytest.mark.single_redis
def test_one_that_fails_takes_nobody_along(client: redis.Redis, redis_url: str) -> None:
    """Who waited for one that failed, reads by himself."""
    alone, together, _ = asked_together(redis_url, interrupted=True)
    [failed] = [at for at, one in enumerate(together) if isinstance(one, BaseException)]
    del alone[failed], together[failed]
    assert together == alone


def test_waiting() -> None:
    """One waits for all that others work on, whether they end or fail, and for nothing else."""
    under_way = UnderWay[str]()

    async def work(keys: str, seconds: float) -> None:
        with under_way.work(keys):
            await asyncio.sleep(seconds)
            raise OSError

    async def wait(keys: str) -> list[bool]:
        work_done = [asyncio.ensure_future(work("ab", 0.01)), asyncio.ensure_future(work("bc", 0.03))]
        await asyncio.sleep(0)
        waited = await under_way.wait(list(keys))
        done = [waited, *(one.done() for one in work_done)]
        await asyncio.gather(*work_done, return_exceptions=True)
        assert not await under_way.wait(list("abc"))
        return done

    assert asyncio.run(wait("xb")) == [True, True, False]
    assert asyncio.run(wait("cx")) == [True, True, True]
    assert asyncio.run(wait("x")) == [False, False, False]
    under_way = UnderWay[str](waits=False)
    assert asyncio.run(wait("b")) == [False, False, False]
