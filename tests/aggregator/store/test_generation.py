"""Generations: which one is live, that a shard that moved away has no writer, that only what is meant is dropped."""

import asyncio
import time

import pytest
import redis
import redis.asyncio

from aggregator.layout.keys import ShardName
from aggregator.layout.write import ShardWrite
from aggregator.store.generation import (
    LEASE_S,
    LOOK_INTERVAL_S,
    SILENT_S_MAX,
    Generations,
    LiveNamespace,
    RebuildRuns,
    lease_key,
    live_namespace,
)
from aggregator.store.shard_store import Fenced, ShardStore
from aggregator.writing.shard import Shard
from tests.support.folding import KEEP_ALL, NOW_US, apply, complete, open_shard, prices, start

BASE = "callmeter"
NOW_S = 1_800_000_000
OTHER = "0123456789abcdef"  # a lease that is not held


@pytest.fixture
def store(client: redis.Redis) -> ShardStore:
    """A shard of the base generation."""
    return ShardStore(client, ShardName(BASE, "calls", 0))


def keys(client: redis.Redis) -> set[str]:
    """All keys."""
    return {key.decode() for key in client.scan_iter()}


def test_which_is_live(client: redis.Redis) -> None:
    """The base is live until another generation is; each that begins has a number of its own."""
    generations = Generations(client, BASE)
    assert live_namespace(client, BASE) == BASE
    first = generations.begin(NOW_S)
    assert first == f"{BASE}.2"
    assert generations.switch(generations.take_lease(first)) == BASE
    assert (live_namespace(client, BASE), generations.tidy()) == (first, [BASE])
    abandoned = generations.begin(NOW_S)
    assert (abandoned, generations.tidy()) == (f"{BASE}.3", [f"{BASE}.3"])
    assert generations.begin(NOW_S) == f"{BASE}.4"
    assert generations.live() == first


def test_a_name_that_is_taken(client: redis.Redis) -> None:
    """A namespace that another deployment uses is left alone."""
    fill(client, f"{BASE}.2")
    before = keys(client)
    generations = Generations(client, BASE)
    assert generations.begin(NOW_S) == f"{BASE}.3"
    assert generations.tidy() == [f"{BASE}.3"]
    assert before <= keys(client)


def test_readers_look_often(client: redis.Redis, redis_url: str) -> None:
    """A reader sees the switch after LOOK_INTERVAL_S, and does not ask each time."""

    async def look_on() -> list[str]:
        seen, elapsed_s = [], [0.0, 0.9 * LOOK_INTERVAL_S, LOOK_INTERVAL_S]
        reading = redis.asyncio.Redis.from_url(redis_url)
        live = LiveNamespace(reading, BASE, iter(elapsed_s).__next__)
        for _ in elapsed_s:
            seen.append(await live.look())
            client.set(f"{BASE}:live", "new")
        await reading.aclose()
        return seen

    assert asyncio.run(look_on()) == [BASE, BASE, "new"]


def test_moved_away(client: redis.Redis, store: ShardStore) -> None:
    """A shard that moved away refuses its writer, who was in the middle, and any new one; back again it takes them."""
    shard = open_shard(client)
    apply(shard, [start("a")])
    assert store.move_away(OTHER) == 1
    with pytest.raises(Fenced):
        apply(shard, [start("b")])
    with pytest.raises(Fenced):
        open_shard(client)
    with pytest.raises(Fenced):
        store.next_offset()
    assert (store.move_away(OTHER), store.read_offset()) == (1, 1)
    store.move_back()
    store.move_back()
    shard = open_shard(client)
    apply(shard, [start("b")])
    assert store.next_offset() == store.read_offset() == 2


def test_a_new_shard_moves_away(client: redis.Redis, store: ShardStore) -> None:
    """A new shard moves away too, though nothing was ever applied to it."""
    shard = open_shard(client)
    assert store.move_away(OTHER) is None
    with pytest.raises(Fenced):
        apply(shard, [start("a")])
    assert store.read_offset() is None
    store.move_back()
    apply(shard, [start("a")])
    assert store.read_offset() == 1


