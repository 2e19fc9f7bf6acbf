"""Moving pages of postings: they go into objects, and nothing they say changes, whatever ends it on the way."""

from contextlib import AbstractContextManager
from typing import Any

import msgspec
import pytest

from aggregator.layout import postings
from aggregator.layout.hash_pages import TABLE_FIELD
from aggregator.layout.keys import THREAD, day_of
from aggregator.layout.moved import POSTINGS_LETTER, letter_of, unpack_objects
from aggregator.layout.moved_postings import MOVED_FIELD, MovedPages, unpack_moved
from aggregator.reading.calls import IndexValues, select_by_index
from aggregator.reading.records import DamagedCalls
from aggregator.rollups.levels import Retention
from aggregator.store.reader import StoreReader
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, DAY_US, HOUR_S, SECOND_US
from aggregator.writing import posting_moving, posting_page_moving
from aggregator.writing.limits import ShardLimits
from aggregator.writing.object_verification import shard_objects, verify_objects
from tests.support.folding import NOW_US, PROJECT, SHARD, T0_US, TINY, apply, complete, fold_all, start
from tests.support.moving import (
    AT_ONCE,
    KEYS,
    PREFIX,
    FailingStore,
    check_any_order,
    check_crashes,
    check_pointers,
    killed_at,
    open_moving,
    state,
)
from tests.support.sealing import seal_all
from tests.support.watched_answers import ask

TINY_AT_ONCE = msgspec.structs.replace(TINY, move_after_s=AT_ONCE.move_after_s)
DAY = day_of(T0_US)
PAGES = KEYS.posting_pages(1, DAY)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some calls fill some pages, sections and objects."""
    monkeypatch.setattr(posting_moving, "ENTRIES_PER_PAGE", 2)
    monkeypatch.setattr(posting_moving, "VALUES_PER_STEP", 7)
    monkeypatch.setattr(posting_moving, "BLOCKS_PER_STEP", 3)
    monkeypatch.setattr(posting_page_moving, "PAGES_PER_SECTION", 3)
    monkeypatch.setattr(posting_page_moving, "SECTIONS_PER_OBJECT_MAX", 2)
    monkeypatch.setattr(posting_page_moving, "ENTRIES_AGAIN_MIN", 1)


def calls(count: int, first: int = 0, at_s: int = 0) -> Any:
    """Calls with a thread, a trace and a parent for some each."""
    return [
        start(f"c{at}", at_s + at, trace_id=f"trace-{at // 2}", parent_id=f"p{at // 3}", thread_id=f"thread-{at // 4}")
        for at in range(first, first + count)
    ]


def moved(client: Any) -> tuple[MovedPages, ...]:
    """Returns where pages of the day have moved to."""
    return unpack_moved(client.hget(PAGES, MOVED_FIELD))


def threads(redis_url: str, objects: FailingStore, *names: str) -> set[int]:
    """The numbers of the calls of these threads, as a reader finds them."""

    async def question(reader: StoreReader) -> set[int]:
        project = await reader.open_project(PROJECT)
        found = await select_by_index(reader, project, IndexValues(THREAD, names), range(DAY - 1, DAY + 2))
        return {number for numbers in found.values() for number in numbers}

    found: set[int] = ask(redis_url, question, objects=objects)
    return found


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_moving(seed: int, client: Any, objects: FailingStore) -> None:
    """Calls of agents, out of order and twice, moved between any two batches, by any writer."""
    check_any_order(seed, client, objects, TINY_AT_ONCE)
    assert not client.keys(f"{SHARD.tag}:*:x:*")
    assert any(client.hexists(key, MOVED_FIELD) for key in client.keys(f"{SHARD.tag}:*:w:*"))


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_moving_full_blocks(
    seed: int, client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values that have full blocks move so too: of these it is left how many there are."""
    monkeypatch.setattr(postings, "BLOCK_BYTES_MAX", 10)
    check_any_order(seed, client, objects, TINY_AT_ONCE)
    assert client.keys(f"{SHARD.tag}:*:x:*")
    assert not client.keys(f"{SHARD.tag}:*:y:*")
    assert any(client.hexists(key, MOVED_FIELD) for key in client.keys(f"{SHARD.tag}:*:w:*"))


