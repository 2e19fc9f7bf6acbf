"""Finding calls by minute, by index and by id."""

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from aggregator.calls.event import Event
from aggregator.calls.packed_id import unpack_id
from aggregator.layout import keys as layout
from aggregator.layout.keys import ShardKeys, ShardName
from aggregator.reading import calls as call_reading
from aggregator.reading import postings as posting_reading
from aggregator.reading.calls import (
    IndexValues,
    Selected,
    read_by_ids,
    read_calls,
    select_by_index,
    select_ids,
    select_minutes,
)
from aggregator.reading.rollups import TooMuchToRead
from aggregator.rollups.levels import Retention
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, MINUTE_US
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from tests.support.folding import KEEP_ALL, NOW_US, SHARD, T0_US, complete, end, prices, start
from tests.support.reading import read

DAY = 20_515


def fold_into(redis_url: str, events: Sequence[Event], shard: ShardName = SHARD, kept: Retention = KEEP_ALL) -> None:
    writer = Shard(ShardStore(redis.Redis.from_url(redis_url), shard), prices(), kept)
    writer.apply(events, (writer.next_offset or 0) + 1, NOW_US, NOW_US, {})


async def names(reader: StoreReader, selected: Selected) -> list[str]:
    """Ids of the selected calls."""
    calls = await read_calls(reader, selected)
    return sorted(unpack_id(call.packed_id) for call in calls.values())


def by_index(redis_url: str, index: str, *values: str, days: Sequence[int] = (DAY,)) -> list[str]:
    async def ask(reader: StoreReader, project: OpenedProject) -> list[str]:
        return await names(reader, await select_by_index(reader, project, IndexValues(index, values), days))

    return read(redis_url, ask)


def by_minute(redis_url: str, *minutes: int) -> list[str]:
    async def ask(reader: StoreReader, project: OpenedProject) -> list[str]:
        return await names(reader, await select_minutes(reader, project, minutes))

    return read(redis_url, ask)


def move_ids(client: Any, shard: ShardName = SHARD) -> None:
    """All ids go to pages."""
    writer = Shard(ShardStore(client, shard), prices(), KEEP_ALL, ShardLimits(seal_after_s=0))
    while writer.seal(NOW_US):
        pass
    assert not client.exists(ShardKeys(shard).ids)


def test_by_minute(redis_url: str) -> None:
    """Reading minutes gives the calls that started in them, on both days; a minute without calls gives none."""
    fold_into(redis_url, [start("a", 59.9), start("b", 60), complete("c", 119, 500), start("d", DAY_S), end("e", 60)])
    first = T0_US // MINUTE_US
    assert by_minute(redis_url, first) == ["a"]
    assert by_minute(redis_url, first + 1, first + 1440) == ["b", "c", "d"]
    assert by_minute(redis_url, first + 2) == []


@pytest.mark.parametrize(
    ("index", "told", "other"),
    [
        (layout.TRACE, {"trace_id": "x"}, {"trace_id": "y"}),
        (layout.PARENT, {"parent_id": "x"}, {"parent_id": "y"}),
        (layout.THREAD, {"thread_id": "x"}, {"thread_id": ""}),
        (layout.TURN, {"turn_id": "x"}, {}),
        (layout.INPUT_REF, {"input_refs": ("z", "x")}, {"input_refs": ("xx",)}),
    ],
)
def test_by_index(redis_url: str, index: str, told: dict[str, Any], other: dict[str, Any]) -> None:
    """Exactly the value, any of several, each call once, and only on the days asked."""
    fold_into(redis_url, [start("a", **told), start("b", **other), start("c", DAY_S, **told)])
    assert by_index(redis_url, index, "x") == ["a"]
    assert by_index(redis_url, index, "x", "y", "x", "", "xx", days=[DAY, DAY + 1]) == [
        *("a", *(["b"] if other else []), "c")
    ]
    assert by_index(redis_url, index, "nothing") == []


def test_by_empty_value(redis_url: str) -> None:
    """An empty id is an id; no id is none."""
    fold_into(redis_url, [start("a", thread_id=""), start("b"), start("c", trace_id="", parent_id="")])
    assert by_index(redis_url, layout.THREAD, "") == ["a"]
    assert by_index(redis_url, layout.TRACE, "") == by_index(redis_url, layout.PARENT, "") == ["c"]


