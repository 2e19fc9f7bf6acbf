"""Sealing call records: full chunks become frames, what changes later is written again; nothing they say changes."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from aggregator.layout.keys import ShardKeys
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD
from aggregator.rollups.levels import Retention
from aggregator.segments.compression import CorruptFrame
from aggregator.store.elsewhere import Elsewhere
from aggregator.store.shard_store import Fenced, ShardStore
from aggregator.time_units import DAY_S, HOUR_S, SECOND_US
from aggregator.writing.call_moving import CallMoving
from aggregator.writing.call_sealing import CallSealing
from aggregator.writing.limits import ShardLimits
from aggregator.writing.objects_access import NO_OBJECTS
from tests.support.folding import (
    NOW_US,
    PROJECT,
    SHARD,
    T0_US,
    TINY,
    apply,
    complete,
    end,
    fold_all,
    open_shard,
    read_state,
    start,
    tokens,
)
from tests.support.sealing import AT_ONCE, agents_batches, seal_all, some_calls
from tests.support.small_chunks import small_chunks

KEYS = ShardKeys(SHARD)
CALLS_PER_CHUNK = 4


@pytest.fixture(autouse=True)
def few_calls_per_chunk() -> Iterator[None]:
    """Some calls fill some chunks."""
    with small_chunks(CALLS_PER_CHUNK):
        yield


def own_fields(client: Any) -> dict[int, set[bytes]]:
    """The fields of each chunk but its frame's, of those that have one or are full."""
    found: dict[int, set[bytes]] = {}
    for key in client.scan_iter(f"{SHARD.tag}:calls:*"):
        fields = set(client.hkeys(key))
        if len(fields) >= CALLS_PER_CHUNK or CALL_FRAME_FIELD in fields:
            found[int(key.rpartition(b":")[2])] = fields - {CALL_FRAME_FIELD}
    return found


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_sealing(seed: int, client: Any) -> None:
    """Calls of agents in batches of any size, out of order and twice, sealed between any two, by any writer."""
    rng = Random(seed)
    batches = agents_batches(rng, 120)
    expected = fold_all(client, batches)
    client.flushall()
    shard = open_shard(client, TINY)
    merged = 0
    for batch in batches:
        apply(shard, batch)
        merged += sum(0 < len(fields) < CALLS_PER_CHUNK for fields in own_fields(client).values())
        if rng.random() < 0.7:
            seal_all(shard)
            assert not any(own_fields(client).values())
        if rng.random() < 0.3:
            shard = open_shard(client, TINY)
    assert read_state(client) == expected
    assert merged


def test_a_late_end(client: Any) -> None:
    """A late end is written beside the frame, which stays as it is until the chunk is sealed again; a second end is
    none."""
    shard = open_shard(client, AT_ONCE)
    apply(shard, [start(f"call-{at}", parent_id="call-0" if at else None) for at in range(5)])
    seal_all(shard)
    assert own_fields(client) == {0: set()}
    frame = client.hget(KEYS.calls(0), CALL_FRAME_FIELD)
    apply(shard, [end("call-3", 7, usage={"gpt-4o": tokens(5)})])
    assert own_fields(client) == {0: {b"3", b"0"}}  # with its ancestor, whose total it changes
    assert client.hget(KEYS.calls(0), CALL_FRAME_FIELD) == frame
    assert client.hkeys(KEYS.unsealed_calls) == [b"0"]
    seal_all(shard)
    assert own_fields(client) == {0: set()}
    again = open_shard(client, AT_ONCE)
    assert again.apply([end("call-3", 9), start("call-1")], 10, NOW_US, NOW_US, {}).duplicates == 2
    assert own_fields(client) == {0: set()}
    [three] = [call for (_, name), call in read_state(client)["calls"].items() if name == "call-3"]
    assert three["ended_us"] == T0_US + 7 * SECOND_US


def test_due_when_untouched_for_an_hour(client: Any) -> None:
    """A full chunk is due to the microsecond when untouched for an hour, whenever its calls began; one that is not full
    never is."""
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S))
    shard.apply([start(f"call-{at}") for at in range(6)], 6, T0_US, T0_US, {})
    shard.touch(T0_US + HOUR_S * SECOND_US - 1)
    seal_all(shard)
    assert own_fields(client) == {0: {b"0", b"1", b"2", b"3"}}
    shard.apply([end("call-0")], 7, T0_US + HOUR_S * SECOND_US - 1, NOW_US, {})
    shard.touch(T0_US + HOUR_S * SECOND_US)
    seal_all(shard)
    assert len(own_fields(client)[0]) == CALLS_PER_CHUNK
    shard.touch(T0_US + 2 * HOUR_S * SECOND_US - 1)
    seal_all(shard)
    assert own_fields(client) == {0: set()}
    assert len(client.hkeys(KEYS.calls(1))) == 2


