"""`callmeter verify`: right state has no difference, and every number that is wrong is found and named."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis

from aggregator.call import CALLS
from aggregator.levels import HOURS, MINUTES, SECOND_US
from aggregator.rollup import ROLLUPS, Rollup
from aggregator.verification import Difference, Piece, pieces
from callmeter.settings import Settings, read_settings
from callmeter.verify_command import Verified, verify_window
from tests.folding import NOW_US, PROJECT, T0_US, apply, complete, decoded, end, open_shard, start, tokens
from tests.pipeline.golden import DATASETS, read_dataset
from tests.pipeline.operator import operate

MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
PRICED = "gpt-4o"
DAYS_VERIFIED_MAX = 4  # of each project: some datasets lie scattered over a year


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """An empty Redis."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


def environment(redis_url: str) -> dict[str, str]:
    """What an operator sets."""
    kept = {f"RETENTION__{level}": "3650d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")}
    return {"REDIS__URL": redis_url, "NOW": "2026-06-11T12:00:00Z"} | kept


def settings(redis_url: str) -> Settings:
    """The same, read."""
    return read_settings({f"CALLMETER_{name}": value for name, value in environment(redis_url).items()})


def verified(redis_url: str, start_us: int, end_us: int, project: str = PROJECT) -> Verified:
    """Rollups and trees of a window."""
    return asyncio.run(verify_window(settings(redis_url), None, project, start_us, end_us, NOW_US, tree=True))


def differences(redis_url: str) -> list[Difference]:
    """Of the hour of T0 and the one before."""
    return verified(redis_url, T0_US - HOUR_US, T0_US + HOUR_US).differences


def fold_tree(client: redis.Redis) -> None:
    """A root with two children and a grandchild, over several minutes, the last of them unfinished."""
    events = [
        start("root", 0, user_id="ann"),
        complete("child-1", 70, 75, {PRICED: tokens(3, 4)}, parent_id="root", op_name="llm"),
        complete("child-2", 80, 91, {"nobodys": tokens(1, 1)}, parent_id="root", op_name="llm"),
        start("grandchild", 400, parent_id="child-1"),
        end("root", 500, usage={PRICED: tokens(2, 2)}, failed=True),
    ]
    apply(open_shard(client), events)


