"""Records past their retention: dropped with their ids, oldest first, never one that is still needed."""

from typing import Any

import pytest

from aggregator.calls.call import CALL_CODEC, Call
from aggregator.calls.packed_id import unpack_id
from aggregator.layout.keys import CALLS_PER_CHUNK
from aggregator.rollups.levels import Retention
from aggregator.time_units import DAY_S, DAY_US, SECOND_US
from aggregator.writing.shard import Shard
from tests.support.folding import SHARD, T0_US, apply, complete, end, open_shard, read_state, start, tokens

KEPT = Retention(calls_s=DAY_S, minutes_s=3650 * DAY_S, five_minutes_s=3650 * DAY_S, hours_s=3650 * DAY_S)
# The calls of a chunk start in these seconds after T0, so the newest is past its retention then.
LAST_S = CALLS_PER_CHUNK - 1
EXPIRED_US = T0_US + LAST_S * SECOND_US + DAY_US


@pytest.fixture
def shard(client: Any) -> Shard:
    """A shard with one full chunk of calls, a second apart."""
    shard = open_shard(client, retention=KEPT)
    apply(shard, [complete(f"old-{number}", number, number) for number in range(CALLS_PER_CHUNK)], T0_US)
    return shard


def kept(client: Any) -> tuple[int, list[str]]:
    """How many ids, and which chunks."""
    chunks = sorted(key.decode().removeprefix(f"{SHARD.tag}:") for key in client.keys(f"{SHARD.tag}:calls:*"))
    return client.hlen(f"{SHARD.tag}:ids"), chunks


def records(client: Any) -> list[Call]:
    """All that are there; their parents may be gone."""
    chunks = client.keys(f"{SHARD.tag}:calls:*")
    return [CALL_CODEC.unpack(packed) for chunk in chunks for packed in client.hvals(chunk)]


def new_call(shard: Shard, name: str, now_us: int) -> None:
    apply(shard, [complete(name, started_at_us=now_us, end_s=(now_us - T0_US) / SECOND_US)], now_us)


def test_a_chunk_waits_for_its_newest_call(client: Any, shard: Shard) -> None:
    """A microsecond before: all is there. Then chunk and ids go with the batch that comes next."""
    new_call(shard, "b", EXPIRED_US - 1)
    assert kept(client) == (CALLS_PER_CHUNK + 1, ["calls:0", "calls:1"])
    new_call(shard, "c", EXPIRED_US)
    assert kept(client) == (2, ["calls:1"])
    assert [name for _, name in read_state(client)["calls"]] == ["b", "c"]


def test_a_chunk_that_is_not_full_stays(client: Any) -> None:
    """Numbers are still to come into it."""
    shard = open_shard(client, retention=KEPT)
    apply(shard, [complete(f"old-{number}") for number in range(CALLS_PER_CHUNK - 1)], T0_US)
    new_call(shard, "new", T0_US + 100 * DAY_US)
    assert kept(client) == (CALLS_PER_CHUNK, ["calls:0"])


def test_a_late_recent_call_holds_its_chunk(client: Any) -> None:
    """One call of tomorrow among those of today keeps their chunk for a day longer."""
    shard = open_shard(client, retention=KEPT)
    apply(shard, [complete(f"old-{n}", DAY_S if n == 100 else n) for n in range(CALLS_PER_CHUNK)], T0_US + DAY_US)
    new_call(shard, "b", EXPIRED_US)
    assert kept(client)[1] == ["calls:0", "calls:1"]
    new_call(shard, "c", T0_US + 2 * DAY_US)
    assert kept(client)[1] == ["calls:1"]


def test_a_writer_that_comes_back_goes_on_dropping(client: Any, shard: Shard) -> None:
    """A writer that comes back knows which chunk is the oldest, and goes on dropping."""
    new_call(shard, "b", EXPIRED_US)
    shard.recover()
    assert shard.dropped_before_us == EXPIRED_US - DAY_US + 1
    apply(shard, [complete(f"x-{n}", started_at_us=EXPIRED_US) for n in range(CALLS_PER_CHUNK)], EXPIRED_US)
    new_call(shard, "c", EXPIRED_US + DAY_US)
    assert kept(client) == (2, ["calls:2"])


def test_calls_go_by_the_time_of_the_messages(client: Any, shard: Shard) -> None:
    """A backlog read long after finds each start while its end may still come."""
    far_us = EXPIRED_US + 1000 * DAY_US
    shard.apply([start("open", LAST_S)], shard.next_offset or 0, T0_US, far_us, {})
    shard.apply([end("old-3"), end("open", LAST_S + 2)], shard.next_offset or 0, T0_US, far_us, {})
    assert kept(client)[1] == ["calls:0", "calls:1"]
    [open_call] = [call for (_, name), call in read_state(client)["calls"].items() if name == "open"]
    assert open_call["ended_us"] == T0_US + (LAST_S + 2) * SECOND_US


def test_what_was_dropped_is_not_counted_again(client: Any, shard: Shard) -> None:
    """The writer says from when on it remembers, so that later copies of dropped calls can be refused."""
    assert shard.dropped_before_us == 0
    new_call(shard, "b", EXPIRED_US)
    newest_us = T0_US + LAST_S * SECOND_US
    assert newest_us < shard.dropped_before_us == newest_us + 1


def test_children_of_a_dropped_parent_start_anew(client: Any, shard: Shard) -> None:
    """A child of a call that is forgotten is a tree of its own; nothing breaks, with a cold cache or a warm one."""
    late_s = LAST_S + DAY_S
    apply(shard, [start("child", late_s - 5, parent_id="old-0")], T0_US)
    new_call(shard, "b", EXPIRED_US)
    shard.recover()
    apply(shard, [end("child", late_s), start("grandchild", late_s, parent_id="child")], EXPIRED_US)
    calls = {unpack_id(call.packed_id): call for call in records(client)}
    assert calls["child"].total().unfinished == 1
    assert "old-0" not in calls


def test_many_chunks_go_in_steps(client: Any) -> None:
    """40 expired chunks: 32 with the next batch, the others with the one after."""
    shard = open_shard(client, retention=KEPT)
    apply(shard, [complete(f"old-{number}") for number in range(40 * CALLS_PER_CHUNK)], T0_US)
    new_call(shard, "b", T0_US + DAY_US)
    assert len(kept(client)[1]) == 9
    new_call(shard, "c", T0_US + DAY_US)
    assert kept(client) == (2, ["calls:40"])


def test_a_record_that_the_batch_renews_stays(client: Any) -> None:
    """A parent that never came, named again in the batch that would drop it, keeps what both children brought."""
    shard = open_shard(client, retention=KEPT)
    child = complete("child", usage={"m": tokens(7)}, parent_id="parent")
    others = [complete(f"old-{number}", number) for number in range(CALLS_PER_CHUNK - 2)]
    apply(shard, [child, *others], T0_US)
    today_us = EXPIRED_US + SECOND_US
    again = complete("again", started_at_us=today_us, end_s=2 * DAY_S, usage={"m": tokens(1)}, parent_id="parent")
    apply(shard, [again], today_us)
    apply(shard, [complete("parent", started_at_us=today_us, end_s=2 * DAY_S)], today_us)
    totals = {unpack_id(call.packed_id): call.total().usage for call in records(client)}
    assert totals["parent"]["m"][0] == 8
