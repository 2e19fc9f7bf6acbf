"""What the api keeps of its answers is never what reading again would not give."""

import asyncio
import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis

from aggregator.reading.value_rollups import ValueRollups
from aggregator.rollups.levels import LEVELS
from aggregator.store.connection import connect, connect_readers
from aggregator.store.reader import Command, StoreReader
from api.contract.breakdown_request import read_breakdown_question
from api.contract.stats_request import read_stats_question
from api.query.answers import StoreAnswers
from api.query.breakdown_parts import KeptParts, PartKey
from api.query.bucket_cache import BucketKey, BucketRows, KeptBuckets
from tests.pipeline.lifelike import lifelike_events, lifelike_questions
from tests.support.folding import (
    KEEP_ALL,
    NOW_US,
    PROJECT,
    SHARD,
    T0_US,
    apply,
    complete,
    decoded,
    open_shard,
    tokens,
)

KEY, OTHER = (BucketKey(b"asked", "2026", 0, to_us) for to_us in (1, 2))
EMPTY = BucketRows(b"{}")
T0 = datetime.fromtimestamp(T0_US / 1_000_000, UTC)
EVENTS, ROUNDS, QUESTIONS = 1_200, 25, 12


def test_only_what_has_not_changed() -> None:
    """Rows are found under their key and fingerprint; newer rows take the place of older ones."""
    kept = KeptBuckets()
    kept.keep(KEY, b"1", EMPTY)
    assert (kept.find(KEY, b"1"), kept.find(KEY, b"2"), kept.find(OTHER, b"1")) == (EMPTY, None, None)
    newer = BucketRows(b"{1}")
    kept.keep(KEY, b"2", newer)
    assert (kept.find(KEY, b"1"), kept.find(KEY, b"2")) == (None, newer)


def test_memory_is_bounded() -> None:
    """Rows that were used last are kept, as many as there is room for; rows that were replaced take none."""
    usage = BucketRows(b"", (b":m",), (True,), (b"x" * 10_000,))
    kept = KeptBuckets(bytes_max=25_000)
    for _ in range(10):
        kept.keep(KEY, b"1", usage)
        kept.keep(OTHER, b"1", usage)
    kept.find(KEY, b"1")
    kept.keep(OTHER._replace(to_us=3), b"1", usage)
    assert (kept.find(KEY, b"1"), kept.find(OTHER, b"1")) == (usage, None)
    KeptBuckets(bytes_max=0).keep(KEY, b"1", usage)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    made = connect(redis_url)
    yield made
    made.close()


class Backup:
    """All keys of a Redis as they are now, to go back to."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._kept = [(key, client.dump(key), max(client.pttl(key), 0)) for key in client.scan_iter()]

    def restore(self) -> None:
        """Restores this state, as if Redis had lost all that came later."""
        self._client.flushall()
        for key, value, ttl_ms in self._kept:
            self._client.restore(key, ttl_ms, value)


def moved(request: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The request with a window a little later, or the same."""
    by = timedelta(seconds=rng.choice([0, 0, 1, 60, 300, 3_600]))
    at = {name: datetime.fromisoformat(request[name]) for name in ("start", "end") if request.get(name)}
    return request | {name: (time + by).isoformat() for name, time in at.items()}


