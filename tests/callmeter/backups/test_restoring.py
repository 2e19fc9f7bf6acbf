"""A restored Redis goes on as if nothing had been: with the rest of the log it holds what a fold of all events does."""

import random
import time
from contextlib import suppress
from typing import Any

import pytest
import redis

from aggregator.access.key import AccessKey
from aggregator.layout.backup import CopiedKey, DamagedBackup, backups_prefix
from aggregator.layout.keys import CALLS_PER_CHUNK, ShardKeys, ShardName, project_registry, shard_registry
from aggregator.store import key_loading
from aggregator.store.alert_store import AlertStore
from aggregator.store.generation import Generations, Lease
from aggregator.store.key_loading import KeyLoader, OtherServer
from aggregator.store.key_store import KeyStore
from aggregator.store.shard_store import Fenced, ShardStore
from aggregator.time_units import DAY_S, HOUR_S, SECOND_US
from callmeter.backups import making
from callmeter.backups.keeping import read_manifest
from callmeter.backups.restoring import find_faults, restore
from tests.support.backing_up import back_up, bring_back
from tests.support.folding import NOW_US, PROJECT, SHARD, apply, complete, end, fold_all, start
from tests.support.moving import PREFIX, FailingStore, check_pointers, moved_chunks, open_moving, state
from tests.support.sealing import agents_batches, seal_all, some_calls

KEYS = ShardKeys(SHARD)


@pytest.mark.parametrize("seed", [1])
def test_the_rest_of_the_log_comes_after_it(seed: int, client: Any, objects: FailingStore) -> None:
    """Wiped after any batch, restored from a backup of any batch before, and the log read on from there: agents' calls,
    sealed, moved, late and repeated, come to what a fold of all of them does.
    """
    rng = random.Random(seed)
    batches = agents_batches(rng, 200)
    at, wiped_at = sorted(rng.sample(range(1, len(batches)), 2))
    shard = open_moving(client, objects)
    name = ""
    for number, batch in enumerate(batches[:wiped_at]):
        if number == at:
            name, manifest = back_up(client, objects)
            assert manifest.shards[0].next_offset == sum(map(len, batches[:at]))
        apply(shard, batch)
        if rng.random() < 0.5:
            seal_all(shard)
    client.flushall()
    bring_back(client, objects, name)
    assert client.smembers(shard_registry(SHARD.namespace)) == {b"calls/0"}
    shard = open_moving(client, objects)
    offset = 0
    for batch in batches:
        offset += len(batch)
        if offset > (shard.next_offset or 0):
            apply(shard, batch)
            if rng.random() < 0.5:
                seal_all(shard)
    check_pointers(client, objects)
    assert state(client, objects) == fold_all(client, batches)


def test_late_events_for_what_is_in_objects(client: Any, objects: FailingStore) -> None:
    """Late ends, repeats and children that come after a restore are counted with what objects hold."""
    starts = [start("late", 1), start("parent", 2, trace_id="t")]
    events = [*starts, *some_calls(2 * CALLS_PER_CHUNK, hours=1)]
    shard = open_moving(client, objects)
    apply(shard, events)
    seal_all(shard)
    assert moved_chunks(client)
    name, _ = back_up(client, objects)
    client.flushall()
    bring_back(client, objects, name)
    more = [end("late", 9), complete("child", 3, parent_id="parent", trace_id="t"), *events[-40:], end("parent", 8)]
    shard = open_moving(client, objects)
    apply(shard, more)
    seal_all(shard)
    check_pointers(client, objects)
    assert state(client, objects) == fold_all(client, [events, more])


def test_who_wrote_before_is_fenced(client: Any, objects: FailingStore) -> None:
    """Neither a writer of the time after the backup, nor one that stood just there, writes after a restore; nor does
    any while it is done. The session is another one: calls may get other numbers.
    """
    shard = open_moving(client, objects)
    apply(shard, some_calls(20))
    stood_there = open_moving(client, objects)
    session = client.hget(KEYS.writer, "session")
    name, manifest = back_up(client, objects)
    apply(shard, some_calls(20, 20))
    loader = KeyLoader(client, SHARD.namespace, manifest.generation)
    closed = loader.close([])
    for writer in (shard, stood_there):
        with pytest.raises(Fenced):
            apply(writer, some_calls(1, 40))
    with pytest.raises(Fenced, match="restore"):
        open_moving(client, objects)
    loader.open(manifest.generation, manifest.shards, closed)
    bring_back(client, objects, name)
    for writer in (shard, stood_there):
        with pytest.raises(Fenced):
            apply(writer, some_calls(1, 40))
    assert client.hget(KEYS.writer, "session") not in (None, session)
    assert open_moving(client, objects).next_offset == 20