@pytest.mark.parametrize("name", DATASETS)
def test_no_difference(name: str, client: redis.Redis, redis_url: str) -> None:
    """What was folded from the golden datasets, shuffled and doubled, in small batches, has no difference."""
    messages = [msgspec.json.decode(line.value or b"") for line in read_dataset(name).shuffled_and_doubled(1)]
    shard = open_shard(client)
    seen: dict[str, list[int]] = {}
    for batch in itertools.zip_longest(*[iter(decoded(messages))] * 7, fillvalue=[]):
        events = list(itertools.chain.from_iterable(batch))
        apply(shard, events)
        for event in events:
            if event.start is not None:
                seen.setdefault(event.project_id, []).append(event.start.started_at_us)
    assert seen
    for project, started_us in seen.items():
        days = sorted({at // (24 * HOUR_US) for at in started_us})
        for day in days[:: len(days) // DAYS_VERIFIED_MAX + 1]:
            of_day = [at for at in started_us if at // (24 * HOUR_US) == day]
            found = verified(redis_url, min(of_day), max(of_day) + 1, project)
            assert (found.shards, found.differences) == (1, [])


def test_whole_hours_are_compared(client: redis.Redis, redis_url: str) -> None:
    """A tree of calls has no difference over two whole hours, so all levels were compared."""
    fold_tree(client)
    found = verified(redis_url, T0_US - HOUR_US, T0_US + HOUR_US)
    assert (found.start_us, found.end_us, found.shards) == (T0_US - HOUR_US, T0_US + HOUR_US, 1)
    assert found.differences == []


def change(client: redis.Redis, pattern: str, how: Callable[[bytes], bytes | None]) -> None:
    """Change the first field of the first key that matches."""
    keys: Any = sorted(client.keys(pattern))
    assert keys, pattern
    fields: Any = client.hgetall(keys[0])
    field = sorted(fields)[0]
    changed = how(fields[field])
    if changed is None:
        client.hdel(keys[0], field)
    else:
        client.hset(keys[0], field, changed)


def one_more_call(packed: bytes) -> bytes:
    """A rollup that counts one call more."""
    rollup = ROLLUPS.unpack(packed)
    return ROLLUPS.pack(msgspec.structs.replace(rollup, calls=rollup.calls + 1))


def gone(packed: bytes) -> None:
    """Nothing."""


@pytest.mark.parametrize("letter", "mfh")
@pytest.mark.parametrize("view", "01")
def test_a_wrong_total(letter: str, view: str, client: redis.Redis, redis_url: str) -> None:
    """A rollup of any level, of all calls or of a view, that counts a call too many is found, and nothing else is."""
    fold_tree(client)
    change(client, f"*:r:{letter}:*:{view}", one_more_call)
    (found,) = differences(redis_url)
    assert found.field == "calls"
    assert found.stored == found.recomputed + 1
    assert ("all calls" in found.key) == (view == "0")


@pytest.mark.parametrize(
    ("pattern", "how", "field"),
    [
        ("*:r:h:*:0", gone, "calls"),
        ("*:q:m:*:0", gone, "latency_ms sketch values"),
        ("*:views:*", gone, "view"),
    ],
)
def test_something_is_missing(pattern: str, how: Any, field: str, client: redis.Redis, redis_url: str) -> None:
    """A rollup, a sketch or a view that is not there is found."""
    fold_tree(client)
    change(client, pattern, how)
    assert field in [found.field for found in differences(redis_url)]


def test_a_rollup_of_nothing(client: redis.Redis, redis_url: str) -> None:
    """A rollup of a minute in which no call started is found."""
    fold_tree(client)
    (key,) = client.keys("*:r:m:*:0")
    client.hset(key, (10 * 60 + 59).to_bytes(2, "big"), ROLLUPS.pack(Rollup(calls=2)))
    (found,) = differences(redis_url)
    assert "60 s from 2026-03-03T10:59:00Z all calls" in found.key
    assert (found.field, found.stored, found.recomputed) == ("calls", 2, 0)


def test_a_wrong_subtree(client: redis.Redis, redis_url: str) -> None:
    """A subtree total that is not what the children add up to is found, in the call it is wrong in."""
    fold_tree(client)

    def one_more_token(packed: bytes) -> bytes:
        call = CALLS.unpack(packed)
        assert call.subtree is not None
        call.subtree.usage[PRICED][0] += 1
        return CALLS.pack(call)

    change(client, "*:calls:0", one_more_token)
    (found,) = differences(redis_url)
    assert (found.key.split()[-1], found.field) == ("root", f"{PRICED} input_tokens")
    assert (found.stored, found.recomputed) == (6, 5)


def test_a_changed_record(client: redis.Redis, redis_url: str) -> None:
    """A call record that lost its end differs from every level and view that counted it, and from its tree."""
    fold_tree(client)

    def unfinished(packed: bytes) -> bytes:
        call = CALLS.unpack(packed)
        call.ended_us = None
        return CALLS.pack(call)

    change(client, "*:calls:0", unfinished)
    found = differences(redis_url)
    assert {one.field for one in found} >= {"errors", "finished", "latency_ms sum", "unfinished"}
    assert len([one for one in found if one.field == "errors"]) == 3 * 5  # levels; all, op, root, user, all four


def test_while_it_is_written(client: redis.Redis, redis_url: str) -> None:
    """Calls that are folded while their minute is verified are no differences; a wrong number of another minute is."""
    fold_tree(client)
    (key,) = client.keys("*:r:m:*:0")
    client.hset(key, (10 * 60 + 5).to_bytes(2, "big"), ROLLUPS.pack(Rollup(calls=2)))
    stop = threading.Event()

    def write() -> None:
        shard = open_shard(redis.Redis.from_url(redis_url))
        for number in itertools.count():
            if stop.wait(0.005):
                return
            apply(shard, [complete(f"call-{number}-{more}", 0, 1, {PRICED: tokens(1)}) for more in range(3)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            found = verified(redis_url, T0_US, T0_US + HOUR_US)
            assert [(one.field, one.stored, one.recomputed) for one in found.differences] == [("calls", 2, 0)]
            assert found.unsettled_minutes <= 1
    finally:
        stop.set()
        writer.join()
    assert int(client.get("{callmeter/calls/0}:next") or 0) > 100


def test_pieces() -> None:
    """The minutes that a window meets, in pieces that no hour cuts; a slot is compared where it lies wholly inside."""
    found = list(pieces(T0_US + 59 * MINUTE_US + 1, T0_US + HOUR_US + MINUTE_US - 1))
    assert found == [
        Piece(T0_US + 59 * MINUTE_US, T0_US + HOUR_US),
        Piece(T0_US + HOUR_US, T0_US + HOUR_US + MINUTE_US),
    ]
    assert [piece.slots(MINUTES, 0) for piece in found] == [[659], [660]]
    assert Piece(T0_US, T0_US + HOUR_US).slots(HOURS, 0) == [10]
    assert Piece(T0_US, T0_US + HOUR_US).slots(HOURS, T0_US) == [10]
    assert Piece(T0_US, T0_US + HOUR_US).slots(HOURS, T0_US + 1) == []
    assert Piece(T0_US + MINUTE_US, T0_US + HOUR_US).slots(HOURS, 0) == []


def test_the_command(client: redis.Redis, redis_url: str) -> None:
    """Status 0 and a sentence when all is well; status 1 and a line for each difference when not; the same as JSON."""
    fold_tree(client)
    window = ("--start", "2026-03-03T10:00:00Z", "--end", "2026-03-03T10:59:59Z")
    command = ("verify", "--project", PROJECT, *window, "--tree")
    well = operate(environment(redis_url), *command)
    assert (well.status, well.output.count("\n")) == (0, 1)
    assert f"{PROJECT}, 2026-03-03T10:00:00Z to 2026-03-03T11:00:00Z, 1 shards: no difference." in well.output
    change(client, "*:r:h:*:0", one_more_call)
    ill = operate(environment(redis_url), *command)
    assert ill.status == 1
    assert "3600 s from 2026-03-03T10:00:00Z all calls: calls: stored 5, recomputed 4\n" in ill.output
    told = operate(environment(redis_url), *command, "--json")
    assert told.status == 1
    (found,) = told.json()["differences"]
    assert (found["field"], found["stored"], found["recomputed"]) == ("calls", 5, 4)


def test_only_what_is_kept(client: redis.Redis, redis_url: str) -> None:
    """A window is cut to the call records that are kept, and refused where there are none."""
    fold_tree(client)
    month = environment(redis_url) | {"RETENTION__CALLS": "100d", "NOW": "2026-06-11T10:01:30Z"}
    command = ("verify", "--project", PROJECT, "--start")
    cut = operate(month, *command, "2026-03-01T00:00:00Z", "--end", "2026-03-03T11:00:00Z", "--json").json()
    assert cut["start"] == cut["reaches"] == "2026-03-03T10:02:00Z"
    refused = operate(month, *command, "2026-03-01T00:00:00Z", "--end", "2026-03-03T10:02:00Z")
    assert refused.status == 1
    assert "nothing of this window is kept; call records reach back to 2026-03-03T10:02:00Z" in refused.errors
    turned = operate(month, *command, "2026-03-02T00:00:00Z", "--end", "2026-03-02T00:00:00Z")
    assert (turned.status, "--start must be before --end" in turned.errors) == (2, True)
