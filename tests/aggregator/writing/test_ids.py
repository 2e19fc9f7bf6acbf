"""Ids that have moved to pages: calls are found by them as before, and none is counted twice."""

from typing import Any

import pytest

from aggregator.layout import id_hashes
from aggregator.layout.hash_pages import TABLE_FIELD, PageTable, unpack_table
from aggregator.layout.keys import CALLS_PER_CHUNK, ShardKeys
from aggregator.rollups.levels import Retention
from aggregator.store.elsewhere import Elsewhere
from aggregator.store.shard_store import Fenced
from aggregator.time_units import DAY_S, DAY_US, SECOND_US
from aggregator.writing import ids as moving
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from tests.support.folding import (
    NOW_US,
    PROJECT,
    SHARD,
    T0_US,
    apply,
    complete,
    end,
    fold_all,
    open_shard,
    read_state,
    start,
    tokens,
)

KEYS = ShardKeys(SHARD)
AT_ONCE = ShardLimits(seal_after_s=-10 * DAY_S)
HOUR_S = 3_600
KEPT = Retention(calls_s=DAY_S, minutes_s=3650 * DAY_S, five_minutes_s=3650 * DAY_S, hours_s=3650 * DAY_S)


def seal_all(shard: Shard, now_us: int = NOW_US) -> None:
    """Seals until nothing more is due."""
    while shard.seal(now_us):
        pass


def table(client: Any) -> PageTable:
    """Returns the table of ids as it is stored."""
    return unpack_table(client.hget(KEYS.id_pages, TABLE_FIELD))


def calls(count: int) -> Any:
    """Returns starts of calls that begin a second apart, and do not end."""
    return [start(f"call-{number}", number) for number in range(count)]


@pytest.mark.parametrize("new_writer", [False, True])
@pytest.mark.parametrize("count", [1, 60, 700])
def test_repeats_and_late_ends_find_their_calls(client: Any, count: int, new_writer: bool) -> None:
    """Repeats and late ends find their calls, by the writer that moved the ids and has forgotten them and by a new one,
    as if they had never moved."""
    ends = [end(f"call-{number}", number + 1, usage={"gpt-4o": tokens(number)}) for number in range(count)]
    children = [start(f"child-{number}", number, parent_id=f"call-{number}") for number in range(0, count, 7)]
    expected = fold_all(client, [calls(count), ends, calls(count), children])
    client.flushall()
    limits = ShardLimits(seal_after_s=-10 * DAY_S, calls_cached_max=1)
    shard = open_shard(client, limits)
    apply(shard, calls(count))
    seal_all(shard)
    assert not client.exists(KEYS.ids)
    assert table(client).entries == count
    for batch in (ends, calls(count), children):
        if new_writer:
            shard = open_shard(client, limits)
        apply(shard, batch)
    assert read_state(client) == expected


def test_pages_grow_with_ids(client: Any) -> None:
    """However many there are, none of them has many."""
    shard = open_shard(client, AT_ONCE)
    for at in range(0, 3_000, 500):
        apply(shard, [start(f"call-{number}") for number in range(at, at + 500)])
    seal_all(shard)
    pages = client.hgetall(KEYS.id_pages)
    assert table(client).pages == 3_000 // moving.ENTRIES_PER_PAGE + 1 == len(pages) - 1
    assert max(map(len, pages.values())) < 4 * moving.ENTRIES_PER_PAGE * 7


def test_ids_wait(client: Any) -> None:
    """Ids wait as long as they are told to, from when they came."""
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S))
    apply(shard, calls(3))
    apply(shard, [start("later")])  # here it is noted how many there are
    shard.seal(NOW_US + HOUR_S * SECOND_US - 1)
    assert client.hlen(KEYS.ids) == 4
    for hours, left in ((1, 1 + 1), (2, 1)):
        later_us = NOW_US + hours * HOUR_S * SECOND_US
        apply(shard, [start(f"after {hours} hours")], later_us)
        seal_all(shard, later_us)
        assert client.hlen(KEYS.ids) == left


