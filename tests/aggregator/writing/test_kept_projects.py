"""Projects of which nothing is kept any more go, from shards and registries; those that come back are new."""

from typing import Any

import pytest

from aggregator.layout.keys import CALLS_PER_CHUNK, ShardKeys, ShardName, project_registry, projects_by_name
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, DAY_US, SECOND_US
from aggregator.writing.kept_projects import SPARE_S
from aggregator.writing.shard import Shard
from tests.support.folding import T0_US, complete, end, prices, tokens

KEPT = Retention(10 * DAY_S, 10 * DAY_S, 20 * DAY_S, 30 * DAY_S)
LONGEST_US = 30 * DAY_US + SPARE_S * SECOND_US
OLD, BUSY = "acme/old", "acme/busy"
FIRST, SECOND = ShardName("callmeter", "calls", 0), ShardName("callmeter", "calls", 1)


class Folding:
    """A shard that is folded day by day."""

    def __init__(self, client: Any, name: ShardName = FIRST) -> None:
        self.client = client
        self.keys = ShardKeys(name)
        self.shard = Shard(ShardStore(client, name), prices(), KEPT)
        self._calls = 0

    def fold(self, project_id: str, days: float, calls: int = 1, **told: Any) -> None:
        """Calls of a project so many days after T0."""
        now_us = T0_US + round(days * DAY_US)
        numbers = range(self._calls, self._calls + calls)
        self._calls += calls
        events = [complete(f"c-{n}", project_id=project_id, started_at_us=now_us, **told) for n in numbers]
        self.shard.apply(events, (self.shard.next_offset or 0) + calls, now_us, now_us, {})

    def projects(self) -> dict[str, int]:
        """Returns the numbers of projects, as Redis holds them."""
        return {name.decode(): int(number) for name, number in self.client.hgetall(self.keys.projects).items()}


def let_pass(folding: Folding, begin: int, days: int) -> None:
    """Another project sends a chunk of calls a day."""
    for day in range(begin, begin + days):
        folding.fold(BUSY, day, CALLS_PER_CHUNK)


def test_an_old_project_goes(client: Any) -> None:
    """An old project goes with its entry, its calls without cost and its ends that wait: nothing with its number is
    left, and others stay."""
    folding = Folding(client)
    folding.fold(OLD, 0, usage={"acme-llm-1": tokens(5)})
    waiting = end("never-started", project_id=OLD, ended_at_us=T0_US)
    folding.shard.apply([waiting], 2, T0_US, T0_US, {})
    let_pass(folding, 1, 31)
    assert set(folding.projects()) == {OLD, BUSY}
    assert client.hlen(folding.keys.unpriced) == 1
    let_pass(folding, 32, 13)
    assert folding.projects() == {BUSY: 2}
    assert (client.hlen(folding.keys.unpriced), client.hlen(folding.keys.waiting)) == (0, 0)
    assert set(client.hgetall(folding.keys.until)) == {b"2"}
    assert not [field for field in client.hkeys(folding.keys.ids) if field.startswith(bytes([0, 0, 0, 1]))]


def test_a_project_that_comes_back_is_a_new_one(client: Any) -> None:
    """A project that comes back has a new number: the old one is never given again, also after a restart, though it was
    the highest."""
    folding = Folding(client)
    folding.fold(BUSY, 0)
    folding.fold(OLD, 0)
    let_pass(folding, 1, 45)
    assert folding.projects() == {BUSY: 1}
    folding = Folding(client)
    folding.shard.apply([complete("x", project_id="acme/new", started_at_us=T0_US + 45 * DAY_US)], 10**6, None, 0, {})
    assert folding.projects() == {BUSY: 1, "acme/new": 3}
    folding.shard.apply([complete("y", project_id=OLD, started_at_us=T0_US + 45 * DAY_US)], 10**6 + 1, None, 0, {})
    assert folding.projects() == {BUSY: 1, "acme/new": 3, OLD: 4}