def fill(client: redis.Redis, namespace: str) -> None:
    """A generation with something of everything."""
    shard = Shard(ShardStore(client, ShardName(namespace, "calls", 0)), prices(), KEEP_ALL)
    apply(shard, [complete("a", user_id="ann", input_refs=("weave:///a",)), start("b", parent_id="a")])
    shard.store.register_partitions(1, NOW_US)


@pytest.mark.parametrize("base", ["a", "a*", "a[b]", "a/b", "a\\b"])
def test_only_one_generation_is_dropped(base: str, client: redis.Redis) -> None:
    """Dropping a generation takes nothing of namespaces that look alike, nor of the keys beside the shards; the fences
    stay."""
    for neighbour in ("ab", "a/b/c", "aa", "b", f"{base}.3", f"x{base}", f"{base}/calls"):
        fill(client, neighbour)
    for name in ("keys", "keys:used", "other"):
        client.hset(f"{base}:{name}", "field", "value")
    beside = keys(client) - {f"{base}:shards", f"{{{base}:shards}}:counted"}
    fill(client, base)
    assert len(keys(client) - beside) > 10
    generations = Generations(client, base)
    namespace = generations.begin(NOW_S)
    fill(client, namespace)
    of_new = {
        key for key in keys(client) - beside if key.startswith((f"{{{namespace}/", f"{{{namespace}:", f"{namespace}:"))
    }
    assert len(of_new) > 10
    generations.switch(generations.take_lease(namespace))
    assert generations.tidy() == [base]
    left = keys(client) - beside - of_new
    assert left == {f"{{{base}/calls/0}}:next", f"{base}:live", f"{base}:rebuild"}
    assert beside <= keys(client)
    assert of_new <= keys(client)


def test_cut_off_while_it_builds(client: redis.Redis, store: ShardStore) -> None:
    """A rebuild that was cut off before the switch leaves nothing, and shards that had moved away are back."""
    fill(client, BASE)
    before = keys(client)
    generations = Generations(client, BASE)
    fill(client, generations.begin(NOW_S))
    store.move_away(OTHER)
    assert generations.tidy() == [f"{BASE}.2"]
    assert keys(client) == before | {f"{BASE}:rebuild"}
    assert store.next_offset() == 2


def test_cut_off_at_the_switch(client: redis.Redis, store: ShardStore) -> None:
    """Cut off just before the switch the old generation goes on; just after it, the old one is dropped."""
    fill(client, BASE)
    generations = Generations(client, BASE)
    namespace = generations.begin(NOW_S)
    fill(client, namespace)
    store.move_away(OTHER)
    client.hset(f"{BASE}:rebuild", "dropping", BASE)
    assert (generations.tidy(), generations.live(), store.next_offset()) == ([namespace], BASE, 2)
    namespace = generations.begin(NOW_S)
    fill(client, namespace)
    store.move_away(OTHER)
    generations.switch(generations.take_lease(namespace))
    assert (generations.begin(NOW_S + SILENT_S_MAX), generations.live()) == (f"{BASE}.4", namespace)
    assert not client.exists(f"{BASE}:shards")
    assert ShardStore(client, ShardName(namespace, "calls", 0)).next_offset() == 2
    with pytest.raises(Fenced):
        store.apply(2, 3, ShardWrite())


def test_one_at_a_time(client: redis.Redis) -> None:
    """A second rebuild is refused while the first says that it lives; one that was ended stops."""
    generations = Generations(client, BASE)
    first = generations.begin(NOW_S)
    generations.keep(first, NOW_S + 5)
    with pytest.raises(RebuildRuns, match=first):
        generations.begin(NOW_S + 5 + SILENT_S_MAX - 1)
    second = generations.begin(NOW_S + 5 + SILENT_S_MAX)
    assert second != first
    with pytest.raises(RebuildRuns, match="ended from elsewhere"):
        generations.keep(first, NOW_S + 40)
    generations.tidy()
    with pytest.raises(RebuildRuns, match="ended from elsewhere"):
        generations.keep(second, NOW_S + 40)


