"""`callmeter verify`: right state has no difference, and every number that is wrong is found and named."""

import itertools
import threading

import msgspec
import pytest
import redis

from aggregator.calls.call import CALL_CODEC
from aggregator.reading.verification import Piece, pieces
from aggregator.rollups.cell import CELL_CODEC, Cell, place_of
from aggregator.rollups.levels import HOURS, MINUTES
from aggregator.rollups.series import LATENCY, TOKEN_METRICS, USAGE_METRICS, model_series
from aggregator.time_units import HOUR_US, MINUTE_US
from tests.pipeline.golden import DATASETS, read_dataset
from tests.pipeline.operator import operate
from tests.support.folding import PROJECT, T0_US, apply, complete, decoded, open_shard, tokens
from tests.support.verifying import (
    PRICED,
    change,
    differences,
    environment,
    fold_many,
    fold_tree,
    gone,
    one_more_call,
    verified,
)

HOURS_VERIFIED_MAX = 6  # of each project: some datasets lie scattered over a year


@pytest.mark.parametrize("name", DATASETS)
def test_no_difference(name: str, client: redis.Redis, redis_url: str) -> None:
    """Golden datasets that were folded shuffled and doubled, in small batches, have no difference."""
    messages = [msgspec.json.decode(line.value or b"") for line in read_dataset(name).shuffled_and_doubled(1)]
    shard = open_shard(client)
    seen: dict[str, list[int]] = {}
    for batch in itertools.zip_longest(*[iter(decoded(messages))] * 23, fillvalue=[]):
        events = list(itertools.chain.from_iterable(batch))
        apply(shard, events)
        for event in events:
            if event.start is not None:
                seen.setdefault(event.project_id, []).append(event.start.started_at_us)
    assert seen
    for project, started_us in seen.items():
        hours = sorted({at // HOUR_US for at in started_us})
        for hour in hours[:: len(hours) // HOURS_VERIFIED_MAX + 1]:
            found = verified(redis_url, hour * HOUR_US, (hour + 1) * HOUR_US, project)
            assert (found.shards, found.differences) == (1, [])


def test_whole_hours_are_compared(client: redis.Redis, redis_url: str) -> None:
    """A tree of calls has no difference over two whole hours, so all levels were compared."""
    fold_tree(client)
    found = verified(redis_url, T0_US - HOUR_US, T0_US + HOUR_US)
    assert (found.start_us, found.end_us, found.shards) == (T0_US - HOUR_US, T0_US + HOUR_US, 1)
    assert found.differences == []


@pytest.mark.parametrize("letter", "mfh")
@pytest.mark.parametrize("view", [0, 1])
def test_a_wrong_total(letter: str, view: int, client: redis.Redis, redis_url: str) -> None:
    """A cell of any level, of all calls or of a view, that counts a call too many is found, and nothing else is."""
    fold_tree(client)
    change(client, f"*:r:{letter}:*", one_more_call, view)
    (found,) = differences(redis_url)
    assert found.field == "calls"
    assert found.stored == found.recomputed + 1
    assert ("all calls" in found.key) == (view == 0)


@pytest.mark.parametrize(
    ("pattern", "view", "field"),
    [("*:r:h:*", 0, "calls"), ("*:r:m:*", 1, "calls"), ("*:views:*", None, "view")],
)
def test_something_is_missing(pattern: str, view: int | None, field: str, client: redis.Redis, redis_url: str) -> None:
    """A cell or a view that is not there is found."""
    fold_tree(client)
    change(client, pattern, gone, view)
    assert field in [found.field for found in differences(redis_url)]


@pytest.mark.parametrize("calls", [16, 17, 34, 512, 513, 1_100])
def test_cells_of_all_sizes(calls: int, client: redis.Redis, redis_url: str) -> None:
    """Rows in cells, rows beside them, sketches, and a large row in each: no difference."""
    fold_many(client, calls)
    apply(open_shard(client), [complete("large", 30, 31, {PRICED: tokens(2**62), "nobodys": tokens(2**62)})])
    assert differences(redis_url) == []


@pytest.mark.parametrize("letter", "mfh")
@pytest.mark.parametrize(
    ("calls", "beside", "fields"),
    [
        (200, b"r" + LATENCY, ["latency_ms sketch values"]),
        (600, b"s" + LATENCY, ["latency_ms sketch values"]),
        (200, b"r" + model_series("nobodys"), [f"nobodys {metric} sketch values" for metric in TOKEN_METRICS]),
        (1_100, b"s" + model_series(PRICED), [f"{PRICED} {metric} sketch values" for metric in USAGE_METRICS]),
    ],
)
def test_values_beside_a_cell_are_missing(
    letter: str, calls: int, beside: bytes, fields: list[str], client: redis.Redis, redis_url: str
) -> None:
    """Rows or sketches of any level that are not there are found, with how many values there should be."""
    fold_many(client, calls)
    change(client, f"*:r:{letter}:*", gone, 0, beside)
    found = differences(redis_url)
    assert [one.field for one in found] == fields
    assert {(one.stored, one.recomputed) for one in found} == {(0, calls if LATENCY in beside[1:2] else calls // 2)}
    assert all("all calls" in one.key for one in found)


def test_a_value_beside_a_cell_too_many(client: redis.Redis, redis_url: str) -> None:
    """A row too many beside a cell, and one in a cell, are found."""
    fold_many(client, 20)
    change(client, "*:r:m:*", lambda rows: rows + rows[:8], 0, b"r" + LATENCY)
    (found,) = differences(redis_url)
    assert (found.field, found.stored, found.recomputed) == ("latency_ms sketch values", 21, 20)

    def one_row_more(packed: bytes) -> bytes:
        cell = CELL_CODEC.unpack(packed)
        cell.rows[model_series(PRICED)] += cell.rows[model_series(PRICED)][:36]
        return CELL_CODEC.pack(cell)

    change(client, "*:r:h:*", one_row_more, 1)
    found_of_rows = [one for one in differences(redis_url) if one.field == f"{PRICED} rows"]
    assert [(one.stored, one.recomputed) for one in found_of_rows] == [(11, 10)]


@pytest.mark.parametrize("kind", ["rows", "totals", "large"])
def test_a_wrong_number_in_a_cell(kind: str, client: redis.Redis, redis_url: str) -> None:
    """Wherever a series has its numbers: one byte of them, and its sum is found."""
    fold_many(client, {"rows": 20, "totals": 60, "large": 20}[kind])
    apply(open_shard(client), [complete("large", 30, 31, {PRICED: tokens(2**62), "nobodys": tokens(2**62)})])

    def one_token_more(packed: bytes) -> bytes:
        cell, name = CELL_CODEC.unpack(packed), model_series("nobodys")
        if kind == "large":
            cell.large[name][2] += 1
        else:
            of_kind: dict[bytes, bytes] = getattr(cell, kind)
            at = 0 if kind == "rows" else 2 * 8
            of_kind[name] = of_kind[name][:at] + bytes([of_kind[name][at] ^ 1]) + of_kind[name][at + 1 :]
        return CELL_CODEC.pack(cell)

    change(client, "*:r:f:*", one_token_more, 0)
    found = differences(redis_url)
    assert "nobodys input_tokens sum" in [one.field for one in found]
    assert all("300 s from 2026-03-03T10:00:00Z all calls" in one.key for one in found)


def test_a_cell_of_nothing(client: redis.Redis, redis_url: str) -> None:
    """A cell of a minute in which no call started is found."""
    fold_tree(client)
    (key,) = client.keys("*:r:m:*")
    client.hset(key, place_of(59, 0), CELL_CODEC.pack(Cell(calls=2)))
    (found,) = differences(redis_url)
    assert "60 s from 2026-03-03T10:59:00Z all calls" in found.key
    assert (found.field, found.stored, found.recomputed) == ("calls", 2, 0)


def test_a_wrong_subtree(client: redis.Redis, redis_url: str) -> None:
    """A subtree total that is not what the children add up to is found, in the call; of a root, in its views too."""
    fold_tree(client)

    def one_more_token(packed: bytes) -> bytes:
        call = CALL_CODEC.unpack(packed)
        assert call.subtree is not None
        call.subtree.usage[PRICED][0] += 1
        return CALL_CODEC.pack(call)

    change(client, "*:calls:0", one_more_token)
    found, *others = differences(redis_url)
    of_trees = [one for one in others if "root=True" in one.key and "of whole trees" in one.field]
    assert of_trees == others  # the call is a root, and views of roots count what its record says of its tree
    assert (found.key.split()[-1], found.field) == ("root", f"{PRICED} input_tokens")
    assert (found.stored, found.recomputed) == (6, 5)


def test_a_changed_record(client: redis.Redis, redis_url: str) -> None:
    """A call record that lost its end differs from every level and view that counted it, and from its tree."""
    fold_tree(client)

    def unfinished(packed: bytes) -> bytes:
        call = CALL_CODEC.unpack(packed)
        call.ended_us = None
        return CALL_CODEC.pack(call)

    change(client, "*:calls:0", unfinished)
    found = differences(redis_url)
    assert {one.field for one in found} >= {"errors", "finished", "latency_ms sum", "unfinished"}
    assert (
        len([one for one in found if one.field == "errors"]) == 3 * 9
    )  # levels; all, op, root, user, all four; error, model, each with all four too


def test_while_it_is_written(client: redis.Redis, redis_url: str) -> None:
    """Calls that are folded while their minute is verified are no differences; a wrong number of another minute is."""
    fold_tree(client)
    (key,) = client.keys("*:r:m:*")
    client.hset(key, place_of(5, 0), CELL_CODEC.pack(Cell(calls=2)))
    stop = threading.Event()

    def write() -> None:
        shard = open_shard(redis.Redis.from_url(redis_url))
        for number in itertools.count():
            if stop.wait(0.03):
                return
            apply(shard, [complete(f"call-{number}-{more}", 0, 1, {PRICED: tokens(1)}) for more in range(3)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        rounds = messages = 0
        while rounds < 3 or messages <= 20:
            rounds += 1
            found = verified(redis_url, T0_US, T0_US + HOUR_US)
            assert [(one.field, one.stored, one.recomputed) for one in found.differences] == [("calls", 2, 0)]
            assert found.unsettled_minutes <= 1
            messages = int(client.get("{callmeter/calls/0}:next") or 0)
    finally:
        stop.set()
        writer.join()


def test_pieces() -> None:
    """The minutes that a window meets, in pieces that no hour cuts; a slot is compared where it lies wholly inside."""
    found = list(pieces(T0_US + 59 * MINUTE_US + 1, T0_US + HOUR_US + MINUTE_US - 1))
    assert found == [
        Piece(T0_US + 59 * MINUTE_US, T0_US + HOUR_US),
        Piece(T0_US + HOUR_US, T0_US + HOUR_US + MINUTE_US),
    ]
    assert [piece.slots(MINUTES, 0) for piece in found] == [[59], [0]]
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
    change(client, "*:r:h:*", one_more_call, 0)
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