def test_by_ref_prefix(redis_url: str) -> None:
    """`:*` at the end, among exact ones; the colon belongs to it, and anything may follow, beyond ASCII too."""
    refs = {
        "a": "weave:///p/doc:v1",
        "b": "weave:///p/doc:é\U0010ffff",
        "c": "weave:///p/docs:v1",
        "d": "weave:///p/doc",
    }
    fold_into(redis_url, [start(name, input_refs=(ref,)) for name, ref in refs.items()])
    fold_into(redis_url, [complete("e")])
    assert by_index(redis_url, layout.INPUT_REF, "weave:///p/doc:*") == ["a", "b"]
    assert by_index(redis_url, layout.INPUT_REF, "weave:///p/doc:*", "weave:///p/doc", "none:*") == ["a", "b", "d"]
    assert by_index(redis_url, layout.INPUT_REF, "weave:///p/doc*") == []


def test_by_output_ref(redis_url: str) -> None:
    """Whether the end comes before the start, with it or after; on the day of the start."""
    events = [end("a", output_refs=("r:1",)), start("a"), start("b"), end("b", DAY_S, output_refs=("r:2",))]
    for event in [*events, end("c", output_refs=("r:1",))]:
        fold_into(redis_url, [event])
    assert by_index(redis_url, layout.OUTPUT_REF, "r:*") == ["a", "b"]
    assert by_index(redis_url, layout.OUTPUT_REF, "r:1") == ["a"]


def test_more_than_a_block(redis_url: str) -> None:
    """A thread of 1,000 calls, in batches that fill blocks at every point, is found whole."""
    for at in range(0, 1000, 125):
        fold_into(redis_url, [start(str(number), thread_id="t") for number in range(at, at + 125)])
    assert by_index(redis_url, layout.THREAD, "t") == sorted(str(number) for number in range(1000))
    assert len(by_minute(redis_url, T0_US // MINUTE_US)) == 1000


def test_too_many_calls(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are read up to the limit of one answer; one more, and they are refused before they are read."""
    for at in range(0, 1000, 200):
        fold_into(redis_url, [start(str(number), thread_id="t") for number in range(at, at + 200)])
    monkeypatch.setattr(posting_reading, "CALLS_READ_MAX", 1_000)
    assert len(by_index(redis_url, layout.THREAD, "t", "no thread")) == 1_000
    monkeypatch.setattr(posting_reading, "CALLS_READ_MAX", 999)
    with pytest.raises(TooMuchToRead):
        by_index(redis_url, layout.THREAD, "t", "no thread")


def test_too_many_refs(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prefix may stand for as many refs as the limit, over all days and shards; refs named whole are not counted."""
    refs = ("r:1", "r:2", "s:1")
    fold_into(redis_url, [start("a", input_refs=refs), start("b", DAY_S, input_refs=refs)])
    fold_into(redis_url, [start("c", input_refs=refs)], SHARD._replace(partition=1))
    monkeypatch.setattr(call_reading, "REFS_READ_MAX", 6)
    assert by_index(redis_url, layout.INPUT_REF, "r:*", "s:1", days=(DAY, DAY + 1)) == ["a", "b", "c"]
    monkeypatch.setattr(call_reading, "REFS_READ_MAX", 5)
    with pytest.raises(TooMuchToRead):
        by_index(redis_url, layout.INPUT_REF, "r:*", "s:1", days=(DAY, DAY + 1))


@pytest.mark.parametrize("moved", [False, True])
def test_by_id(redis_url: str, moved: bool) -> None:
    """Calls are found by id, wherever they are; unknown ids are left out, and an id that a child of another trace named
    elsewhere is found too."""
    sibling = SHARD._replace(partition=1)
    fold_into(redis_url, [start("a"), start("b")])
    fold_into(redis_url, [start("c", parent_id="a")], sibling)
    if moved:
        for shard in (SHARD, sibling):
            move_ids(redis.Redis.from_url(redis_url), shard)

    async def ask(reader: StoreReader, project: OpenedProject) -> Any:
        ids = ["c", "a", "unknown", "b"]
        selected = await select_ids(reader, project, ids)
        found = await read_by_ids(reader, project, ids)
        assert {place for calls in found.values() for place in calls} == {
            (shard, number) for shard, numbers in selected.items() for number in numbers
        }
        return {
            name: [(shard.keys.next, number, unpack_id(call.packed_id)) for (shard, number), call in calls.items()]
            for name, calls in found.items()
        }

    one, other = f"{SHARD.tag}:next", f"{sibling.tag}:next"
    assert read(redis_url, ask) == {
        "a": [(one, 0, "a"), (other, 1, "a")],
        "b": [(one, 1, "b")],
        "c": [(other, 0, "c")],
    }


def test_dropped_records_are_left_out(redis_url: str) -> None:
    """Numbers without a record are no calls."""
    fold_into(redis_url, [start("a")])

    async def ask(reader: StoreReader, project: OpenedProject) -> list[str]:
        return await names(reader, {project.shards[0]: {0, 1, 256}})

    assert read(redis_url, ask) == ["a"]
