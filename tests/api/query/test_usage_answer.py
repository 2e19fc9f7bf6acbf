"""Answers of /calls/usage: what each requested id and all below it used."""

import json
from typing import Any

import pytest
import redis

from aggregator.calls.event import UsageCounts
from aggregator.layout.keys import ShardName
from aggregator.layout.open_calls import OpenCall
from aggregator.reading import open_calls
from aggregator.reading.open_calls import unfinished_below
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.store.shard_store import ShardStore
from aggregator.writing.shard import Shard
from api.query.questions import UsageQuestion
from api.query.usage_answer import answer_usage
from api.refusals import Refusal
from tests.support.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, complete, end, prices, start, tokens
from tests.support.reading import read


def fold_into(redis_url: str, *events: Any, shard: ShardName = SHARD) -> None:
    writer = Shard(ShardStore(redis.Redis.from_url(redis_url), shard), prices(), KEEP_ALL)
    writer.apply(events, (writer.next_offset or 0) + 1, NOW_US, NOW_US, {})


def ask(redis_url: str, *call_ids: str, include_costs: bool = False) -> Any:
    async def answer(reader: StoreReader, project: OpenedProject) -> bytes:
        return (await answer_usage(reader, project, UsageQuestion(PROJECT, call_ids, include_costs))).body

    return json.loads(read(redis_url, answer))


NO_COSTS = {
    "prompt_tokens_total_cost": None,
    "completion_tokens_total_cost": None,
    "cache_read_input_tokens_total_cost": None,
    "cache_creation_input_tokens_total_cost": None,
}


def test_all_ten_fields(redis_url: str) -> None:
    """Counts as stated, costs null unless asked for, and by class then: gpt-4o at 2.50, 1.25 and 10 per million."""
    fold_into(redis_url, complete("a", usage={"gpt-4o": UsageCounts(1_000, 50, 1_050, 400, 0, 2)}))
    counts = {
        "requests": 2,
        "prompt_tokens": 1_000,
        "completion_tokens": 50,
        "total_tokens": 1_050,
        "cache_read_input_tokens": 400,
        "cache_creation_input_tokens": 0,
    }
    assert ask(redis_url, "a")["call_usage"] == {"a": {"gpt-4o": counts | NO_COSTS}}
    assert ask(redis_url, "a", include_costs=True)["call_usage"]["a"]["gpt-4o"] == counts | {
        "prompt_tokens_total_cost": 0.0015,
        "completion_tokens_total_cost": 0.0005,
        "cache_read_input_tokens_total_cost": 0.0005,
        "cache_creation_input_tokens_total_cost": 0.0,
    }


def test_unpriced_and_mixed(redis_url: str) -> None:
    """Null where no priced call contributes; counts that are all 0 leave the model out, 0 requests among them."""
    usage = {"no-price": tokens(5), "zero": tokens(0, requests=0), "idle": tokens(0, requests=1)}
    fold_into(redis_url, complete("a", usage=usage))
    answer = ask(redis_url, "a", include_costs=True)["call_usage"]["a"]
    assert set(answer) == {"no-price", "idle"}
    assert NO_COSTS.items() <= answer["no-price"].items()


def test_order_and_unknown_ids(redis_url: str) -> None:
    """Ids are answered in the order requested; unknown, waiting and merely named ones are empty, and not unfinished."""
    fold_into(redis_url, start("b", parent_id="named"), end("waits"), complete("a", usage={"m": tokens(1)}))
    answer = ask(redis_url, "waits", "b", "unknown", "named", "a")
    assert list(answer["call_usage"]) == ["waits", "b", "unknown", "named", "a"]
    assert [name for name, usage in answer["call_usage"].items() if usage] == ["a"]
    assert answer["unfinished_call_ids"] == ["b"]


def test_ancestor_and_descendant(redis_url: str) -> None:
    """A call and one below it are each answered in full; unfinished calls of both subtrees are listed once, sorted, and
    none from beside."""
    fold_into(
        redis_url,
        complete("root", usage={"m": tokens(1)}),
        start("z-child", parent_id="root"),
        complete("grandchild", usage={"m": tokens(4)}, parent_id="z-child"),
        start("a-leaf", parent_id="grandchild"),
        start("beside", parent_id="root"),
        start("other-root"),
    )
    answer = ask(redis_url, "grandchild", "z-child")
    assert {name: usage["m"]["prompt_tokens"] for name, usage in answer["call_usage"].items()} == {
        "grandchild": 4,
        "z-child": 4,
    }
    assert answer["unfinished_call_ids"] == ["a-leaf", "z-child"]
    assert ask(redis_url, "root")["unfinished_call_ids"] == ["a-leaf", "beside", "z-child"]
    assert ask(redis_url, "root")["call_usage"]["root"]["m"]["prompt_tokens"] == 5


def test_an_id_that_another_shard_only_names(redis_url: str) -> None:
    """The call is where its start is, in whichever order shards are read."""
    named, real = SHARD, SHARD._replace(partition=1)
    fold_into(redis_url, start("child", parent_id="a", trace_id="other"), shard=named)
    fold_into(redis_url, complete("a", usage={"m": tokens(7)}), start("b", parent_id="a"), shard=real)
    answer = ask(redis_url, "a")
    assert answer["call_usage"]["a"]["m"]["prompt_tokens"] == 7
    assert answer["unfinished_call_ids"] == ["b"]


def test_too_many_unfinished_calls(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unfinished calls are listed up to the limit; one more in a trace that is asked for is a 413, elsewhere it does
    not matter."""
    fold_into(
        redis_url,
        start("a", trace_id="x"),
        start("b", trace_id="x", parent_id="a"),
        start("c", trace_id="y"),
        complete("d", trace_id="x"),
    )
    monkeypatch.setattr(open_calls, "OPEN_CALLS_READ_MAX", 3)
    assert ask(redis_url, "a", "c", "d")["unfinished_call_ids"] == ["a", "b", "c"]
    monkeypatch.setattr(open_calls, "OPEN_CALLS_READ_MAX", 2)
    assert ask(redis_url, "a", "d")["unfinished_call_ids"] == ["a", "b"]
    with pytest.raises(Refusal, match="more than 2 unfinished calls") as refused:
        ask(redis_url, "a", "c")
    assert refused.value.status == 413


def test_nothing_asked(redis_url: str) -> None:
    """An empty question, and a project that never sent a call."""
    assert ask(redis_url) == {"call_usage": {}, "unfinished_call_ids": []}
    assert ask(redis_url, "a") == {"call_usage": {"a": {}}, "unfinished_call_ids": []}


def test_unfinished_below() -> None:
    """Roots that are open and what is below them; a finished call on the way is not listed, a ring ends."""
    entries = {1: (None, None), 2: (1, b"2"), 3: (2, b"3"), 4: (9, b"4"), 5: (6, b"5"), 6: (5, b"6")}
    opened = {number: OpenCall(*entry) for number, entry in entries.items()}
    assert sorted(unfinished_below(opened, {1})) == [b"2", b"3"]
    assert sorted(unfinished_below(opened, {2, 3, 8})) == [b"2", b"3"]
    assert sorted(unfinished_below(opened, {5})) == [b"5", b"6"]
    assert unfinished_below(opened, {9}) == []
