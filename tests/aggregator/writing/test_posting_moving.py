"""Postings that have moved to pages: nothing is lost or there twice, whatever comes after and whoever goes on."""

import random
from typing import Any

import pytest

from aggregator.layout import postings
from aggregator.layout.hash_pages import TABLE_FIELD, unpack_table
from aggregator.layout.keys import INDEXES, TRACE, ShardKeys, day_of
from aggregator.layout.postings import BLOCK_NUMBERS_MAX, latest_of_blocks, unpack_latest
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import Fenced
from aggregator.time_units import DAY_S, SECOND_US
from aggregator.writing import posting_moving as moving
from aggregator.writing.limits import ShardLimits
from tests.support.folding import NOW_US, SHARD, T0_US, apply, complete, end, fold_all, open_shard, read_state, start
from tests.support.sealing import AT_ONCE, agents_batches, seal_all

KEYS = ShardKeys(SHARD)
DAY = day_of(T0_US)
PAGES = KEYS.posting_pages(1, DAY)
HOUR_S = 3_600


def hot(client: Any) -> dict[str, int]:
    """How many values of each index are where they came."""
    counts = {index: client.hlen(KEYS.postings(1, index, DAY)) for index in INDEXES}
    return {index: count for index, count in counts.items() if count}


def calls(count: int, first: int = 0) -> Any:
    """Calls with all that is indexed; ten to a trace."""
    return [
        complete(
            f"call-{at}",
            at,
            at + 1,
            trace_id=f"trace-{at // 10}",
            parent_id=f"call-{at // 10 * 10}" if at % 10 else None,
            thread_id=f"thread-{at // 20}",
            turn_id=f"turn-{at // 5}",
            input_refs=[f"weave:///acme/agents/object/prompt:{at // 50}"],
        )
        for at in range(first, first + count)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_the_same_postings(client: Any, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is moved after each batch, by one writer or many, what is posted is what it would be otherwise."""
    rng = random.Random(seed)
    monkeypatch.setattr(moving, "ENTRIES_PER_PAGE", rng.choice([1, 3, 64]))
    monkeypatch.setattr(moving, "VALUES_PER_STEP", rng.choice([1, 7, 500]))
    monkeypatch.setattr(moving, "BLOCKS_PER_STEP", rng.choice([1, 3, 500]))
    monkeypatch.setattr(postings, "BLOCK_BYTES_MAX", rng.choice([10, 25, 1_000]))
    batches = agents_batches(rng, 120)
    expected = fold_all(client, batches)
    client.flushall()
    shard = open_shard(client, AT_ONCE)
    for batch in batches:
        apply(shard, batch)
        if rng.random() < 0.3:
            seal_all(shard)
        if rng.random() < 0.2:
            shard = open_shard(client, AT_ONCE)
    seal_all(shard)
    assert client.keys(f"{SHARD.tag}:*:w:*")
    assert not client.keys(f"{SHARD.tag}:*:y:*")
    left = [value for key in client.keys(f"{SHARD.tag}:*:x:*") for value in client.hvals(key)]
    assert all(len(value) == len(latest_of_blocks(1)) for value in left)
    assert not client.exists(KEYS.unsealed_postings)
    assert read_state(client) == expected


def test_nothing_moves_unless_asked(client: Any) -> None:
    """No posting moves by default; what had moved is there all the same, and what comes is beside it."""
    expected = fold_all(client, [calls(60)])
    client.flushall()
    shard = open_shard(client, AT_ONCE)
    apply(shard, calls(30))
    seal_all(shard)
    shard = open_shard(client)
    apply(shard, calls(30, 30))
    seal_all(shard)
    assert hot(client) == {"m": 1, "t": 3, "p": 3, "h": 2, "u": 6, "i": 2}
    assert read_state(client) == expected


def test_postings_wait(client: Any) -> None:
    """Postings stay as long as they are told to, a value with those that came later as long as these."""
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S))
    apply(shard, [start("one", trace_id="t1"), start("two", trace_id="t2")])
    shard.seal(NOW_US)  # here it is noted how many there are
    apply(shard, [start("three", trace_id="t2")])
    shard.seal(NOW_US + HOUR_S * SECOND_US - 1)
    assert client.hlen(KEYS.postings(1, TRACE, DAY)) == 2
    for hours, left in ((1, [b"t2"]), (2, [])):
        later_us = NOW_US + hours * HOUR_S * SECOND_US
        apply(shard, [end("one")], later_us)
        seal_all(shard, later_us)
        assert [key.strip(b"\0") for key in client.hkeys(KEYS.postings(1, TRACE, DAY))] == left


def test_full_blocks_wait_for_the_end_of_their_day(client: Any) -> None:
    """A value with full blocks stays until its day has been over for as long as others wait; others move before."""
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S))
    of_trace = [start(f"call-{at}") for at in range(2 * BLOCK_NUMBERS_MAX)]
    apply(shard, [*of_trace, start("other", trace_id="other")])
    before = read_state(client)
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S))
    over_us = ((DAY + 1) * DAY_S + HOUR_S) * SECOND_US
    seal_all(shard, over_us - 1)
    assert hot(client) == {"m": 1, "t": 1}
    assert unpack_table(client.hget(PAGES, TABLE_FIELD)).entries == 1
    assert client.exists(KEYS.unsealed_postings)
    for _ in range(2):  # what is there has to wait once more
        seal_all(shard, over_us)
        over_us += HOUR_S * SECOND_US
    blocks = KEYS.posting_blocks(1, TRACE, DAY)
    assert not client.exists(blocks, KEYS.unsealed_postings)
    [left] = client.hvals(KEYS.postings(1, TRACE, DAY))
    assert unpack_latest(left) == (1, [])
    assert read_state(client) == before
    apply(shard, [start(f"late-{at}") for at in range(2 * BLOCK_NUMBERS_MAX)])
    assert client.hlen(blocks) == 1
    late = read_state(client)
    seal_all(open_shard(client, AT_ONCE))
    assert not client.exists(blocks)
    assert read_state(client) == late


def test_pages_grow(client: Any) -> None:
    """However many values there are, no page has many."""
    shard = open_shard(client, AT_ONCE)
    for at in range(0, 3_000, 500):
        apply(shard, calls(500, at))
    seal_all(shard)
    pages = client.hgetall(PAGES)
    table = unpack_table(pages.pop(TABLE_FIELD))
    assert table.pages == -(-table.entries // moving.ENTRIES_PER_PAGE) > 10
    assert max(int.from_bytes(page[:2], "big") for page in pages.values()) < 4 * moving.ENTRIES_PER_PAGE


def test_all_goes_with_its_day(client: Any) -> None:
    """Pages expire with their day, and so does what comes again where all postings had moved away."""
    kept = Retention(DAY_S * 3650, DAY_S * 3650, DAY_S * 3650, DAY_S * 3650)
    shard = open_shard(client, AT_ONCE, kept)
    apply(shard, calls(20))
    expires_at = client.expiretime(KEYS.postings(1, TRACE, DAY))
    assert expires_at == (DAY + 1) * DAY_S + kept.calls_s
    seal_all(shard)
    assert client.expiretime(PAGES) == expires_at
    apply(shard, calls(20, 20))
    assert client.expiretime(KEYS.postings(1, TRACE, DAY)) == expires_at


def test_a_writer_that_looked_before_is_refused(client: Any) -> None:
    """A writer that knows the latest postings from before they moved is refused, though no offset has moved."""
    first = open_shard(client, AT_ONCE)
    apply(first, calls(20))
    second = open_shard(client, AT_ONCE)
    seal_all(second)
    with pytest.raises(Fenced):
        apply(first, calls(20, 20))
    apply(second, calls(20, 20))
    state = read_state(client)
    assert state == fold_all(client, [calls(40)])
