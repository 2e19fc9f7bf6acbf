"""Reading sealed call records: the same, also while they are being sealed; damage is told with its place."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from aggregator.calls.call import Call
from aggregator.layout.keys import ShardKeys
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD
from aggregator.objects.frame_cache import FrameCache, Located
from aggregator.objects.object_store import Span
from aggregator.reading import records
from aggregator.reading.calls import IndexValues, Selected, read_calls, select_by_index, select_minutes
from aggregator.reading.records import DamagedCalls
from aggregator.reading.verification import Piece, verify
from aggregator.store.reader import StoreReader
from aggregator.store.recent_records import RecentRecords
from aggregator.time_units import HOUR_S, MINUTE_US, SECOND_US
from tests.support.folding import (
    KEEP_ALL,
    NOW_US,
    PROJECT,
    SHARD,
    T0_US,
    apply,
    complete,
    end,
    open_shard,
    start,
    tokens,
)
from tests.support.moving import PREFIX, FailingStore, moved_chunks, open_moving
from tests.support.sealing import AT_ONCE, seal_all
from tests.support.small_chunks import small_chunks
from tests.support.watched_answers import ask, nothing

KEYS = ShardKeys(SHARD)
CALLS = 30
EVENTS = [
    start(f"call-{at}", at_s=at, parent_id=f"call-{at // 3}" if at else None, thread_id=f"thread-{at % 2}")
    for at in range(CALLS)
] + [end(f"call-{at}", 100 + at, usage={"gpt-4o": tokens(at)}) for at in range(0, CALLS, 2)]


@pytest.fixture(autouse=True)
def few_calls_per_chunk() -> Iterator[None]:
    """Some calls fill some chunks."""
    with small_chunks(4):
        yield


async def all_calls(reader: StoreReader) -> dict[int, Call]:
    """The records of the first ten minutes."""
    project = await reader.open_project(PROJECT)
    selected = await select_minutes(reader, project, range(T0_US // MINUTE_US, T0_US // MINUTE_US + 10))
    return {number: call for (_, number), call in (await read_calls(reader, selected)).items()}


async def some_calls(reader: StoreReader) -> dict[int, Call]:
    """Returns the calls of a thread."""
    return await calls_of(reader, await of_a_thread(reader))


async def of_a_thread(reader: StoreReader) -> Selected:
    """Returns which calls a thread has."""
    project = await reader.open_project(PROJECT)
    days = [T0_US // (86_400 * SECOND_US)]
    return await select_by_index(reader, project, IndexValues("h", ("thread-1",)), days)


async def calls_of(reader: StoreReader, selected: Selected) -> dict[int, Call]:
    """Returns these calls by number."""
    return {number: call for (_, number), call in (await read_calls(reader, selected)).items()}


async def differences(reader: StoreReader) -> Sequence[Any] | None:
    """Returns what `callmeter verify` finds in the first hour."""
    project = await reader.open_project(PROJECT)
    return await verify(reader, project, Piece(T0_US, T0_US + HOUR_S * SECOND_US), NOW_US, KEEP_ALL, tree=True)


@pytest.mark.parametrize("at_once", [1_000, 1])
def test_the_same_records(at_once: int, client: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Records are the same by time and by index, sealed, changed after that, and sealed again; `verify` finds nothing
    amiss."""
    monkeypatch.setattr(records, "FRAMES_AT_ONCE_MAX", at_once)
    shard = open_shard(client, AT_ONCE)
    apply(shard, EVENTS)
    for _ in range(2):
        expected = ask(redis_url, all_calls), ask(redis_url, some_calls)
        assert (len(expected[0]), len(expected[1])) == (CALLS, CALLS // 2)
        seal_all(shard)
        assert client.hkeys(KEYS.calls(0)) == [CALL_FRAME_FIELD]
        assert (ask(redis_url, all_calls), ask(redis_url, some_calls)) == expected
        assert ask(redis_url, differences) == []
        apply(shard, [end("call-1", 50, usage={"gpt-4o": tokens(5)}), end("call-9", 60)])
        assert ask(redis_url, differences) == []


def test_while_they_are_sealed(client: Any, redis_url: str) -> None:
    """No record is missed with a step of sealing, or a late event, before every round trip."""
    shard = open_shard(client, AT_ONCE)
    apply(shard, EVENTS)
    rng = Random(1)

    def happen() -> None:
        if not shard.seal(NOW_US):
            apply(shard, [end(f"call-{rng.randrange(1, CALLS, 2)}", 200), complete(f"late-{rng.random()}", at_s=4_000)])

    for _ in range(30):
        assert set(ask(redis_url, all_calls, happen)) == set(range(CALLS))


def test_verify_looks_into_frames(client: Any, redis_url: str) -> None:
    """A record that is another in its frame than what was counted is found."""
    shard = open_shard(client, AT_ONCE)
    apply(shard, EVENTS)
    seal_all(shard)
    other = open_shard(client, AT_ONCE)
    frame = client.hget(KEYS.calls(2), CALL_FRAME_FIELD)
    apply(other, [end("call-9", 60)])
    seal_all(other)
    assert ask(redis_url, differences) == []
    client.hset(KEYS.calls(2), CALL_FRAME_FIELD, frame)
    assert ask(redis_url, differences)


def test_damage_is_told(client: Any, redis_url: str) -> None:
    """Records of a frame that is not what was sealed are refused with its place; those beside it are answered."""
    shard = open_shard(client, AT_ONCE)
    apply(shard, EVENTS)
    seal_all(shard)
    frame = client.hget(KEYS.calls(1), CALL_FRAME_FIELD)
    client.hset(KEYS.calls(1), CALL_FRAME_FIELD, frame[:-1] + bytes([frame[-1] ^ 1]))
    with pytest.raises(DamagedCalls, match=r"records of .*:calls:1 are damaged"):
        ask(redis_url, all_calls)

    async def beside(reader: StoreReader) -> int:
        project = await reader.open_project(PROJECT)
        [shard] = project.shards
        return len(await read_calls(reader, {shard: {*range(4), *range(8, CALLS)}}))

    assert ask(redis_url, beside) == CALLS - 4


def test_the_same_records_moved(client: Any, objects: FailingStore, redis_url: str) -> None:
    """Records are the same by time and by index, moved, changed after that, and moved again; `verify` finds nothing."""
    shard = open_moving(client, objects)
    apply(shard, EVENTS)
    for _ in range(2):
        expected = ask(redis_url, all_calls, nothing, objects), ask(redis_url, some_calls, nothing, objects)
        assert (len(expected[0]), len(expected[1])) == (CALLS, CALLS // 2)
        seal_all(shard)
        assert len(moved_chunks(client)) == CALLS // 4
        assert (ask(redis_url, all_calls, nothing, objects), ask(redis_url, some_calls, nothing, objects)) == expected
        assert ask(redis_url, differences, nothing, objects) == []
        apply(shard, [end("call-1", 50, usage={"gpt-4o": tokens(5)}), end("call-9", 60)])
        assert ask(redis_url, differences, nothing, objects) == []


def test_while_they_move(client: Any, objects: FailingStore, redis_url: str) -> None:
    """No record is missed with a step of sealing or moving, or a late event, before every round trip."""
    shard = open_moving(client, objects)
    apply(shard, EVENTS)
    rng = Random(1)

    def happen() -> None:
        if not shard.seal(NOW_US):
            apply(shard, [end(f"call-{rng.randrange(1, CALLS, 2)}", 200), complete(f"late-{rng.random()}", at_s=4_000)])

    for _ in range(20):
        assert set(ask(redis_url, all_calls, happen, objects)) == set(range(CALLS))
    assert moved_chunks(client)


def test_a_lost_or_damaged_object_is_named(client: Any, objects: FailingStore, redis_url: str, tmp_path: Path) -> None:
    """Records of an object that is away, damaged or gone are refused with its name; none is answered without them."""
    shard = open_moving(client, objects)
    apply(shard, EVENTS)
    seal_all(shard)
    objects.is_away = True
    with pytest.raises(DamagedCalls, match="away"):
        ask(redis_url, all_calls, nothing, objects)
    objects.is_away = False
    name = moved_chunks(client)[3].location.name
    path = tmp_path / "objects" / PREFIX / name
    content = path.read_bytes()
    path.write_bytes(bytes(byte ^ 1 for byte in content))
    with pytest.raises(DamagedCalls, match=f"{name} is damaged"):
        ask(redis_url, all_calls, nothing, objects)
    path.unlink()
    with pytest.raises(DamagedCalls, match=name):
        ask(redis_url, all_calls, nothing, objects)
    path.write_bytes(content)
    assert len(ask(redis_url, all_calls, nothing, objects)) == CALLS


def test_what_was_read_lately_is_not_read_again(client: Any, objects: FailingStore, redis_url: str) -> None:
    """Who asks for the same records again has them without the store; one that has changed since is as it is now."""
    shard = open_moving(client, objects)
    apply(shard, EVENTS)
    seal_all(shard)

    async def twice(reader: StoreReader) -> tuple[dict[int, Call], dict[int, Call]]:
        selected = await of_a_thread(reader)
        first = await calls_of(reader, selected)
        apply(shard, [end("call-1", 50, usage={"gpt-4o": tokens(5)})])
        reader.frames = FrameCache(None)
        return first, await calls_of(reader, selected)

    first, again = ask(redis_url, twice, nothing, objects)
    assert again == ask(redis_url, some_calls, nothing, objects)
    assert [number for number in first if first[number] != again[number]] == [1]


def test_as_many_records_are_kept_as_may_be() -> None:
    """The frame that was asked for least lately goes first; one of which a record is missing is none."""
    frames = [Located(name, Span(0, 1), 0) for name in "abc"]
    recent = RecentRecords(4)
    calls = {number: Call(1, b"\0call", number) for number in range(3)}
    recent.keep(frames[0], {0: calls[0]})
    recent.keep(frames[0], calls)
    recent.keep(frames[1], {0: calls[0]})
    assert recent.count == 4
    assert recent.find(frames[0], [0, 2]) == {0: calls[0], 2: calls[2]}
    assert recent.find(frames[1], [0, 1]) is None
    recent.keep(frames[2], {5: calls[1]})
    assert recent.find(frames[0], [0]) is None
    assert (recent.find(frames[2], [5]), recent.count) == ({5: calls[1]}, 2)
