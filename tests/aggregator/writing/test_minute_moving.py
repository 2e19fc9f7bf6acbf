"""Moving busy minutes: what is kept of them goes into objects, and nothing it says changes, whatever ends it."""

import asyncio
from typing import Any

import msgspec
import pytest

from aggregator.calls.event import Event
from aggregator.layout.keys import day_of
from aggregator.layout.moved import MINUTES_LETTER, MovedObject, letter_of, unpack_objects
from aggregator.layout.moved_minutes import MINUTE_BYTES
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.reading.cells import DamagedCells
from aggregator.reading.first_calls import CallsOfViews, read_busy_minutes
from aggregator.rollups.levels import Retention
from aggregator.rollups.orders import Order
from aggregator.rollups.views import ALL_CALLS, ViewFilter
from aggregator.store import pieces as store_pieces
from aggregator.store.connection import connect_readers
from aggregator.store.reader import StoreReader
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, DAY_US, HOUR_S, MINUTE_US, SECOND_US
from aggregator.writing import minute_moving
from aggregator.writing.limits import ShardLimits
from aggregator.writing.object_verification import shard_objects, verify_objects
from tests.support.folding import NOW_US, PROJECT, SHARD, T0_US, apply, complete, end, start
from tests.support.interrupted_reader import BetweenPieces
from tests.support.moving import (
    AT_ONCE,
    KEYS,
    PREFIX,
    FailingStore,
    busy_minutes,
    check_pointers,
    killed_at,
    open_moving,
)
from tests.support.sealing import seal_all
from tests.support.watched_answers import ask

