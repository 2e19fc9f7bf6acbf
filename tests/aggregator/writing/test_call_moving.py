"""Moving call records: frames of chunks go into objects, and nothing they say changes, whatever ends it on the way."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import pytest

from aggregator.layout.moved import CALLS_LETTER, letter_of, unpack_objects
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, unpack_pointer
from aggregator.objects.frame_cache import FrameCache
from aggregator.rollups.levels import Retention
from aggregator.store.elsewhere import Elsewhere
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, DAY_US, HOUR_S, SECOND_US
from aggregator.writing import call_moving
from aggregator.writing.limits import ShardLimits
from aggregator.writing.object_verification import shard_objects, verify_objects
from aggregator.writing.objects_access import AtOnce, objects_access
from aggregator.writing.shard import Shard
from tests.support.folding import (
    KEEP_ALL,
    NOW_US,
    PROJECT,
    SHARD,
    T0_US,
    TINY,
    apply,
    complete,
    end,
    fold_all,
    prices,
    start,
    tokens,
)
from tests.support.moving import (
    AT_ONCE,
    KEYS,
    PREFIX,
    FailingStore,
    away_said,
    check_any_order,
    check_crashes,
    check_pointers,
    killed_at,
    moved_chunks,
    open_moving,
    state,
)
from tests.support.sealing import seal_all
from tests.support.small_chunks import small_chunks

CALLS_PER_CHUNK = 4
TINY_AT_ONCE = msgspec.structs.replace(TINY, move_after_s=AT_ONCE.move_after_s)


@pytest.fixture(autouse=True)
def few_calls_per_chunk() -> Iterator[None]:
    """Some calls fill some chunks."""
    with small_chunks(CALLS_PER_CHUNK):
        yield


def nine_calls(client: Any, objects: FailingStore) -> Shard:
    """A writer whose calls 0 to 7 have moved, two full chunks into one object; call 0 is the parent of all.

    They were sealed before a store was set.
    """
    shard = open_moving(client, None)
    apply(shard, [start(f"call-{at}", parent_id="call-0" if at else None, at_s=at) for at in range(9)])
    seal_all(shard)
    assert not moved_chunks(client)
    shard = open_moving(client, objects)
    seal_all(shard)
    assert set(moved_chunks(client)) == {0, 1}
    assert len(objects_of_calls(client)) == 1
    return shard


def objects_of_calls(client: Any) -> set[str]:
    """The objects of calls that something points into."""
    return {name for name in unpack_objects(client.hgetall(KEYS.objects)) if letter_of(name) == CALLS_LETTER}


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_moving(seed: int, client: Any, objects: FailingStore) -> None:
    """Calls of agents, out of order and twice, sealed and moved between any two batches, by any writer."""
    check_any_order(seed, client, objects, TINY_AT_ONCE)
    assert moved_chunks(client)


def test_a_late_end(client: Any, objects: FailingStore) -> None:
    """A late end is written beside the pointer; sealed again, nothing points into the object that it was in."""
    shard = nine_calls(client, objects)
    [before] = objects_of_calls(client)
    apply(shard, [end("call-5", 7, usage={"gpt-4o": tokens(5)})])
    assert set(moved_chunks(client)) == {0, 1}
    again = open_moving(client, objects)
    assert again.apply([end("call-5", 9), start("call-1")], 20, NOW_US, NOW_US, {}).duplicates == 2
    seal_all(again)
    check_pointers(client, objects)
    assert before not in objects_of_calls(client)
    assert before in {name.decode() for name in client.hkeys(KEYS.retired)}
    [five] = [call for (_, name), call in state(client, objects)["calls"].items() if name == "call-5"]
    assert five["ended_us"] == T0_US + 7 * SECOND_US


def test_due_when_they_fill_an_object(client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks that fill an object are due six hours after as many have been sealed, though their day is not over."""
    monkeypatch.setattr(call_moving, "CHUNKS_PER_FULL_OBJECT", 3)
    shard = open_moving(client, objects, ShardLimits(seal_after_s=0, move_after_s=6 * HOUR_S))
    day_us = T0_US // DAY_US * DAY_US
    for hours, moved in ((0, 0), (1, 0), (2, 0), (7, 0), (8, 3), (20, 3)):
        now_us = day_us + hours * HOUR_S * SECOND_US
        if hours < 4:
            at_s = (now_us - T0_US) // SECOND_US
            calls = [start(f"call-{hours}-{at}", at_s) for at in range(CALLS_PER_CHUNK + (hours == 2))]
            shard.apply(calls, 10 * hours + 10, now_us, now_us, {})
        seal_all(shard, now_us)
        assert len(moved_chunks(client)) == moved, hours
    assert len(objects_of_calls(client)) == 1
    check_pointers(client, objects)