def test_one_that_comes_back_in_time_stays(client: Any) -> None:
    """Once its time had passed, but before its records were dropped: it stays what it was."""
    folding = Folding(client)
    folding.fold(OLD, 0)
    folding.fold(BUSY, 40)  # marked: it is to go once the records of now are dropped
    assert b":" in client.hget(folding.keys.until, 1)
    folding.fold(OLD, 41)
    assert b":" not in client.hget(folding.keys.until, 1)
    let_pass(folding, 42, 25)
    assert folding.projects()[OLD] == 1


def test_records_hold_it(client: Any) -> None:
    """Records hold a project as long as their chunk is not full, however old they are."""
    folding = Folding(client)
    folding.fold(OLD, 0)
    for day in range(1, 60):
        folding.fold(BUSY, day)
    assert set(folding.projects()) == {OLD, BUSY}


def test_the_registry_expires_with_the_longest(client: Any) -> None:
    """A project's registry expires with the shard that holds it longest; nothing is shortened."""
    first, second = Folding(client), Folding(client, SECOND)
    key = project_registry("callmeter", OLD)
    first.fold(OLD, 0)
    at_least_s = (30 * DAY_S) + SPARE_S
    assert at_least_s - 60 < client.ttl(key) <= at_least_s + DAY_S
    client.expire(key, 900 * DAY_S)
    second.fold(OLD, 1)
    assert client.ttl(key) > 899 * DAY_S
    assert client.smembers(key) == {b"calls/0", b"calls/1"}
    client.expire(key, 60)
    first.fold(OLD, 2)
    assert client.ttl(key) > 30 * DAY_S
    client.delete(key)  # it had expired, or Redis forgot that node
    second.fold(OLD, 5)
    assert client.smembers(key) == {b"calls/1"}


def test_registries_of_an_earlier_version(client: Any) -> None:
    """Registries of an earlier version have no expiry, nor does the shard say until when: the next to open it, or to
    fold, notes both."""
    folding = Folding(client)
    folding.fold(OLD, 0)
    client.delete(folding.keys.until)
    client.hdel(folding.keys.shard, "projects_numbered")
    client.persist(project_registry("callmeter", OLD))
    folding = Folding(client)
    assert client.ttl(project_registry("callmeter", OLD)) > 0
    folding.fold(BUSY, 1)
    assert folding.projects() == {OLD: 1, BUSY: 2}
    assert set(client.hgetall(folding.keys.until)) == {b"1", b"2"}
    let_pass(folding, 2, 48)
    assert folding.projects() == {BUSY: 2}


def test_names_are_swept(client: Any) -> None:
    """The first partition's worker takes names out whose sets have expired, and no others."""
    folding = Folding(client)
    names = [f"acme/{number}" for number in range(250)]
    for name in names:
        folding.fold(name, 0)
    for name in names[:200]:
        client.delete(project_registry("callmeter", name))
    for minute in range(10):
        folding.shard.touch(T0_US + DAY_US + minute * 61 * SECOND_US)
    assert set(client.zrange(projects_by_name("callmeter"), 0, -1)) == {name.encode() for name in names[200:]}


class Returning(ShardStore):
    """Another shard registers a project between two commands of a sweep."""

    def __init__(self, client: Any, at: int) -> None:
        super().__init__(client, FIRST)
        self._real, self._at, self._commands_sent = client, at, 0
        self._client = self

    def __getattr__(self, name: str) -> Any:
        self._commands_sent += 1
        if self._commands_sent == self._at:
            ShardStore(self._real, SECOND).register({OLD: 1_000})
        return getattr(self._real, name)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_sweep_never_hides_a_project(client: Any, at: int) -> None:
    """Whenever a project comes back meanwhile, its name is in the list afterwards."""
    ShardStore(client, FIRST).register({OLD: 1_000})
    client.delete(project_registry("callmeter", OLD))
    Returning(client, at).sweep_projects(0)
    if client.exists(project_registry("callmeter", OLD)):
        assert client.zrange(projects_by_name("callmeter"), 0, -1) == [OLD.encode()]
    else:
        assert not client.exists(projects_by_name("callmeter"))