BUSY = msgspec.structs.replace(AT_ONCE, busy_calls_min=3, first_calls_max=2)
DAY = day_of(T0_US)
KEY = KEYS.busy_minutes(1, DAY)
MINUTES = 7


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Minutes are gathered in several steps, and go into several objects."""
    monkeypatch.setattr(minute_moving, "MINUTES_PER_STEP", 2)
    monkeypatch.setattr(minute_moving, "OBJECT_BYTES_MAX", 300)


def calls(minutes: range = range(MINUTES), count: int = 5, first: int = 0) -> list[Event]:
    """Calls of some ops and users in each of these minutes after T0; every second has ended."""
    found = []
    for minute in minutes:
        for at in range(first, first + count):
            call_id, at_s = f"{minute}-{at}", minute * 60 + at
            found.append(start(call_id, at_s, op_name=f"op-{at % 2}", user_id=f"user-{at % 3}"))
            found += [end(call_id, at_s + 2 * at)] * (at % 2)
    return found


def unmoved(client: Any, objects: FailingStore, *batches: list[Event]) -> Any:
    """Returns what is kept of busy minutes after these batches where nothing moves."""
    client.flushall()
    shard = open_moving(client, None, BUSY)
    for batch in batches:
        apply(shard, batch)
    found = busy_minutes(client, objects)
    client.flushall()
    return found


def names_of_minutes(client: Any) -> set[str]:
    """Returns the objects that busy minutes are in, as Redis says."""
    return {name for name in entries(client) if letter_of(name) == MINUTES_LETTER}


def entries(client: Any) -> dict[str, MovedObject]:
    """Returns which objects there are, as Redis says."""
    return unpack_objects(client.hgetall(KEYS.objects))


def newest(redis_url: str, objects: FailingStore) -> list[int]:
    """The numbers of the newest calls of all, as a reader finds them, of each minute."""

    async def question(reader: StoreReader) -> list[int]:
        project = await reader.open_project(PROJECT)
        minutes = range(T0_US // MINUTE_US, T0_US // MINUTE_US + MINUTES)
        views = [(project.shards[0], DAY, [ALL_CALLS])]
        found = await read_busy_minutes(reader, views, minutes, Order.SLOWEST)
        return [number for one in found.values() for *_, number in one.first[ALL_CALLS].entries]

    found: list[int] = ask(redis_url, question, objects=objects)
    return found


def test_all_of_a_day(client: Any, objects: FailingStore, redis_url: str) -> None:
    """Nothing is left in Redis but where minutes are; it is the same, and `segments verify` says so."""
    expected = unmoved(client, objects, calls())
    shard = open_moving(client, None, BUSY)
    apply(shard, calls())
    before = newest(redis_url, objects)
    seal_all(shard)
    shard = open_moving(client, objects, BUSY)
    seal_all(shard)
    assert sorted(map(len, client.hkeys(KEY))) == [MINUTE_BYTES] * MINUTES
    assert len(names_of_minutes(client)) > 1
    assert not client.exists(KEYS.unmoved_minutes)
    assert busy_minutes(client, objects) == expected
    assert len(before) == 2 * MINUTES
    assert newest(redis_url, objects) == before
    check_pointers(client, objects)
    store = ShardStore(client, SHARD)
    states = list(verify_objects(store, objects, shard_objects(store)[0]))
    assert not [one.wrong for one in states if one.wrong]
    assert sum(one.pointers for one in states if letter_of(one.name.removeprefix(PREFIX)) == MINUTES_LETTER) == MINUTES


def test_what_changes_comes_back(client: Any, objects: FailingStore) -> None:
    """A late call brings its minute back, which moves again; an object that all minutes have left is retired."""
    later = calls(range(6), 4, 5)
    expected = unmoved(client, objects, calls(), later)
    shard = open_moving(client, objects, BUSY)
    apply(shard, calls())
    seal_all(shard)
    before = names_of_minutes(client)
    shard = open_moving(client, objects, BUSY)
    apply(shard, later)
    assert client.hlen(KEY) > MINUTES
    check_pointers(client, objects)
    assert busy_minutes(client, objects) == expected
    store = ShardStore(client, SHARD)
    assert not [one.wrong for one in verify_objects(store, objects, shard_objects(store)[0]) if one.wrong]
    seal_all(shard)
    check_pointers(client, objects)
    assert busy_minutes(client, objects) == expected
    assert not client.exists(KEYS.unmoved_minutes)
    gone = before - names_of_minutes(client)
    assert gone
    assert gone <= {name.decode() for name in client.hkeys(KEYS.retired)}


def test_what_changes_on_the_way(client: Any, objects: FailingStore) -> None:
    """A minute that changes between any two steps is left, and follows."""
    shard = open_moving(client, objects, BUSY)
    apply(shard, calls())
    batches = [calls()]
    for at in range(40):
        late = calls(range(at % MINUTES, at % MINUTES + 1), 1, 5 + at)
        batches.append(late)
        shard.seal(NOW_US)
        apply(shard, late)
        check_pointers(client, objects)
    seal_all(shard)
    found = busy_minutes(client, objects)
    check_pointers(client, objects)
    assert not client.exists(KEYS.unmoved_minutes)
    assert found == unmoved(client, objects, *batches)


@pytest.mark.parametrize("moved_at", range(1, 6))
def test_moved_while_pieces_are_read(
    moved_at: int, client: Any, objects: FailingStore, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All calls of a minute are found that has so many pieces that they are not read at once."""
    monkeypatch.setattr(store_pieces, "PIECE_PARTS_MAX", 4)
    shard = open_moving(client, objects, BUSY)
    for first in range(8):
        apply(shard, calls(range(1), 1, first))
    rounds: list[int] = []

    def before() -> None:
        rounds.append(1)
        if len(rounds) == moved_at:
            seal_all(shard)

    async def told() -> int:
        readers = connect_readers(redis_url)
        project = await StoreReader(readers, SHARD.namespace).open_project(PROJECT)
        found = CallsOfViews(BetweenPieces(readers, SHARD.namespace, before, objects), ViewFilter())
        await found.bring({(project.shards[0], T0_US // MINUTE_US): 6})
        await readers.aclose()
        return found.told

    assert asyncio.run(told()) == 8
    assert len(rounds) > 1


def test_retired_by_the_clock(client: Any, objects: FailingStore) -> None:
    """An object that is retired while a backlog is read, or at a rebuild, is kept for as long as ever."""
    shard = open_moving(client, objects, BUSY)
    clock_us = NOW_US + 30 * DAY_US
    for first in (0, 5):
        apply(shard, calls(count=5, first=first))
        seal_all(shard, clock_us)
    assert set(client.hvals(KEYS.retired)) == {b"%d" % clock_us}


@pytest.mark.parametrize("command", ["replace", "put"])
@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_crash_at_each_step(
    command: str, takes_effect: bool, client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next writer begins anew; at worst an object is left that nothing points into."""
    expected = unmoved(client, objects, calls())
    apply(open_moving(client, None, BUSY), calls())
    for number in range(100):
        shard = open_moving(client, objects, BUSY)
        with killed_at(monkeypatch, command, number // 4, takes_effect):
            seal_all(shard)
        check_pointers(client, objects)
        assert busy_minutes(client, objects) == expected
        if set(map(len, client.hkeys(KEY))) == {MINUTE_BYTES} and number > 8:
            return
    raise AssertionError("never done")


def test_due_when_the_day_is_over(client: Any, objects: FailingStore) -> None:
    """Minutes are due when their day has been over for an hour, and six hours after one of them changed."""
    limits = msgspec.structs.replace(BUSY, seal_after_s=HOUR_S, move_after_s=6 * HOUR_S)
    shard = open_moving(client, objects, limits)
    began_us = DAY * DAY_US + 20 * HOUR_S * SECOND_US
    events = [complete(str(at), (began_us - T0_US) // SECOND_US + at, 100_000) for at in range(5)]
    shard.apply(events, 5, began_us, began_us, {})
    for hours, has_moved in ((0, False), (1, False), (5, False), (6, True)):
        now_us = began_us + hours * HOUR_S * SECOND_US
        shard.touch(now_us)
        seal_all(shard, now_us)
        assert bool(names_of_minutes(client)) == has_moved, hours
        if not has_moved:
            assert client.hlen(KEY) > 1


def test_moved_minutes_expire(client: Any, objects: FailingStore) -> None:
    """Pointers go with their day, as what they stand for would have; then the objects are retired."""
    retention = Retention(DAY_S, 3650 * DAY_S, 3650 * DAY_S)
    shard = open_moving(client, objects, BUSY, retention)
    soon_us = int(client.time()[0]) * SECOND_US // MINUTE_US * MINUTE_US  # Redis has a clock of its own
    soon, at_s = day_of(soon_us), (soon_us - T0_US) // SECOND_US
    apply(shard, [complete(str(at), at_s + at, at_s + 60) for at in range(5)], soon_us)
    key = KEYS.busy_minutes(1, soon)
    assert client.expiretime(key) == (soon + 2) * DAY_S
    seal_all(shard, soon_us)
    names = names_of_minutes(client)
    assert names
    assert client.expiretime(key) == (soon + 2) * DAY_S
    client.delete(key)
    later_us = (soon + 3) * DAY_US
    shard = open_moving(client, objects, msgspec.structs.replace(BUSY, collect_every_s=0), retention)
    apply(shard, [complete("later", at_s=(later_us - T0_US) // SECOND_US)], later_us)
    seal_all(shard, later_us)
    assert not names & entries(client).keys()
    assert names <= {name.decode() for name in client.hkeys(KEYS.retired)}


def test_damage_is_told(client: Any, objects: FailingStore, redis_url: str, tmp_path: Any) -> None:
    """An object that is away or damaged is named to who asks; a late call waits for it, and counts nothing without."""
    shard = open_moving(client, objects, BUSY)
    apply(shard, calls())
    seal_all(shard)
    objects.is_away = True
    with pytest.raises(DamagedCells, match="away"):
        newest(redis_url, objects)
    before = client.hgetall(KEY)
    with pytest.raises(ObjectStoreAway):
        apply(open_moving(client, objects, BUSY), calls(range(1), 1, 5))
    assert client.hgetall(KEY) == before
    objects.is_away = False
    name = min(names_of_minutes(client))
    path = tmp_path / "objects" / PREFIX / name
    path.write_bytes(bytes(byte ^ 1 for byte in path.read_bytes()))
    with pytest.raises(DamagedCells, match=f"{name} is damaged"):
        newest(redis_url, objects)


def test_not_moved_without_a_store(client: Any, objects: FailingStore) -> None:
    """All stays where no object store is set, and moves once one is."""
    shard = open_moving(client, None, ShardLimits(busy_calls_min=3, seal_after_s=-10 * DAY_S, move_after_s=-10 * DAY_S))
    apply(shard, calls())
    seal_all(shard)
    assert client.hlen(KEY) > MINUTES
    assert client.hkeys(KEYS.unmoved_minutes) == [f"1:{DAY}".encode()]
    seal_all(open_moving(client, objects, BUSY))
    assert client.hlen(KEY) == MINUTES
