"""Collecting: what nothing points into is kept for a grace and then deleted; what something points into stays."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
import redis

from aggregator.layout.moved import OWNER, POSTINGS_LETTER, letter_of, unpack_objects
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, SECOND_US
from aggregator.writing.collecting import Collecting, list_objects
from aggregator.writing.objects_access import AtOnce, objects_access
from tests.support.folding import KEEP_ALL, NOW_US, apply, fold_all
from tests.support.moving import AT_ONCE, KEYS, PREFIX, FailingStore, check_pointers, open_moving, state
from tests.support.sealing import blocks, seal_all, some_calls

GRACE_S = 7 * DAY_S
LIMITS = msgspec.structs.replace(AT_ONCE, collect_every_s=0)
LATER_US = NOW_US + GRACE_S * SECOND_US


def names(objects: FailingStore) -> set[str]:
    """Returns what the directory holds of the shard, but for its owner."""
    return {one.name.removeprefix(PREFIX) for one in objects.listed(PREFIX)} - {OWNER}


def keep_up(client: Any, objects: FailingStore, now_us: int) -> None:
    """A writer opens the shard and does all that is due."""
    shard = open_moving(client, objects, LIMITS)
    for _ in range(8):
        seal_all(shard, now_us)
        shard.seal(now_us)


def retired(client: Any) -> dict[str, int]:
    """Returns what is retired, and since when."""
    return {name.decode(): int(since) for name, since in client.hgetall(KEYS.retired).items()}


def with_retired(client: Any, objects: FailingStore) -> set[str]:
    """Objects that nothing points into any more, by late events; all else is in others, but what came before in
    indexes."""
    shard = open_moving(client, objects)
    apply(shard, some_calls(60))
    seal_all(shard)
    before = {name for name in names(objects) if letter_of(name) != POSTINGS_LETTER}
    apply(shard, some_calls(60, 60))
    seal_all(shard)
    assert set(retired(client)) == before
    return before


def test_deleted_after_the_grace(client: Any, objects: FailingStore) -> None:
    """A retired object is deleted after the grace, to the microsecond; what is pointed into is as it was."""
    gone = with_retired(client, objects)
    everything = names(objects)
    keep_up(client, objects, LATER_US - 1)
    assert names(objects) == everything
    keep_up(client, objects, LATER_US)
    assert names(objects) == everything - gone
    assert retired(client) == {}
    check_pointers(client, objects)
    assert state(client, objects) == fold_all(client, [some_calls(60), some_calls(60, 60)])


def test_nobodys_are_noted_and_deleted_a_grace_later(client: Any, objects: FailingStore) -> None:
    """A writer ended between put and pointer, however long ago: the grace begins when it is found."""
    with_retired(client, objects)
    objects.put(PREFIX + "20000-h-5-abc", b"left")
    objects.put("callmeter/calls/1/20000-h-5-abc", b"another shard's")
    keep_up(client, objects, NOW_US + 1)
    assert retired(client)["20000-h-5-abc"] == NOW_US + 1
    keep_up(client, objects, LATER_US)
    assert "20000-h-5-abc" in names(objects)
    keep_up(client, objects, LATER_US + 1)
    assert "20000-h-5-abc" not in names(objects)
    assert objects.read_whole("callmeter/calls/1/20000-h-5-abc")
    check_pointers(client, objects)


def test_retired_when_its_blocks_expire(client: Any, objects: FailingStore) -> None:
    """An object is retired once its blocks are found to have expired, without a step of its own; one block that is left
    keeps it."""
    shard = open_moving(client, objects)
    apply(shard, some_calls(60))
    seal_all(shard)
    everything = names(objects)
    hours = {name for name in everything if "-h-" in name or letter_of(name) == POSTINGS_LETTER}
    client.delete(*(key for key in blocks(client) if b":r:m:" in key or b":r:f:" in key))
    expired_us = NOW_US + 3_700 * DAY_S * SECOND_US
    keep_up(client, objects, expired_us)
    assert set(retired(client)) == everything - hours
    assert set(unpack_objects(client.hgetall(KEYS.objects))) == hours
    keep_up(client, objects, expired_us + GRACE_S * SECOND_US)
    assert names(objects) == hours


def test_what_another_shard_of_the_name_has_is_left(client: Any, objects: FailingStore) -> None:
    """Two deployments under one address, or a wiped Redis: only what this one has retired itself is deleted."""
    with_retired(client, objects)
    client.flushall()
    shard = open_moving(client, objects)
    apply(shard, some_calls(30))
    seal_all(shard)
    theirs = names(objects) - set(unpack_objects(client.hgetall(KEYS.objects)))
    assert theirs
    keep_up(client, objects, NOW_US)
    keep_up(client, objects, LATER_US)
    assert theirs <= names(objects)
    assert retired(client) == {}


def test_a_redis_that_falls_back_finds_its_objects(client: Any, objects: FailingStore) -> None:
    """A dump from within the grace points into what has been retired since; who goes on from it notes what it lacks."""
    shard = open_moving(client, objects)
    apply(shard, some_calls(60))
    seal_all(shard)
    dump = {key: client.dump(key) for key in list(client.scan_iter())}
    apply(shard, some_calls(60, 60))
    seal_all(shard)
    keep_up(client, objects, LATER_US - 1)
    client.flushall()
    for key, value in dump.items():
        client.restore(key, 0, value)
    assert state(client, objects) == fold_of(client, dump)
    keep_up(client, objects, LATER_US - 1)
    assert set(retired(client).values()) == {LATER_US - 1}
    check_pointers(client, objects)


def fold_of(client: Any, dump: dict[bytes, bytes]) -> Any:
    """The state of the first 60 calls; Redis is then as in the dump again."""
    found = fold_all(client, [some_calls(60)])
    client.flushall()
    for key, value in dump.items():
        client.restore(key, 0, value)
    return found


@pytest.mark.parametrize("step", ["retire", "forget"])
@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_crash_at_each_step(
    step: str, takes_effect: bool, client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever goes on ends where all were well."""
    gone = with_retired(client, objects)
    objects.put(PREFIX + "20000-h-5-abc", b"left")
    original = getattr(Collecting, step)

    def crash(self: Collecting, *args: Any) -> Any:
        if takes_effect:
            original(self, *args)
        raise redis.ConnectionError("killed")

    for now_us in (NOW_US, LATER_US):
        with monkeypatch.context() as patch, suppress(redis.ConnectionError):
            patch.setattr(Collecting, step, crash)
            keep_up(client, objects, now_us)
        check_pointers(client, objects)
    keep_up(client, objects, LATER_US)
    assert not gone & names(objects)
    keep_up(client, objects, LATER_US + GRACE_S * SECOND_US)
    assert names(objects) == set(unpack_objects(client.hgetall(KEYS.objects)))
    assert retired(client) == {}


def test_a_store_that_is_away_is_tried_again(client: Any, objects: FailingStore) -> None:
    """Objects that could not be deleted are remembered and tried again."""
    gone = with_retired(client, objects)
    objects.is_away = True
    keep_up(client, objects, LATER_US)
    assert set(retired(client)) == gone
    objects.is_away = False
    keep_up(client, objects, LATER_US)
    assert not gone & names(objects)


def test_an_object_on_its_way_is_nobodys_yet(client: Any, objects: FailingStore) -> None:
    """An object that is being put is not taken for one that was left over."""
    with_retired(client, objects)
    objects.put(PREFIX + "20000-h-5-abc", b"being put")
    store = ShardStore(client, open_moving(client, objects).store.shard)
    store.next_offset()
    collecting = Collecting(store, objects_access(objects, AtOnce()), KEEP_ALL, GRACE_S, 0)
    listing = list_objects(objects, PREFIX)
    assert collecting.find(listing, NOW_US, ["20000-h-5-abc"]).orphans == []
    assert collecting.find(listing, NOW_US).orphans == ["20000-h-5-abc"]