def test_nothing_moves_unless_asked(client: Any) -> None:
    """No id moves by default; ids that had moved are found all the same."""
    shard = open_shard(client, AT_ONCE)
    apply(shard, [complete("old")])
    seal_all(shard)
    shard = open_shard(client)
    apply(shard, [complete("old"), complete("new")])
    seal_all(shard)
    assert [client.hlen(KEYS.ids), table(client).entries] == [1, 1]
    assert client.hget(KEYS.shard, "calls") == b"2"


def test_a_writer_that_looked_before_is_refused(client: Any) -> None:
    """A writer that looked before ids moved is refused, though no offset has moved: it would not find them."""
    first = open_shard(client, AT_ONCE)
    apply(first, calls(100))
    second = open_shard(client, AT_ONCE)
    second.seal(NOW_US)
    with pytest.raises(Fenced):
        apply(first, calls(100))
    apply(second, calls(100))
    assert client.hget(KEYS.shard, "calls") == b"100"


def test_what_redis_forgot_and_what_took_its_place(client: Any) -> None:
    """Redis loses a move, ids move to other pages, and the log is applied as far as before: that is another state."""
    first = open_shard(client, AT_ONCE)
    apply(first, calls(100))
    before = {key: client.dump(key) for key in client.scan_iter()}
    first.seal(NOW_US)
    apply(first, [complete("last")])
    client.flushall()
    for key, dumped in before.items():
        client.restore(key, 0, dumped)
    second = open_shard(client, AT_ONCE)
    second.seal(NOW_US)
    apply(second, [complete("last")])
    assert first.next_offset == second.next_offset
    with pytest.raises(Fenced):
        apply(first, calls(100))
    apply(second, calls(100))
    assert client.hget(KEYS.shard, "calls") == b"101"


def test_ids_that_hash_alike(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of two bits finds many ids that are others'; the records tell which is right."""
    monkeypatch.setattr(id_hashes, "HASH_BITS", 2)
    monkeypatch.setattr(moving, "ENTRIES_PER_PAGE", 1_000)
    shard = open_shard(client, ShardLimits(seal_after_s=-10 * DAY_S, calls_cached_max=1))
    apply(shard, calls(100))
    seal_all(shard)
    apply(shard, [*calls(100), *(start(f"new-{number}") for number in range(100))])
    assert client.hget(KEYS.shard, "calls") == b"200"
    assert Elsewhere(client, SHARD._replace(partition=1), 0).started(PROJECT, [b"\0new-1", b"\0unknown"]) == {
        b"\0new-1": 0
    }


def test_other_shards_find_them(client: Any) -> None:
    """Whose start this shard holds."""
    shard = open_shard(client, AT_ONCE)
    apply(shard, [*calls(200), end("ended")])
    elsewhere = Elsewhere(client, SHARD._replace(partition=1), 0)
    asked = [b"\0call-3", b"\0ended", b"\0unknown", b"\0call-199"]
    assert elsewhere.started(PROJECT, asked) == {b"\0call-3": 0, b"\0call-199": 0}
    seal_all(shard)
    assert not client.exists(KEYS.ids)
    assert elsewhere.started(PROJECT, asked) == {b"\0call-3": 0, b"\0call-199": 0}


def test_dropped_records_leave_the_pages(client: Any) -> None:
    """Ids of dropped records leave the pages, which become fewer; such an id is then that of a new call."""
    shard = open_shard(client, AT_ONCE, KEPT)
    apply(shard, calls(8 * CALLS_PER_CHUNK), T0_US)
    seal_all(shard, T0_US)
    many = table(client)
    assert many.entries == 8 * CALLS_PER_CHUNK
    gone_us = T0_US + 8 * CALLS_PER_CHUNK * SECOND_US + DAY_US
    apply(shard, [start("new", started_at_us=gone_us)], gone_us)
    seal_all(shard, gone_us)
    assert table(client).entries == 1
    assert table(client).pages < many.pages / 2
    assert len(client.hgetall(KEYS.id_pages)) == 2
    apply(shard, [start("call-1", started_at_us=gone_us)], gone_us)
    assert client.hget(KEYS.shard, "calls") == b"%d" % (8 * CALLS_PER_CHUNK + 2)
