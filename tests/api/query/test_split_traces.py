"""Traces that came through several partitions: answers say of which calls they may not know all that is below."""

import json
from typing import Any

import pytest
import redis

from aggregator.calls.event import Event
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_US, SECOND_US
from aggregator.writing.shard import Shard
from api.headers import Freshness, freshness_headers
from api.query.questions import CallFilter, TraceUsageQuestion, UsageQuestion
from api.query.trace_usage_answer import answer_trace_usage
from api.query.usage_answer import UsageAnswer, answer_usage
from api.refusals import Refusal
from tests.support.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, T0_US, complete, end, prices, start, tokens
from tests.support.reading import read

USAGE = {"m": tokens(1)}


def fold_into(redis_url: str, *shards: list[Event]) -> None:
    """Folds each list into the shard of its own partition."""
    for partition, events in enumerate(shards):
        store = ShardStore(redis.Redis.from_url(redis_url), SHARD._replace(partition=partition))
        Shard(store, prices(), KEEP_ALL).apply(events, len(events), NOW_US, NOW_US, {})


def split(redis_url: str, *call_ids: str) -> tuple[str, ...]:
    """Returns of which of these calls the answer says that it may not know all."""

    async def answer(reader: StoreReader, project: OpenedProject) -> UsageAnswer:
        return await answer_usage(reader, project, UsageQuestion(PROJECT, call_ids, False))

    return read(redis_url, answer).split_call_ids


@pytest.mark.parametrize(
    "elsewhere",
    [
        [complete("leaf", usage=USAGE, parent_id="mid")],
        [start("leaf", parent_id="mid")],
        [start("leaf", parent_id="mid"), end("leaf", usage=USAGE)],
    ],
)
def test_what_waits_in_another_shard_is_missing_here(redis_url: str, elsewhere: list[Event]) -> None:
    """A grandchild without its parent, finished or not: the root, and whatever else of the trace, is not whole."""
    here = [complete("root", usage=USAGE), complete("mid", usage=USAGE, parent_id="root")]
    fold_into(redis_url, here, elsewhere)
    assert split(redis_url, "root", "mid") == ("root", "mid")


def test_whole_traces_say_nothing(redis_url: str) -> None:
    """Though the project is in several shards, and a parent that never came is waited for in one of them."""
    mine = [complete("root", usage=USAGE), start("mid", parent_id="root"), complete("x", usage=USAGE, parent_id="gone")]
    other = [complete("other", usage=USAGE, trace_id="two"), start("below", trace_id="two", parent_id="other")]
    fold_into(redis_url, mine, other)
    assert split(redis_url, "root", "mid", "x", "other", "below", "unknown") == ()


def test_a_trace_that_was_split_and_came_together_says_nothing(redis_url: str) -> None:
    """A parent that has come takes what waited for it, so that the answer says nothing of a split, whatever the parent
    brought."""
    late = [complete("leaf", usage=USAGE, parent_id="mid"), complete("mid", usage=USAGE, parent_id="root")]
    fold_into(redis_url, [complete("else", usage=USAGE, trace_id="two")], [*late, complete("root", usage=USAGE)])
    assert split(redis_url, "root", "mid", "leaf", "else") == ()


def test_headers() -> None:
    """How many, and the first of their ids, whatever is in these; nothing where all is whole."""
    assert freshness_headers(Freshness(None, None)) == {}
    found = freshness_headers(Freshness(None, None, None, ("a,b", "é", *map(str, range(60)))))
    assert found["X-Incomplete-Calls"] == "62"
    assert found["X-Incomplete-Call-Ids"].startswith("a%2Cb,%C3%A9,0,1,")
    assert len(found["X-Incomplete-Call-Ids"].split(",")) == 50


def test_trace_usage_finds_calls_by_any_filter(redis_url: str) -> None:
    """Usage of traces finds calls by trace, by op, of one shard or several, roots alone, or all; more than the limit is
    refused."""
    fold_into(
        redis_url,
        [complete("root", usage=USAGE), complete("mid", usage=USAGE, parent_id="root", op_name="step")],
        [complete("other", usage=USAGE, trace_id="two", user_id="u")],
    )

    def ask(limit: int = 10, **fields: Any) -> dict[str, int]:
        async def answer(reader: StoreReader, project: OpenedProject) -> UsageAnswer:
            question = TraceUsageQuestion(PROJECT, CallFilter(**fields), False, limit)
            return await answer_trace_usage(reader, project, question, T0_US, KEEP_ALL)

        found: dict[str, Any] = json.loads(read(redis_url, answer).body)["call_usage"]
        return {call_id: models["m"]["prompt_tokens"] for call_id, models in sorted(found.items())}

    assert ask(trace_ids=("trace",)) == {"mid": 1, "root": 2}
    assert ask() == {"mid": 1, "other": 1, "root": 2}
    assert ask(op_names=("step",)) == {"mid": 1}
    assert ask(wb_user_ids=("u",), trace_ids=("trace", "two")) == {"other": 1}
    assert ask(trace_roots_only=True) == {"other": 1, "root": 2}
    assert ask(limit=3) == {"mid": 1, "other": 1, "root": 2}
    with pytest.raises(Refusal) as refused:
        ask(limit=2)
    assert refused.value.status == 413


def test_trace_usage_of_a_call_a_day_ahead(redis_url: str) -> None:
    """The latest instant that an event may have, a day ahead, is found by any filter, though a day begins there."""
    midnight_us = T0_US // DAY_US * DAY_US
    at_s = (midnight_us + DAY_US - T0_US) / SECOND_US
    ahead = complete("ahead", at_s=at_s, end_s=at_s, usage=USAGE, input_refs=("weave:///p/object/x:v1",))
    fold_into(redis_url, [ahead])
    for fields in ({}, {"trace_ids": ("trace",)}, {"input_refs": ("weave:///p/object/x:v1",)}, {"op_names": ("op",)}):

        async def answer(reader: StoreReader, project: OpenedProject, fields: dict[str, Any] = fields) -> UsageAnswer:
            question = TraceUsageQuestion(PROJECT, CallFilter(**fields), False, 10)
            return await answer_trace_usage(reader, project, question, midnight_us, KEEP_ALL)

        assert list(json.loads(read(redis_url, answer).body)["call_usage"]) == ["ahead"], fields
