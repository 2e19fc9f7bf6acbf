"""Open minutes: whatever is open, closed, or closed in part, a shard says the same as if all levels were written at
once.
"""

from typing import Any

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.calls.event import Event
from aggregator.layout.keys import ShardKeys
from aggregator.layout.sealed import DIRECTORY_FIELD
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Retention
from aggregator.time_units import DAY_S, DAY_US, HOUR_S, MINUTE_US, SECOND_US
from aggregator.writing import closing
from aggregator.writing.limits import ShardLimits
from tests.servers.redis_server import RedisServer
from tests.support.event_strategies import event_messages
from tests.support.folding import (
    NOW_US,
    PROJECT,
    SHARD,
    T0_US,
    apply,
    complete,
    decoded,
    end,
    in_batches,
    open_shard,
    read_state,
    start,
)
from tests.support.open_minutes import (
    DAY,
    DIRECT,
    OPEN,
    close_all,
    close_some,
    coarser_rows,
    latencies_counted,
    said_open,
)
from tests.support.verifying import verified

KEYS = ShardKeys(SHARD)
HOUR_OF_MINUTES = 24 * DAY + 10
SLOTS = ((HOURS, 10), (FIVE_MINUTES, 120))  # of T0
few = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="session")
def server_url(redis_server: RedisServer) -> str:
    """The address of a server that examples share; each empties it."""
    return redis_server.url


def projects_of(client: Any) -> list[str]:
    """The projects of the shard."""
    return [name.decode() for name in client.hkeys(KEYS.projects)]


def opened(client: Any) -> set[str]:
    """The minutes of an hour, T0's, that are open."""
    shard = open_shard(client, OPEN)
    first = HOUR_OF_MINUTES * 60
    return {f"10:{at:02}" for at in range(60) if shard._state.minutes._first_view((1, first + at)) is not None}


@few
@given(
    event_messages(rings=True),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.lists(st.sampled_from(["", "", "close some", "close all", "begin anew"]), min_size=1, max_size=12),
    st.integers(1, 6),
)
def test_whenever_minutes_are_closed(
    server_url: str, messages: list[Any], sizes: list[int], between: list[str], cells_per_step: int
) -> None:
    """Redis holds and readers see the same at any time, in any batches, with minutes closed anywhere between
    them, in steps of any size, by writers that begin anew; and nothing is lacking once all are closed.
    """
    client = redis.Redis.from_url(server_url)
    batches = in_batches(decoded(messages), sizes)
    client.flushall()
    direct = open_shard(client, DIRECT)
    for batch in batches:
        apply(direct, batch)
    projects = projects_of(client)
    expected, rows = read_state(client), {name: coarser_rows(server_url, name) for name in projects}
    assert said_open(client) == []
    client.flushall()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(closing, "CELLS_PER_STEP", cells_per_step)
        shard = open_shard(client, OPEN)
        for number, batch in enumerate(batches):
            apply(shard, batch)
            done = between[number % len(between)]
            if done == "close some":
                close_some(shard)
            elif done == "close all":
                close_all(shard)
            elif done:
                shard.recover()
        assert read_state(client) == expected
        assert {name: coarser_rows(server_url, name) for name in projects} == rows
        close_all(shard)
    assert said_open(client) == []
    assert read_state(client) == expected
    assert {name: coarser_rows(server_url, name) for name in projects} == rows


def some(count: int, at_s: float = 0, of: str = "") -> list[Event]:
    """Returns so many calls of three ops in five minutes, of all latencies up to 997 ms."""
    return [
        complete(f"{of}{at}", at_s + at % 300, at_s + at % 300 + at * 37 % 997 / 1_000, op_name=f"op{at % 3}")
        for at in range(count)
    ]


def test_only_minutes_are_written_while_they_are_open(client: Any) -> None:
    """No cell of a coarser level is there; then all are, and each once."""
    shard = open_shard(client, OPEN)
    apply(shard, some(20))
    assert [len(client.hkeys(KEYS.rollups(1, level, DAY))) for level in (FIVE_MINUTES, HOURS)] == [1, 1]
    assert len(said_open(client)) == 3
    assert close_all(shard) == 1
    cells = [client.hkeys(KEYS.rollups(1, level, DAY)) for level in (FIVE_MINUTES, HOURS)]
    views = {name[2:] for name in client.hkeys(KEYS.rollups(1, MINUTES, HOUR_OF_MINUTES))}
    assert [sorted(name[2:] for name in one) for one in cells] == [sorted(views)] * 2
    assert said_open(client) == []