@pytest.mark.parametrize("days", [-9, 2])
def test_due_when_the_day_is_over(days: int, client: Any, objects: FailingStore) -> None:
    """A chunk is due six hours after it was sealed, and not before the day of its newest call was over for an hour."""
    limits = ShardLimits(seal_after_s=HOUR_S, move_after_s=6 * HOUR_S)
    shard = open_moving(client, objects, limits)
    newest_s = (NOW_US - T0_US) // SECOND_US + days * DAY_S
    apply(shard, [start(f"call-{at}", at_s=newest_s if at == 1 else -10 * DAY_S) for at in range(5)])
    read_us = NOW_US + 2 * HOUR_S * SECOND_US
    shard.touch(read_us)
    seal_all(shard, read_us)
    assert client.hkeys(KEYS.calls(0)) == [CALL_FRAME_FIELD]
    over_us = (NOW_US // DAY_US + days + 1) * DAY_US + HOUR_S * SECOND_US
    due_us = max(over_us, read_us + 6 * HOUR_S * SECOND_US)
    assert (due_us == over_us) == (days > 0)
    seal_all(shard, due_us - 1)
    assert not moved_chunks(client)
    seal_all(shard, due_us)
    assert set(moved_chunks(client)) == {0}


@pytest.mark.parametrize("command", ["replace", "put"])
@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_crash_at_each_step(
    command: str, takes_effect: bool, client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next writer begins anew; at worst an object is left that nothing points into."""
    events = [start(f"call-{at}") for at in range(9)]

    def killed(number: int) -> AbstractContextManager[None]:
        return killed_at(monkeypatch, command, number, takes_effect)

    check_crashes(client, objects, events, killed, lambda: set(moved_chunks(client)) == {0, 1})


def test_what_was_sealed_anew_meanwhile_is_left_out(client: Any, objects: FailingStore) -> None:
    """A chunk that is sealed again between put and pointer keeps its new frame; the others point into the object."""
    held: list[Any] = []

    class Slow(AtOnce):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            done = super().submit(fn, *args, **kwargs)
            if held or not any(getattr(key, "level", "") == "c" for key in (*fn.args[3],)):
                return done
            done.done = lambda: bool(held and held[0])  # type: ignore[method-assign]
            held.append(False)
            return done

    shard = open_moving(client, None)
    apply(shard, [start(f"call-{at}") for at in range(9)])
    seal_all(shard)
    shard = Shard(ShardStore(client, SHARD), prices(), KEEP_ALL, AT_ONCE, objects_access(objects, Slow()))
    seal_all(shard)
    assert held == [False]
    assert not moved_chunks(client)
    apply(shard, [end("call-5", 7)])
    seal_all(shard)
    held[0] = True
    for _ in range(100):
        if set(moved_chunks(client)) == {0}:
            break
        shard.seal(NOW_US)
    check_pointers(client, objects)
    frame = client.hget(KEYS.calls(1), CALL_FRAME_FIELD)
    assert unpack_pointer(frame) is None
    seal_all(shard)
    assert set(moved_chunks(client)) == {0, 1}
    assert state(client, objects) == fold_all(client, [[start(f"call-{at}") for at in range(9)], [end("call-5", 7)]])


def test_away(client: Any, objects: FailingStore, caplog: pytest.LogCaptureFixture) -> None:
    """A store that is away is said once. What needs a moved call waits, whether it is folded or sealed again."""
    shard = open_moving(client, objects)
    apply(shard, [start(f"call-{at}") for at in range(9)])
    objects.is_away = True
    for minute in range(3):
        seal_all(shard, NOW_US + minute * 60 * SECOND_US)
    assert away_said(caplog).count("sealed calls") == 1
    assert not moved_chunks(client)
    objects.is_away = False
    seal_all(shard, NOW_US + 180 * SECOND_US)
    assert set(moved_chunks(client)) == {0, 1}
    apply(shard, [end("call-2", 5)])
    objects.is_away = True
    shard = open_moving(client, objects)
    seal_all(shard)
    assert "sealing calls again waits: a frame cannot be read" in [record.message for record in caplog.records]
    with pytest.raises(OSError, match="away"):
        apply(shard, [end("call-5", 7)])
    shard.recover()
    objects.is_away = False
    apply(shard, [end("call-5", 7)])
    seal_all(shard)
    check_pointers(client, objects)
    batches = [[start(f"call-{at}") for at in range(9)], [end("call-2", 5)], [end("call-5", 7)]]
    assert state(client, objects) == fold_all(client, batches)


def test_moved_chunks_expire(client: Any, objects: FailingStore) -> None:
    """Moved chunks go once the last of their calls is past its retention, without the store; the object is retired."""
    kept_s = 10 * HOUR_S
    retention = Retention(kept_s, 3650 * DAY_S, 3650 * DAY_S)
    shard = open_moving(client, objects, retention=retention)
    shard.apply([start(f"call-{at}", at_s=at) for at in range(9)], 9, T0_US, T0_US, {})
    seal_all(shard, T0_US)
    moved = moved_chunks(client)
    assert set(moved) == {0, 1}
    objects.is_away = True
    late_us = T0_US + (kept_s + 4) * SECOND_US
    shard.apply([complete("new", at_s=kept_s)], 11, late_us - 2 * SECOND_US, late_us - 2 * SECOND_US, {})
    assert set(moved_chunks(client)) == {0, 1}
    shard.apply([complete("newer", at_s=kept_s)], 12, late_us, late_us, {})
    assert set(moved_chunks(client)) == {1}
    objects.is_away = False
    was_in = {location.name for location, _ in moved.values()}
    assert was_in <= objects_of_calls(client)
    limits = msgspec.structs.replace(AT_ONCE, collect_every_s=0)
    shard = open_moving(client, objects, limits, retention)
    later_us = late_us + 2 * DAY_S * SECOND_US
    shard.apply([complete("newest", at_s=2 * DAY_S)], 13, later_us, later_us, {})
    seal_all(shard, later_us)
    assert not was_in & objects_of_calls(client)
    assert was_in <= {name.decode() for name in client.hkeys(KEYS.retired)}


def test_others_read_them(client: Any, objects: FailingStore) -> None:
    """Other shards find what has started; `segments verify` follows each pointer, and finds one that leads nowhere."""
    nine_calls(client, objects)
    other = Elsewhere(client, SHARD._replace(partition=1), HOUR_S, FrameCache(objects))
    assert other.started(PROJECT, [b"\0call-1", b"\0call-8", b"\0unknown"]) == {b"\0call-1": 0, b"\0call-8": 0}
    store = ShardStore(client, SHARD)
    states = list(verify_objects(store, objects, shard_objects(store)[0]))
    assert [
        (one.pointers, one.wrong) for one in states if letter_of(one.name.removeprefix(PREFIX)) == CALLS_LETTER
    ] == [(2, [])]
    frame = client.hget(KEYS.calls(0), CALL_FRAME_FIELD)
    client.hset(KEYS.calls(1), CALL_FRAME_FIELD, frame)
    assert [one.wrong for one in verify_objects(store, objects, shard_objects(store)[0]) if one.wrong]
