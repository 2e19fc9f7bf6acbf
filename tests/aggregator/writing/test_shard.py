"""The laws of a shard: one state, whatever the order, the batches, the crashes and the caches."""

import random
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.layout.keys import LAYOUT_VERSION, project_registry, shard_member, shard_registry
from aggregator.layout.write import ShardWrite
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import Fenced, ShardStore
from aggregator.writing.batch_changes import Applied
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from tests.servers.redis_server import RedisServer
from tests.support.event_strategies import event_messages
from tests.support.folding import (
    KEEP_ALL,
    NOW_US,
    PROJECT,
    SHARD,
    T0_US,
    TINY,
    apply,
    complete,
    decoded,
    end,
    fold_all,
    in_batches,
    open_shard,
    prices,
    read_state,
    start,
    tokens,
)

Json = dict[str, Any]
# Each example folds twice into a real Redis.
few = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.fixture(scope="session")
def client(redis_server: RedisServer) -> redis.Redis:
    """A connection that examples share; `fold_all` empties the server."""
    return redis.Redis.from_url(redis_server.url)


class FailingStore(ShardStore):
    """Loses the connection when told to: before what is applied takes effect, or after."""

    def __init__(self, client: redis.Redis, failures: list[str]) -> None:
        super().__init__(client, SHARD)
        self._failures = failures

    def apply(self, first_offset: int | None, next_offset: int | None, write: ShardWrite) -> None:
        failure = self._failures.pop() if self._failures else ""
        if failure == "before":
            raise redis.ConnectionError
        super().apply(first_offset, next_offset, write)
        if failure == "after":
            raise redis.ConnectionError


batch_sizes = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@few
@given(event_messages(conflicts=False), st.randoms(use_true_random=False), batch_sizes)
def test_any_order_gives_the_same_state(
    client: redis.Redis, messages: list[Json], rng: random.Random, sizes: list[int]
) -> None:
    """Events in any order and any batches come to the same state, without rings and contradictions."""
    events = [[event] for message in decoded(messages) for event in message]
    shuffled = rng.sample(events, len(events))
    assert fold_all(client, in_batches(events, [len(events)])) == fold_all(client, in_batches(shuffled, sizes))


@few
@given(event_messages(rings=True), batch_sizes)
def test_any_batching_gives_the_same_state(client: redis.Redis, messages: list[Json], sizes: list[int]) -> None:
    """Events in one order come to the same state, in one batch or in many, with all caches or hardly any."""
    events = decoded(messages)
    whole = fold_all(client, [[event for message in events for event in message]])
    parts = fold_all(client, in_batches(events, sizes), TINY)
    # A message is an offset here and a batch there; all else is equal.
    assert {**whole, "next": None} == {**parts, "next": None}


@few
@given(event_messages(rings=True), st.lists(st.sampled_from(["", "before", "after"]), max_size=8), batch_sizes)
def test_a_crash_anywhere_changes_nothing(
    client: redis.Redis, messages: list[Json], failures: list[str], sizes: list[int]
) -> None:
    """An apply that is cut off is repaired by reading on from the stored offset, whether or not it took effect."""
    events = decoded(messages)
    client.flushall()
    shard = Shard(FailingStore(client, list(failures)), prices(), KEEP_ALL)
    turn = 0
    while (shard.next_offset or 0) < len(events):
        first = shard.next_offset or 0
        last = min(first + sizes[turn % len(sizes)], len(events))
        turn += 1
        try:
            shard.apply([e for message in events[first:last] for e in message], last, NOW_US, NOW_US, {})
        except redis.ConnectionError:
            shard.recover()
    crashed = read_state(client)
    client.flushall()
    calm = open_shard(client)
    calm.apply([e for message in events for e in message], len(events), NOW_US, NOW_US, {})
    assert crashed == read_state(client)


@few
@given(event_messages(rings=True))
def test_doubled_events_change_only_the_counter(client: redis.Redis, messages: list[Json]) -> None:
    """All events again, at other offsets, are counted as duplicates and change nothing else."""
    events = [event for message in decoded(messages) for event in message]
    state = fold_all(client, [events])
    shard = open_shard(client)
    applied = shard.apply(events, len(events), NOW_US, NOW_US, {})
    assert applied == Applied(events=len(events), calls=0, duplicates=len(events), unpriced=0)
    assert read_state(client) == state


def test_a_zombie_changes_nothing(redis_url: str) -> None:
    """The writer that is behind, of two of one shard, is refused, and nothing of its batch is written."""
    client = redis.Redis.from_url(redis_url)
    zombie, heir = open_shard(client), open_shard(client)
    apply(zombie, [start("a")])
    heir.recover()
    apply(heir, [end("a", usage={"gpt-4o": tokens(5, 5)}), start("b")])
    before = read_state(client)
    with pytest.raises(Fenced):
        apply(zombie, [end("a", 9), start("c"), complete("d", project_id="acme/others")])
    assert read_state(client) == before
    zombie.recover()
    assert zombie.next_offset == 3


def test_two_writers_of_a_new_shard(redis_url: str) -> None:
    """Only the first of two writers that both found no offset may begin."""
    client = redis.Redis.from_url(redis_url)
    first, second = open_shard(client), open_shard(client)
    apply(first, [start("a")])
    with pytest.raises(Fenced):
        apply(second, [start("a")])