@pytest.mark.parametrize("level", [FIVE_MINUTES, HOURS])
def test_percentiles_of_many(level: Any, client: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Percentiles of cells with sketches are read from each value once, and are as near as the bound says: open,
    closed in part, and closed."""
    monkeypatch.setattr(closing, "CELLS_PER_STEP", 1)
    shard = open_shard(client, OPEN)
    for at in range(0, 12_000, 3_000):
        apply(shard, some(3_000, at_s=at // 3_000 % 2 * 300, of=f"{at} "))
    told = sorted(at * 37 % 997 for at in range(3_000)) * 4
    told.sort()
    steps = 0
    while True:
        count, quarters = latencies_counted(redis_url, level)
        assert count == len(told)
        for quantile, value in zip([0.25, 0.5, 0.75, 0.95, 0.99], quarters, strict=True):
            assert abs(sum(one < value for one in told) / len(told) - quantile) < (0.005 if quantile < 0.95 else 0.002)
        if not close_some(shard):
            break
        steps += 1
    assert steps > 8


def test_late_events_of_closed_minutes(client: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late event for a minute that is closed is counted in all levels at once; in one that is closed in part, of the
    views that are."""
    monkeypatch.setattr(closing, "CELLS_PER_STEP", 1)
    shard = open_shard(client, OPEN)
    apply(shard, some(9))
    apply(shard, [start("late", 2)])
    close_some(shard)
    apply(shard, [end("late", 3)])
    assert [row[3:5] for row in coarser_rows(redis_url) if row[2].op_name is None and row[2].root is None] == [
        *((10, 0), (10, 0))
    ]
    close_all(shard)
    apply(shard, [complete("later", 5)])
    assert said_open(client) == []
    assert [row[3] for row in coarser_rows(redis_url) if row[2].op_name is None and row[2].root is None] == [11, 11]
    assert verified(redis_url, T0_US, T0_US + 60 * MINUTE_US).differences == []


def test_verify_sees_what_is_lacking(client: Any, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no difference at any step; there is where a minute is said to be open, or closed, that is not."""
    monkeypatch.setattr(closing, "CELLS_PER_STEP", 2)
    shard = open_shard(client, OPEN)
    apply(shard, some(30))
    hour = T0_US, T0_US + 60 * MINUTE_US
    while close_some(shard):
        assert verified(redis_url, *hour).differences == []
    apply(shard, some(5, 600, of="more "))
    assert verified(redis_url, *hour).differences == []
    key = KEYS.rollups(1, HOURS, DAY)
    said = client.hget(key, "o")
    client.hdel(key, "o")
    assert verified(redis_url, *hour).differences != []
    client.hset(key, "o", said)
    client.hset(KEYS.rollups(1, FIVE_MINUTES, DAY), "o", said.replace(b"\x01", b"\x02"))
    assert verified(redis_url, *hour).differences != []


def test_versions_of_coarser_slots(client: Any) -> None:
    """Versions change with each batch for an open minute, and when it is closed."""
    shard = open_shard(client, OPEN)
    seen = []
    for step in (lambda: apply(shard, [start("a")]), lambda: apply(shard, [end("a")]), lambda: close_all(shard)):
        step()
        seen.append(
            [client.hget(KEYS.versions(1, level, DAY), slot) for level, slot in ((HOURS, 10), (FIVE_MINUTES, 120))]
        )
    assert len({version for of_step in seen for version in of_step if version}) == 3
    assert [hour for hour, _ in seen] == [five for _, five in seen]


@pytest.mark.parametrize("anew", [False, True])
def test_blocks_with_open_minutes_stay(anew: bool, client: Any) -> None:
    """A block goes no sooner than what its minutes are added to, whoever writes; once they are closed, as ever."""
    retention = Retention(3_000 * DAY_S, 3_000 * DAY_S, 3_100 * DAY_S, 3_200 * DAY_S)
    shard = open_shard(client, OPEN, retention)
    blocks = KEYS.rollups(1, MINUTES, HOUR_OF_MINUTES), KEYS.versions(1, MINUTES, HOUR_OF_MINUTES)
    end_s = (HOUR_OF_MINUTES + 1) * HOUR_S
    for _ in range(2):
        apply(shard, [start("a", 0), start("b", 600)])
        assert {client.expiretime(key) for key in blocks} == {(DAY + 1) * DAY_S + 3_200 * DAY_S}
        if anew:
            shard.recover()
    close_all(shard)
    assert {client.expiretime(key) for key in blocks} == {end_s + 3_000 * DAY_S}
    apply(shard, [start("c", 1_200)])
    assert {client.expiretime(key) for key in blocks} == {(DAY + 1) * DAY_S + 3_200 * DAY_S}
    close_all(shard)
    apply(shard, [start("d", 1_200)])
    assert {client.expiretime(key) for key in blocks} == {end_s + 3_000 * DAY_S}


def test_open_minutes_are_not_sealed(client: Any) -> None:
    """A piece that is due waits for them, and is sealed after they are closed."""
    limits = ShardLimits(open_calls_min=0, open_within_s=OPEN.open_within_s, seal_after_s=0)
    shard = open_shard(client, limits)
    apply(shard, [start("a")])
    piece, frames = shard._state.upkeep._sealing, (KEYS.rollups(1, MINUTES, HOUR_OF_MINUTES), DIRECTORY_FIELD)
    assert piece.step(NOW_US, NOW_US) == {}
    assert client.hget(*frames) is None
    while shard.seal(NOW_US):
        pass
    assert said_open(client) == []
    shard.touch(NOW_US + DAY_US)
    while shard.seal(NOW_US + DAY_US):
        pass
    assert client.hget(*frames) is not None


def test_a_project_that_stops_is_closed(client: Any, redis_url: str) -> None:
    """Time that passes without a message is enough: an idle worker closes what is over."""
    shard = open_shard(client, ShardLimits(open_calls_min=1))
    apply(shard, [start("a", 250)], now_us=T0_US + 250 * SECOND_US)
    assert opened(client) == {"10:04"}
    shard.touch(T0_US + 359 * SECOND_US)
    assert opened(client) == {"10:04"}
    shard.touch(T0_US + 361 * SECOND_US)
    assert opened(client) == set()
    assert verified(redis_url, T0_US, T0_US + 60 * MINUTE_US).differences == []


def test_where_it_is_not_known_what_a_shard_is_as_of(client: Any) -> None:
    """Minutes are closed when none can be opened any more that is as old."""
    shard = open_shard(client, ShardLimits(open_calls_min=1))
    shard.apply([start("a")], 1, None, T0_US, {})
    assert opened(client) == {"10:00"}
    shard.seal(T0_US + (300 + 600 + 299) * SECOND_US)
    assert opened(client) == {"10:00"}
    shard.seal(T0_US + (300 + 600 + 301) * SECOND_US)
    assert opened(client) == set()


@pytest.mark.parametrize(
    ("limits", "events", "expected"),
    [
        (ShardLimits(open_calls_min=1), [start("a")], {"10:00"}),
        (ShardLimits(open_calls_min=2), [start("a")], set()),
        (ShardLimits(open_calls_min=2), [start("a"), start("b", 60)], {"10:00", "10:01"}),
        (ShardLimits(open_calls_min=2), [start("a"), start("b", project_id="acme/others")], set()),
        (ShardLimits(open_calls_min=1), [start("a", 719)], {"10:11"}),  # a minute ahead of the clock
        (ShardLimits(open_calls_min=1), [start("a", 721)], set()),
        (ShardLimits(open_calls_min=1, open_within_s=60), [start("a", 540), start("b", 539)], {"10:09"}),
        (ShardLimits(open_calls_min=1, open_minutes_max=2), [start("a", 0), start("b", 60), start("c", 120)], None),
        (ShardLimits(open_calls_min=1, open_slots_max=1), [start("a", 0), start("b", 400)], None),
    ],
)
def test_which_minutes_are_opened(
    limits: ShardLimits, events: list[Event], expected: set[str] | None, client: Any, redis_url: str
) -> None:
    """Recent ones, of projects that bring enough, up to so many; the others are counted in all levels at once."""
    apply(open_shard(client, limits), events, now_us=T0_US + 600 * SECOND_US)
    found = opened(client)
    assert found == expected if expected is not None else 0 < len(found) < len(events)
    assert verified(redis_url, T0_US, T0_US + 60 * MINUTE_US, PROJECT).differences == []


def test_a_minute_is_opened_once(client: Any) -> None:
    """One that has been counted in all levels is not opened by a larger batch, nor by another writer."""
    for limits in (ShardLimits(open_calls_min=2), ShardLimits(open_calls_min=1)):
        apply(open_shard(client, limits), [start(f"{limits.open_calls_min}")], now_us=T0_US)
        assert opened(client) == set()