def test_taken_back_once_the_lease_has_ended(client: redis.Redis, store: ShardStore) -> None:
    """A fence holds while its rebuild says that it lives; then a worker goes on, and that rebuild never switches."""
    apply(open_shard(client), [start("a")])
    generations = Generations(client, BASE)
    lease = generations.take_lease(generations.begin(NOW_S))
    assert store.move_away(lease.id) == 1
    assert not generations.take_back(store.shard)
    lease.renew()
    assert 0 < client.pttl(lease_key(BASE)) <= LEASE_S * 1_000
    client.delete(lease_key(BASE))  # what Redis does by itself then
    assert generations.take_back(store.shard)
    assert not generations.take_back(store.shard)
    apply(open_shard(client), [start("b")])
    with pytest.raises(RebuildRuns, match="silent for"):
        lease.renew()
    with pytest.raises(RebuildRuns, match="silent for"):
        generations.switch(lease)
    assert generations.live() == BASE


def test_a_fence_stays_after_the_switch(client: redis.Redis, store: ShardStore) -> None:
    """Nothing of the generation before is taken back after the switch, though the lease is gone."""
    apply(open_shard(client), [start("a")])
    generations = Generations(client, BASE)
    namespace = generations.begin(NOW_S)
    lease = generations.take_lease(namespace)
    store.move_away(lease.id)
    generations.switch(lease)
    assert (generations.live(), client.exists(lease_key(BASE))) == (namespace, 0)
    assert not generations.take_back(store.shard)
    with pytest.raises(Fenced):
        open_shard(client)


def test_a_fence_of_another_rebuild_is_not_taken_back(client: redis.Redis, store: ShardStore) -> None:
    """A rebuild that has fenced a shard anew, over the fence of one that is dead, keeps it."""
    apply(open_shard(client), [start("a")])
    generations = Generations(client, BASE)
    store.move_away(OTHER)
    lease = generations.take_lease(generations.begin(NOW_S + SILENT_S_MAX))
    store.move_away(OTHER)
    with pytest.raises(Fenced, match="by another rebuild"):
        store.move_away(lease.id)
    assert generations.move_away(store.shard, lease) == 1
    assert not store.move_back(OTHER)
    with pytest.raises(Fenced, match="by another rebuild"):  # late, and its lease has ended
        store.move_away(OTHER)
    assert not generations.take_back(store.shard)
    with pytest.raises(Fenced):
        open_shard(client)
    assert store.moved_by() == lease.id


def test_a_fence_of_an_earlier_version(client: redis.Redis, store: ShardStore) -> None:
    """A fence of an earlier version names no lease: nobody knows whether its rebuild lives, so it is left to `callmeter
    rebuild --abort`."""
    client.set(store.keys.next, b"moved:7")
    assert not Generations(client, BASE).take_back(store.shard)
    assert (store.moved_by(), store.read_offset()) == ("", 7)
    store.move_back()
    assert store.next_offset() == 7


def test_a_late_rebuild_ends_by_its_own_clock(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Redis that is back from behind may hold a lease again that had ended: its holder knows better."""
    generations = Generations(client, BASE)
    lease = generations.take_lease(generations.begin(NOW_S))
    late_s = time.perf_counter() + LEASE_S + 1
    monkeypatch.setattr(time, "perf_counter", lambda: late_s)
    assert client.exists(lease_key(BASE))
    with pytest.raises(RebuildRuns, match="silent for"):
        lease.renew()
    with pytest.raises(RebuildRuns, match="silent for"):
        generations.switch(lease)
    assert generations.live() == BASE


def test_who_gives_up_leaves_others_alone(client: redis.Redis) -> None:
    """A rebuild that fails after another has begun drops what is its own, and not the other's lease."""
    generations = Generations(client, BASE)
    first = generations.begin(NOW_S)
    fill(client, first)
    fill(client, second := generations.begin(NOW_S + SILENT_S_MAX))
    lease = generations.take_lease(second)
    generations.give_up(first)
    lease.renew()
    generations.switch(lease)
    assert generations.live() == second
    with pytest.raises(RebuildRuns):
        generations.take_lease("x"), generations.take_lease("y")