def test_redis_that_forgot_everything(redis_url: str) -> None:
    """An empty Redis refuses the next batch; after recovery the writer begins at the beginning, and numbers anew."""
    client = redis.Redis.from_url(redis_url)
    shard = open_shard(client)
    events = [start("a"), start("b"), end("a")]
    apply(shard, events[:2])
    client.flushall()
    with pytest.raises(Fenced):
        apply(shard, events[2:])
    shard.recover()
    assert shard.next_offset is None
    apply(shard, events)
    assert read_state(client) == fold_all(client, [events])


def test_what_a_batch_came_to(redis_url: str) -> None:
    """Events, calls that started, duplicates and calls with unpriced usage, by batch and summed up."""
    client = redis.Redis.from_url(redis_url)
    shard = open_shard(client)
    usage = {"no-such-model": tokens(1), "gpt-4o": tokens(1)}
    batch = [start("a"), end("a", usage=usage), start("a"), complete("b", usage={"gpt-4o": tokens(1)}), end("c")]
    applied = shard.apply(batch, 7, T0_US, NOW_US, {"messages": 7, "dead_letters": 2})
    assert applied == Applied(events=5, calls=2, duplicates=1, unpriced=1)
    apply(shard, [start("c"), end("b")])
    fields: Any = client.hgetall(f"{SHARD.tag}:shard")
    assert {name.decode(): int(value) for name, value in fields.items()} == {
        "layout": LAYOUT_VERSION,
        "calls_numbered": 3,
        "projects_numbered": 1,
        "as_of_us": NOW_US,
        "events": 7,
        "calls": 3,
        "duplicates": 2,
        "unpriced": 1,
        "messages": 7,
        "dead_letters": 2,
        "ends_waiting": 0,
    }
    assert shard.next_offset == 9


def test_touch_moves_only_the_as_of_time(redis_url: str) -> None:
    """An idle shard becomes fresh without an event; one that has never applied anything gets no next offset by that."""
    client: Any = redis.Redis.from_url(redis_url)
    shard = open_shard(client)
    shard.touch(T0_US)
    assert read_state(client) == {"projects": [], "calls": {}, "shard": {"as_of_us": T0_US}}
    apply(shard, [start("a")])
    before = read_state(client)
    shard.touch(NOW_US + 5)
    before["shard"]["as_of_us"] = NOW_US + 5
    assert read_state(client) == before


def test_shards_are_found_by_project(redis_url: str) -> None:
    """Each project of a batch, and the shard, are registered by the time the batch is applied."""
    client: Any = redis.Redis.from_url(redis_url)
    apply(open_shard(client), [start("a"), start("a", project_id="acme/others")])
    member = shard_member(SHARD).encode()
    assert client.smembers(shard_registry("callmeter")) == {member}
    for project_id in (PROJECT, "acme/others"):
        assert client.smembers(project_registry("callmeter", project_id)) == {member}


def test_every_key_expires(redis_url: str) -> None:
    """Whatever order events come in, every key of a shard goes by itself but those that batches clear."""
    client: Any = redis.Redis.from_url(redis_url)
    shard = open_shard(client)
    told: Json = {"thread_id": "t", "turn_id": "u", "input_refs": ("weave:///a:1",), "parent_id": "p"}
    # The end, and so the rows, in a later batch than the start, and a full block of postings in a still later one.
    apply(shard, [start("a", user_id="u", run_id="r", **told)])
    apply(shard, [end("a", usage={"gpt-4o": tokens(1)}, output_refs=("weave:///b:1",))])
    # The last open call of a trace ends, so that Redis drops the key; then another opens it again.
    apply(shard, [start("b", **told)])
    for number in range(3):
        apply(shard, [start(f"call-{number}-{i}", **told) for i in range(200)])
        apply(shard, [end(f"call-{number}-{i}") for i in range(200)])
    apply(shard, [start("p"), end("b"), end("p")])
    apply(shard, [start("c", **told)])
    kept = {key.removeprefix(f"{SHARD.tag}:".encode()) for key in client.keys(SHARD.tag + "*") if client.ttl(key) < 0}
    assert kept == {b"next", b"shard", b"writer", b"projects", b"until", b"ids", b"calls:0", b"calls:1"}
    assert client.exists(f"{SHARD.tag}:1:y:t:20515")


def test_keys_expire_when_their_retention_has_passed(redis_url: str) -> None:
    """Detail of 10:00 on 3 March goes at the end of its block plus its retention: of that hour for minutes, of that
    day for five minutes, hours and calls.
    """
    client: Any = redis.Redis.from_url(redis_url)
    day = 20_515  # 2026-03-03
    hour_s = 3600
    kept = Retention(1000 * 24 * hour_s, 2000 * 24 * hour_s, 0, 3000 * 24 * hour_s)
    shard = open_shard(client, ShardLimits(busy_calls_min=2), retention=kept)
    apply(shard, [complete("a", usage={"gpt-4o": tokens(1)}), start("b")])
    expires_after_days = {
        "x:m:20515": 1000,
        "busy:20515": 1000,
        "open:\0trace": 1000,
        "r:f:20515": 2000,  # never before a finer level
        "r:h:20515": 3000,
        "views:20515": 3000,
    }
    expected = {name: (day + 1 + days) * 24 * hour_s for name, days in expires_after_days.items()}
    expected[f"r:m:{24 * day + 10}"] = (24 * (day + 2000) + 11) * hour_s
    assert {name: client.expiretime(f"{SHARD.tag}:1:{name}") for name in expected} == expected