def broken_down(request: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """The request as one for a breakdown, with windows within its own."""
    broken = {name: request[name] for name in request if name not in ("granularity", "timezone")}
    start, end = (datetime.fromisoformat(request.get(edge) or f"{T0}").astimezone(UTC) for edge in ("start", "end"))
    minutes = max(0, round((end - start) / timedelta(minutes=1)))
    more = [(start + timedelta(minutes=rng.randint(0, minutes))).replace(second=0, microsecond=0) for _ in range(3)]
    starts = [one.isoformat() for one in more if start <= one <= end]
    return broken | {"dimension": rng.choice(["op_name", "model", "trace_root"]), "more_starts": starts}


async def answer(answers: StoreAnswers, request: dict[str, Any]) -> Any:
    """The answer's body, or what was refused; a request with a dimension is one for a breakdown."""
    body = json.dumps(request).encode()
    try:
        if "dimension" in request:
            body, _ = await answers.breakdown(read_breakdown_question(body, NOW_US), NOW_US)
        else:
            body, _ = await answers.stats(read_stats_question(body, NOW_US), NOW_US)
    except Exception as refused:
        return str(refused)
    return json.loads(body)


def asked(rng: random.Random, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Questions that come again and again, also with windows that have moved on."""
    questions = [body for path, body in lifelike_questions(rng, events, QUESTIONS * 2) if path == "/calls/stats"]
    again = [moved(body, rng) for body in questions for _ in range(2)]
    return again + [broken_down(body, rng) for body in again]


@pytest.fixture
def parts_found(monkeypatch: pytest.MonkeyPatch) -> list[PartKey]:
    """The keys of all parts that are found as they were kept."""
    keys_found: list[PartKey] = []
    find = KeptParts.find

    def noting(kept: KeptParts, key: PartKey, fingerprint: bytes) -> ValueRollups | None:
        part = find(kept, key, fingerprint)
        if part is not None:
            keys_found.append(key)
        return part

    monkeypatch.setattr(KeptParts, "find", noting)
    return keys_found


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[BucketRows]:
    """All rows that are found as they were kept."""
    rows_found: list[BucketRows] = []
    find = KeptBuckets.find

    def noting(kept: KeptBuckets, key: BucketKey, fingerprint: bytes) -> BucketRows | None:
        rows = find(kept, key, fingerprint)
        if rows is not None:
            rows_found.append(rows)
        return rows

    monkeypatch.setattr(KeptBuckets, "find", noting)
    return rows_found


@pytest.mark.single_redis
@pytest.mark.parametrize("seed", range(4))
def test_a_long_lived_api_answers_like_a_new_one(
    seed: int, redis_url: str, client: redis.Redis, found: list[BucketRows], parts_found: list[PartKey]
) -> None:
    """An api that lives long answers like a new one while batches come, late and double ones too, and while Redis falls
    behind and is folded again otherwise."""
    rng = random.Random(seed)
    told = lifelike_events(rng, EVENTS)
    events = [event for of_message in decoded(told) for event in of_message]
    late = rng.sample(range(EVENTS), 100)
    events = [event for at, event in enumerate(events) if at not in late] + [events[at] for at in late]
    questions = asked(rng, told)

    async def compare() -> None:
        readers = connect_readers(redis_url)
        old = StoreAnswers(StoreReader(readers, SHARD.namespace), KEEP_ALL, lambda: NOW_US)
        shard, at, backup = open_shard(client), 0, Backup(client)
        for _ in range(ROUNDS):
            size = rng.choice([1, 10, 200])
            apply(shard, events[at : at + size])
            at += size
            for request in rng.sample(questions, 12):
                new = StoreAnswers(StoreReader(readers, SHARD.namespace), KEEP_ALL, lambda: NOW_US, kept_bytes_max=0)
                assert await answer(old, request) == await answer(new, request)
            if rng.random() < 0.2:
                backup = Backup(client)
            elif rng.random() < 0.2:
                backup.restore()
                shard = open_shard(client)
                at = shard.next_offset or 0
        await readers.aclose()

    asyncio.run(compare())
    assert len(found) > ROUNDS
    assert len(parts_found) > ROUNDS


@pytest.mark.single_redis
@pytest.mark.parametrize("more", [{}, {"dimension": "op_name"}], ids=["stats", "breakdown"])
def test_what_changes_while_it_is_read_is_not_kept(redis_url: str, client: redis.Redis, more: dict[str, Any]) -> None:
    """A batch is applied after the versions were read and before the rollups; then Redis forgets that batch."""
    apply(open_shard(client), [complete("a")])
    backup = Backup(client)
    request = {
        "project_id": PROJECT,
        "start": T0.isoformat(),
        "end": (T0 + timedelta(minutes=119)).isoformat(),
        "call_metrics": [{"metric": "call_count"}],
    } | more

    class Overtaken(StoreReader):
        async def fetch(self, commands: Sequence[Command]) -> list[Any]:
            if commands and commands[0][0] == "HMGET" and ":r:" in str(commands[0][1]):
                apply(open_shard(client), [complete("b")])
            return await super().fetch(commands)

    async def compare() -> None:
        readers = connect_readers(redis_url)
        calm = StoreReader(readers, SHARD.namespace)
        old = StoreAnswers(Overtaken(readers, SHARD.namespace), KEEP_ALL, lambda: NOW_US)
        assert "sum_call_count': 2" in str(await answer(old, request))
        backup.restore()
        expected = await answer(StoreAnswers(calm, KEEP_ALL, lambda: NOW_US), request)
        old._reader = calm
        assert await answer(old, request) == expected
        await readers.aclose()

    asyncio.run(compare())


@pytest.mark.single_redis
@pytest.mark.parametrize("granularity_s", [86_400, 300])  # all that is read at once, and buckets in three stretches
def test_buckets_are_of_one_instant(redis_url: str, client: redis.Redis, granularity_s: int) -> None:
    """A child comes when its own day has been read, its parent's has not: what the parent loses to it is not lost."""
    day_s = 86_400
    apply(open_shard(client), [complete("parent", 0, 1, {"m": tokens(100)}, may_roll_up=True)])
    child = complete("child", -day_s, 2, {"m": tokens(100)}, parent_id="parent")
    request = {
        "project_id": PROJECT,
        "start": (T0 - timedelta(days=2)).isoformat(),
        "end": (T0 + timedelta(days=1)).isoformat(),
        "granularity": granularity_s,
        "usage_metrics": [{"metric": "total_tokens"}],
    }
    parents_day = T0_US // (day_s * 1_000_000)

    class Overtaken(StoreReader):
        async def fetch(self, commands: Sequence[Command]) -> list[Any]:
            days = [_day_read(command) for command in commands]
            before = sum(day is not None and day < parents_day for day in days)
            if days[:1] == [None] or not days or before == len(days) or (before and granularity_s < day_s):
                return await super().fetch(commands)
            replies = await super().fetch(commands[:before]) if before else []
            apply(open_shard(client), [child])
            return replies + await super().fetch(commands[before:])

    async def compare() -> None:
        readers = connect_readers(redis_url)
        for kept_bytes_max in (0, 10**6):
            answers = StoreAnswers(Overtaken(readers, SHARD.namespace), KEEP_ALL, lambda: NOW_US, kept_bytes_max)
            body = await answer(answers, request)
            told = [(row["timestamp"][:10], row["sum_total_tokens"]) for row in body["usage_buckets"]]
            assert [one for one in told if one[1]] == [(str((T0 - timedelta(days=1)).date()), 100)]
            client.flushall()
            apply(open_shard(client), [complete("parent", 0, 1, {"m": tokens(100)}, may_roll_up=True)])
        await readers.aclose()

    asyncio.run(compare())


def _day_read(command: Command) -> int | None:
    """The UTC day (since 1970) of the rollups that a command reads; None: it reads none."""
    _, is_rollups, block = str(command[1]).partition(":r:")
    level, _, number = block.partition(":")
    return int(number) * next(one.block_s for one in LEVELS if one.letter == level) // 86_400 if is_rollups else None
