"""Moving: frames of finished days go into objects, and nothing that is said changes, whatever ends it on the way."""

from pathlib import Path
from typing import Any

import pytest

from aggregator.layout.keys import CALLS_PER_CHUNK
from aggregator.layout.moved import OWNER, unpack_objects
from aggregator.objects.object_store import ObjectMissing
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, HOUR_S, SECOND_US
from aggregator.writing import moving, sealing
from aggregator.writing.limits import ShardLimits
from aggregator.writing.objects_access import objects_access
from aggregator.writing.shard import Shard
from tests.support.folding import KEEP_ALL, NOW_US, SHARD, apply, fold_all, prices
from tests.support.moving import (
    AT_ONCE,
    KEYS,
    PREFIX,
    FailingStore,
    away_said,
    check_pointers,
    frames_in_redis,
    moved_chunks,
    open_moving,
    state,
)
from tests.support.sealing import seal_all, some_calls, unsealed_fields

SHORT = Retention(*(400 * DAY_S,) * 4)


@pytest.mark.parametrize(("calls", "per_frame"), [(60, 1_000), (60, 7), (1_100, 50)])
def test_all_is_moved_and_says_the_same(
    calls: int, per_frame: int, client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis holds pointers alone; an object is of one level of a day, and each can be checked by itself."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", per_frame)
    events = some_calls(calls, hours=1 if calls > 1_000 else 5)
    expected = fold_all(client, [events])
    client.flushall()
    shard = open_moving(client, objects)
    apply(shard, events)
    seal_all(shard)
    assert unsealed_fields(client) == []
    assert frames_in_redis(client) == []
    assert state(client, objects) == expected
    assert client.hkeys(KEYS.unmoved) == [b"*"]
    entries = unpack_objects(client.hgetall(KEYS.objects))
    assert {name.split("-")[1] for name in entries} == {"f", "h", "m", "x"} | (
        {"c"} if calls > CALLS_PER_CHUNK else set()
    )
    assert client.hlen(KEYS.unmoved_calls) == 0
    assert len(moved_chunks(client)) == calls // CALLS_PER_CHUNK
    assert [one.name for one in objects.listed(PREFIX)] == sorted(PREFIX + name for name in [*entries, OWNER])
    assert objects.read_whole(PREFIX + OWNER) == client.hget(KEYS.objects, OWNER)
    check_pointers(client, objects)