def test_all_of_a_large_day(client: Any, objects: FailingStore, redis_url: str) -> None:
    """A day of more pages than one object may have goes into several; nothing of it is left in Redis."""
    shard = open_moving(client, objects)
    apply(shard, calls(40))
    before = threads(redis_url, objects, "thread-2", "thread-7")
    assert len(before) == 8
    seal_all(shard)
    assert len({one.name for one in moved(client)}) > 3
    assert client.hkeys(PAGES) == [MOVED_FIELD]
    assert threads(redis_url, objects, "thread-2", "thread-7") == before
    assert threads(redis_url, objects, "thread-99") == set()
    assert not client.exists(KEYS.unmoved_postings)
    check_pointers(client, objects)


@pytest.mark.parametrize("store_again", [True, False])
def test_what_comes_while_a_day_is_moved(
    store_again: bool, client: Any, objects: FailingStore, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late postings of a day of which some pages have moved stay off them, whoever goes on; then they follow."""
    expected = fold_all(client, [calls(40), calls(20, 40)])
    client.flushall()
    shard = open_moving(client, None)
    apply(shard, calls(40))
    seal_all(shard)
    shard = open_moving(client, objects)
    while not moved(client):
        shard.seal(NOW_US)
    assert client.hexists(PAGES, TABLE_FIELD)
    other = open_moving(client, objects if store_again else None)
    objects.is_away = True
    apply(other, calls(20, 40))
    seal_all(other)
    assert client.hlen(KEYS.postings(1, THREAD, DAY)) == 5
    assert state_of_postings(client, objects) == expected_postings(expected)
    objects.is_away = False
    later_us = NOW_US + HOUR_S * SECOND_US
    shard = open_moving(client, objects)
    seal_all(shard, later_us)
    assert client.hkeys(PAGES) == [MOVED_FIELD]
    assert not client.exists(KEYS.postings(1, THREAD, DAY))
    assert state(client, objects) == expected
    check_pointers(client, objects)


def state_of_postings(client: Any, objects: FailingStore) -> Any:
    """Returns what the indexes of the day say."""
    objects.is_away, was_away = False, objects.is_away
    found = expected_postings(state(client, objects))
    objects.is_away = was_away
    return found


def expected_postings(whole: Any) -> Any:
    """Returns what a state says of the indexes of the day."""
    return whole[f"{PROJECT} postings {DAY}"]


def test_little_that_comes_late_stays(
    client: Any, objects: FailingStore, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late postings of a day that has moved stay in Redis while they are few."""
    monkeypatch.setattr(posting_page_moving, "ENTRIES_AGAIN_MIN", 50)
    shard = open_moving(client, objects)
    apply(shard, calls(40))
    seal_all(shard)
    before = moved(client)
    apply(shard, calls(4, 40))
    seal_all(shard)
    assert moved(client) == before
    assert client.hexists(PAGES, TABLE_FIELD)
    assert not client.exists(KEYS.unmoved_postings)
    assert len(threads(redis_url, objects, "thread-10", "thread-2")) == 8
    apply(shard, calls(40, 44))
    seal_all(shard)
    assert len(moved(client)) > len(before)
    assert state(client, objects) == fold_all(client, [calls(84)])


@pytest.mark.parametrize("command", ["replace", "put"])
@pytest.mark.parametrize("takes_effect", [False, True])
@pytest.mark.parametrize("block_bytes", [10, 1_000])
def test_a_crash_at_each_step(
    command: str,
    takes_effect: bool,
    block_bytes: int,
    client: Any,
    objects: FailingStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next writer begins anew; at worst an object is left that nothing points into."""
    monkeypatch.setattr(postings, "BLOCK_BYTES_MAX", block_bytes)
    events = calls(20)

    def killed(number: int) -> AbstractContextManager[None]:
        return killed_at(monkeypatch, command, number // 4, takes_effect)

    check_crashes(client, objects, events, killed, lambda: client.hkeys(PAGES) == [MOVED_FIELD], writers_max=200)


def test_due_when_the_day_is_over(client: Any, objects: FailingStore) -> None:
    """Pages are due when their day has been over for an hour, and six hours after something came to them."""
    limits = ShardLimits(seal_after_s=HOUR_S, move_after_s=6 * HOUR_S)
    shard = open_moving(client, objects, limits)
    began_us = DAY * DAY_US + 20 * HOUR_S * SECOND_US
    shard.apply(calls(4, at_s=(began_us - T0_US) // SECOND_US), 4, began_us, began_us, {})
    for hours, has_moved in ((0, False), (1, False), (2, False), (6, False), (7, True)):
        now_us = began_us + hours * HOUR_S * SECOND_US
        shard.touch(now_us)
        seal_all(shard, now_us)
        assert bool(moved(client)) == has_moved, hours


def test_moved_pages_expire(client: Any, objects: FailingStore) -> None:
    """Pointers go with their day; then the objects are retired."""
    retention = Retention(DAY_S, 3650 * DAY_S, 3650 * DAY_S)
    shard = open_moving(client, objects, retention=retention)
    soon_us = int(client.time()[0]) * SECOND_US  # Redis has a clock of its own
    soon = day_of(soon_us)
    apply(shard, calls(20, at_s=(soon_us - T0_US) // SECOND_US), soon_us)
    expires_at = client.expiretime(KEYS.postings(1, THREAD, soon))
    seal_all(shard, soon_us)
    key = KEYS.posting_pages(1, soon)
    assert client.expiretime(key) == expires_at == (soon + 2) * DAY_S
    names = {name for name in unpack_objects(client.hgetall(KEYS.objects)) if letter_of(name) == POSTINGS_LETTER}
    assert names
    client.delete(key)
    limits = msgspec.structs.replace(AT_ONCE, collect_every_s=0)
    shard = open_moving(client, objects, limits, retention)
    later_us = (soon + 3) * DAY_US
    apply(shard, [complete("later", at_s=(later_us - T0_US) // SECOND_US)], later_us)
    seal_all(shard, later_us)
    assert not names & unpack_objects(client.hgetall(KEYS.objects)).keys()
    assert names <= {name.decode() for name in client.hkeys(KEYS.retired)}


def test_damage_is_told(client: Any, objects: FailingStore, redis_url: str, tmp_path: Any) -> None:
    """An object that is away, damaged or gone is named to who needs it; `segments verify` finds it."""
    shard = open_moving(client, objects)
    apply(shard, calls(40))
    seal_all(shard)
    store = ShardStore(client, SHARD)
    states = list(verify_objects(store, objects, shard_objects(store)[0]))
    of_postings = [one for one in states if letter_of(one.name.removeprefix(PREFIX)) == POSTINGS_LETTER]
    assert sum(one.pointers for one in of_postings) == sum(len(one.lengths) for one in moved(client))
    assert not [one.wrong for one in states if one.wrong]
    names = [f"thread-{at}" for at in range(10)]
    objects.is_away = True
    with pytest.raises(DamagedCalls, match="away"):
        threads(redis_url, objects, *names)
    objects.is_away = False
    name = moved(client)[0].name
    path = tmp_path / "objects" / PREFIX / name
    content = path.read_bytes()
    path.write_bytes(bytes(byte ^ 1 for byte in content))
    with pytest.raises(DamagedCalls, match=f"{name} is damaged"):
        threads(redis_url, objects, *names)
    path.unlink()
    with pytest.raises(DamagedCalls, match=name):
        threads(redis_url, objects, *names)
    assert [one.wrong for one in verify_objects(store, objects, shard_objects(store)[0]) if one.wrong]
    path.write_bytes(content)
    assert len(threads(redis_url, objects, *names)) == 40