def test_nothing_is_sealed_unless_asked(client: Any) -> None:
    """Nothing is sealed where no time is set after which to seal."""
    shard = open_shard(client)
    apply(shard, some_calls(20))
    assert seal_all(shard) == 0
    assert all(len(fields) == CALLS_PER_CHUNK for fields in own_fields(client).values())
    assert not client.exists(KEYS.unsealed_calls)


def test_who_read_before_cannot_write_after(client: Any) -> None:
    """A writer that knows records from before a chunk was sealed is refused, whether it seals or folds."""
    writer = open_shard(client, AT_ONCE)
    apply(writer, [start(f"call-{at}") for at in range(9)])
    first, second = (call_sealing(opened(client)) for _ in range(2))
    assert first.step(NOW_US, NOW_US) == CALLS_PER_CHUNK
    for refused in (lambda: second.step(NOW_US, NOW_US), lambda: apply(writer, [end("call-1")])):
        with pytest.raises(Fenced):
            refused()
    writer.recover()
    apply(writer, [end("call-1")])
    with pytest.raises(Fenced):
        first.step(NOW_US, NOW_US)


def call_sealing(store: ShardStore) -> CallSealing:
    """The sealing of all full chunks, in Redis alone."""
    return CallSealing(store, -10 * DAY_S, NO_OBJECTS.frames, CallMoving(store, NO_OBJECTS, 0, 0))


def opened(client: Any) -> ShardStore:
    """A store that knows of which state it reads."""
    store = ShardStore(client, SHARD)
    store.next_offset()
    return store


def test_sealed_chunks_expire(client: Any) -> None:
    """Sealed chunks go with their ids once the last of their calls is past its retention, also those that changed after
    sealing."""
    kept_s = 10 * HOUR_S
    shard = open_shard(client, AT_ONCE, Retention(kept_s, 3650 * DAY_S, 3650 * DAY_S))
    shard.apply([start(f"call-{at}", at_s=at) for at in range(9)], 9, T0_US, T0_US, {})
    seal_all(shard, T0_US)
    shard.apply([end("call-2", 3)], 10, T0_US, T0_US, {})
    late_us = T0_US + (kept_s + 3) * SECOND_US
    shard.apply([complete("new", at_s=kept_s)], 11, late_us, late_us, {})
    assert set(own_fields(client)) == {1}
    client.delete(*client.keys("*:x:*"), *client.keys("*:w:*"))  # postings go by the day, not with their records
    assert len(read_state(client)["calls"]) == 6
    seal_all(shard, NOW_US)
    assert client.hkeys(KEYS.unsealed_calls) == []


def test_damage_is_told_by_the_writer(client: Any) -> None:
    """A writer tells the damage, with its place, of what an event needs; an event that needs none of it is folded."""
    shard = open_shard(client, AT_ONCE)
    apply(shard, [start(f"call-{at}") for at in range(9)])
    seal_all(shard)
    client.hset(KEYS.calls(1), CALL_FRAME_FIELD, b"damaged")
    shard = open_shard(client, AT_ONCE)
    apply(shard, [end("call-1"), end("call-8")])
    with pytest.raises(CorruptFrame, match=r"records of .*:calls:1 are damaged"):
        apply(shard, [end("call-5")])


def test_other_shards_see_what_has_started(client: Any) -> None:
    """Sealed or not; an end that waits for its start is none."""
    shard = open_shard(client, AT_ONCE)
    apply(shard, [*(start(f"call-{at}") for at in range(5)), end("only-ended")])
    seal_all(shard)
    assert own_fields(client) == {0: set()}
    other = Elsewhere(client, SHARD._replace(partition=1), HOUR_S)
    ids = [b"\0call-1", b"\0call-4", b"\0only-ended", b"\0unknown"]
    assert other.started(PROJECT, ids) == {b"\0call-1": 0, b"\0call-4": 0}