def test_bounded_objects(client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of much goes into several, none much larger than the bound; small projects share one."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 5)
    monkeypatch.setattr(moving, "OBJECT_BYTES_MAX", 5_000)
    monkeypatch.setattr(moving, "FRAMES_PER_READ", 2)
    shard = open_moving(client, objects)
    events = some_calls(100)
    apply(shard, events)
    seal_all(shard)
    sizes = [one.size_bytes for one in objects.listed(PREFIX)]
    assert len(sizes) > 5
    assert max(sizes) < 15_000
    assert frames_in_redis(client) == []
    check_pointers(client, objects)
    assert state(client, objects) == fold_all(client, [events])


@pytest.mark.parametrize("per_frame", [1_000, 100])
def test_late_events_take_cells_out(
    per_frame: int, client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events for moved cells are counted with all these had, by the writer that moved them and by a new one; objects
    that nothing points into are retired, and still there."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", per_frame)
    parts = [some_calls(560, hours=1), some_calls(10, 560), some_calls(1, 570), some_calls(560, 571, hours=1)]
    expected = fold_all(client, parts)
    client.flushall()
    shard = open_moving(client, objects)
    for number, part in enumerate(parts):
        apply(shard, part)
        assert unsealed_fields(client)
        seal_all(shard)
        assert unsealed_fields(client) == frames_in_redis(client) == []
        check_pointers(client, objects)
        if number % 2:
            shard = open_moving(client, objects)
    assert state(client, objects) == expected
    retired = client.hgetall(KEYS.retired)
    assert retired
    assert set(retired.values()) == {b"%d" % NOW_US}
    assert {PREFIX + name.decode() for name in retired} <= {one.name for one in objects.listed(PREFIX)}


def test_due_when_the_day_is_over(client: Any, objects: FailingStore) -> None:
    """Cells are due so long after their day was sealed: minutes wait for the end of their day too."""
    limits = ShardLimits(seal_after_s=HOUR_S, move_after_s=6 * HOUR_S)
    shard = open_moving(client, objects, limits)
    apply(shard, some_calls(20))
    read_us = NOW_US + 2 * HOUR_S * SECOND_US
    shard.touch(read_us)
    seal_all(shard, read_us)
    assert unsealed_fields(client) == []
    due_us = read_us + 6 * HOUR_S * SECOND_US
    assert seal_all(shard, due_us - 1) == 0
    assert frames_in_redis(client)
    seal_all(shard, due_us)
    assert frames_in_redis(client) == []


def test_away_at_moving(client: Any, objects: FailingStore, caplog: pytest.LogCaptureFixture) -> None:
    """Said once; frames stay in Redis, and are moved when it is back, a minute later."""
    shard = open_moving(client, objects)
    events = some_calls(60)
    apply(shard, events)
    objects.is_away = True
    for minute in range(5):
        seal_all(shard, NOW_US + minute * 60 * SECOND_US)
    assert away_said(caplog).count("sealed rollups") == 1
    assert frames_in_redis(client)
    assert objects.puts == 0
    objects.is_away = False
    assert seal_all(shard, NOW_US + 4 * 60 * SECOND_US) == 0
    seal_all(shard, NOW_US + 5 * 60 * SECOND_US)
    assert frames_in_redis(client) == []
    assert state(client, objects) == fold_all(client, [events])


def test_away_at_a_late_event(client: Any, objects: FailingStore) -> None:
    """An event that needs an object waits for it as for Redis, and is then counted once; one that needs none goes
    on."""
    shard = open_moving(client, objects)
    parts = [some_calls(60), some_calls(5, 60)]
    apply(shard, parts[0])
    seal_all(shard)
    shard = open_moving(client, objects)
    objects.is_away = True
    with pytest.raises(OSError, match="away"):
        apply(shard, parts[1])
    shard.recover()
    objects.is_away = False
    apply(shard, parts[1])
    seal_all(shard)
    assert state(client, objects) == fold_all(client, parts)


def test_no_store_is_set_any_more(client: Any, objects: FailingStore) -> None:
    """A late event names the object and the variable; blocks that are not in one are sealed as before."""
    shard = open_moving(client, objects)
    apply(shard, some_calls(60))
    seal_all(shard)
    shard = open_moving(client, None)
    with pytest.raises(OSError, match=r"callmeter/calls/0/\d+-.* CALLMETER_SEGMENTS__URL"):
        apply(shard, some_calls(5, 60))


def test_a_lost_or_damaged_object_is_named_to_the_writer(client: Any, objects: FailingStore, tmp_path: Path) -> None:
    """A lost or damaged object is named to the writer, and what would need it is not counted without it."""
    shard = open_moving(client, objects)
    apply(shard, some_calls(60))
    seal_all(shard)
    for one in objects.listed(PREFIX):
        (tmp_path / "objects" / one.name).rename(tmp_path / one.name.replace("/", "_"))
    shard = open_moving(client, objects)
    with pytest.raises(ObjectMissing, match=PREFIX):
        apply(shard, some_calls(5, 60))


def test_sealed_before_a_store_was_set(client: Any, objects: FailingStore) -> None:
    """Is found and moved, also what was sealed while it was not set for a while."""
    shard = open_moving(client, None, AT_ONCE, SHORT)
    parts = [some_calls(60), some_calls(60, 60, hours=40)]
    apply(shard, parts[0])
    seal_all(shard)
    assert frames_in_redis(client)
    shard = open_moving(client, objects, AT_ONCE, SHORT)
    seal_all(shard)
    assert frames_in_redis(client) == []
    shard = Shard(ShardStore(client, SHARD), prices(), SHORT, AT_ONCE, objects_access(objects, None))
    apply(shard, parts[1])
    shard = open_moving(client, None, AT_ONCE, SHORT)
    seal_all(shard)
    assert client.hget(KEYS.unmoved, "*") is None
    shard = open_moving(client, objects, AT_ONCE, SHORT)
    seal_all(shard)
    assert frames_in_redis(client) == []
    check_pointers(client, objects)


def test_another_store_is_not_written(client: Any, objects: FailingStore, tmp_path: Path) -> None:
    """A store that lacks the shard's first object is not written: the directory is not mounted, or another."""
    shard = open_moving(client, objects)
    apply(shard, some_calls(60))
    seal_all(shard)
    other = FailingStore(tmp_path / "other")
    shard = Shard(ShardStore(client, SHARD), prices(), KEEP_ALL, AT_ONCE, objects_access(objects, None))
    apply(shard, some_calls(5, 60))
    seal_all(shard)
    shard = open_moving(client, other)
    seal_all(shard)
    assert other.listed("") == []
    assert frames_in_redis(client)