def test_cut_off_and_done_again(client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore that is killed after any step leaves shards that nobody writes; done again, all is there."""
    shard = open_moving(client, objects)
    events = some_calls(60)
    apply(shard, events)
    name, _ = back_up(client, objects)
    apply(shard, some_calls(60, 60))
    for step in ("clear", "write", "open"):

        def killed(*_: object, of: str = step) -> None:
            raise redis.ConnectionError(of)

        with monkeypatch.context() as patch, suppress(redis.ConnectionError):
            patch.setattr(KeyLoader, step, killed)
            bring_back(client, objects, name)
        with pytest.raises(Fenced, match="restore"):
            open_moving(client, objects)
    bring_back(client, objects, name)
    assert state(client, objects) == fold_all(client, [events])


def test_what_stood_there_is_gone(client: Any, objects: FailingStore) -> None:
    """Keys and shards that came after the backup, of another generation too, are not there after a restore; keys of
    others are.
    """
    apply(open_moving(client, objects), some_calls(30))
    name, _ = back_up(client, objects)
    kept = set(client.scan_iter())
    generations = Generations(client, SHARD.namespace)
    later = generations.begin(0)
    generations.switch(Lease(client, SHARD.namespace, later))
    for shard in (SHARD._replace(namespace=later), ShardName(SHARD.namespace, "calls", 7)):
        ShardStore(client, shard).note_unread({("p", "m"): ["x"]})
        client.set(ShardKeys(shard).next, 5)
    client.set("callmeter-of-others:next", 1)
    bring_back(client, objects, name)
    assert set(client.scan_iter()) == kept | {b"callmeter-of-others:next"}


def test_what_is_of_no_shard_comes_back(client: Any, objects: FailingStore) -> None:
    """Access keys and alerts come back, the lease of who evaluates alerts does not; nor does a rebuild's work."""
    apply(open_moving(client, objects), some_calls(5))
    KeyStore(client, SHARD.namespace).add(AccessKey("id", "who", "0" * 64, None, 1))
    alerts = AlertStore(client, SHARD.namespace)
    token = alerts.take_lease("one")
    assert token is not None
    assert alerts.change(token, {"episode": b"fires"}, [("delivery", b"to do")])
    kept = alerts.read()
    Generations(client, SHARD.namespace).begin(0)
    name, _ = back_up(client, objects)
    client.flushall()
    bring_back(client, objects, name)
    assert [one.key.name for one in KeyStore(client, SHARD.namespace).all()] == ["who"]
    assert alerts.read() == kept
    assert alerts.take_lease("two") == "two:2"
    assert Generations(client, SHARD.namespace).begin(0) == "callmeter.3"


def test_what_expires(client: Any, objects: FailingStore) -> None:
    """Keys expire when they would have, those that have meanwhile are not there."""
    apply(open_moving(client, objects), some_calls(5))
    at_s = client.time()[0]
    client.hset(KEYS.unread, "x", "y")
    client.expireat(KEYS.unread, at_s + 500)
    client.hset(KEYS.attempt, "x", "y")
    client.pexpire(KEYS.attempt, 200)
    name, _ = back_up(client, objects)
    client.flushall()
    time.sleep(0.3)
    bring_back(client, objects, name)
    assert client.expiretime(KEYS.unread) == at_s + 500
    assert not client.exists(KEYS.attempt)


def test_damage_is_found(client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part that was changed, cut short, exchanged or deleted, and a manifest that was, are refused by name."""
    monkeypatch.setattr(making, "PART_BYTES_MAX", 2_000)
    apply(open_moving(client, objects), some_calls(60))
    name, manifest = back_up(client, objects)
    assert len(manifest.parts) > 2
    prefix = f"{backups_prefix(SHARD.namespace)}{name}/"
    first, second = (prefix + part.name for part in manifest.parts[:2])
    held = objects.read_whole(first)
    for damaged in (held[:50] + b"!" + held[51:], held[:-1], objects.read_whole(second), None):
        objects.delete([first])
        if damaged is not None:
            objects.put(first, damaged)
        with pytest.raises(DamagedBackup, match=r"00000\.keys"):
            bring_back(client, objects, name)
    stored = objects.read_whole(prefix + "manifest.json")
    for damaged, why in ((stored[:-9], "is damaged"), (stored.replace(b'"form": 1', b'"form": 2'), "has form 2")):
        objects.delete([prefix + "manifest.json"])
        objects.put(prefix + "manifest.json", damaged)
        with pytest.raises(DamagedBackup, match=why):
            read_manifest(objects, SHARD.namespace, name)


def test_objects_that_are_missing_are_found(client: Any, objects: FailingStore) -> None:
    """An object that is gone, or is not what it was, is named, and so is a store that is another one."""
    shard = open_moving(client, objects)
    apply(shard, some_calls(60))
    seal_all(shard)
    _, manifest = back_up(client, objects)
    assert find_faults(objects, manifest) == ([], [])
    [gone, changed, *_] = sorted(manifest.shards[0].objects)
    objects.delete([PREFIX + gone, PREFIX + changed])
    objects.put(PREFIX + changed, b"short")
    assert find_faults(objects, manifest) == ([PREFIX + gone, PREFIX + changed], [])
    objects.delete([PREFIX + "owner"])
    objects.put(PREFIX + "owner", b"another")
    assert find_faults(objects, manifest).owners == [PREFIX]


def test_objects_stay_as_long_as_backups(client: Any, objects: FailingStore) -> None:
    """Objects that are retired after a backup go a grace later, when no backup of before is kept any more."""
    shard = open_moving(client, objects)
    apply(shard, some_calls(60))
    seal_all(shard)
    _, manifest = back_up(client, objects)
    apply(shard, some_calls(10, 60))
    seal_all(shard)
    assert client.hlen(KEYS.retired)
    for age_s, are_there in ((7 * DAY_S - 1, True), (8 * DAY_S, False)):
        for later_s in (0, HOUR_S):  # after an hour they are looked for
            seal_all(shard, NOW_US + (age_s - HOUR_S + later_s) * SECOND_US)
        assert (find_faults(objects, manifest) == ([], [])) == are_there


def test_a_dump_that_redis_cannot_read(client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is told to be another one, and shards stay closed."""
    apply(open_moving(client, objects), some_calls(5))
    name, manifest = back_up(client, objects)
    loader = KeyLoader(client, SHARD.namespace, manifest.generation)
    original = type(loader).write
    monkeypatch.setattr(
        KeyLoader,
        "write",
        lambda self, copies: original(self, [type(one)(one.key, 0, b"\x05\xff\xff" + b"0" * 8) for one in copies]),
    )
    with pytest.raises(OtherServer):
        restore(loader, objects, name, manifest, {})
    with pytest.raises(Fenced, match="restore"):
        open_moving(client, objects)


@pytest.mark.single_redis
def test_readers_find_no_shard_that_is_not_whole(
    client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing says that there is a shard while its keys go and come, but when all of them are there."""
    monkeypatch.setattr(making, "PART_BYTES_MAX", 500)
    monkeypatch.setattr(key_loading, "KEYS_PER_STEP", 1)
    apply(open_moving(client, objects), some_calls(30))
    name, _ = back_up(client, objects)
    everything = set(client.keys(f"{SHARD.tag}*"))
    said: list[bool] = []

    def look() -> None:
        says = bool(client.exists(shard_registry(SHARD.namespace), project_registry(SHARD.namespace, PROJECT)))
        said.append(says)
        assert not says or everything <= set(client.keys())

    original = redis.client.Pipeline.execute

    def executing(*args: Any) -> Any:
        answers = original(*args)
        look()
        return answers

    monkeypatch.setattr(redis.client.Pipeline, "execute", executing)
    bring_back(client, objects, name)
    assert said.count(False) > 2 * len(everything)
    assert said[-1]


def test_a_key_that_went_meanwhile_is_not_there(client: Any) -> None:
    """A key that was copied and then told to be gone is deleted."""
    client.set("{callmeter/calls/0}:attempt", 1)
    dumped = client.dump("{callmeter/calls/0}:attempt")
    copies = [CopiedKey(b"{callmeter/calls/0}:" + name, 0, dumped) for name in (b"attempt", b"unread")]
    KeyLoader(client, "callmeter", "callmeter").write([*copies, CopiedKey(copies[0].key, 0, None)])
    assert client.keys() == [copies[1].key]
