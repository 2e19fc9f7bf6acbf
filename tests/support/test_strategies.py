"""What the strategies promise: valid messages, accepted requests that hit data, no order where none is meant."""

import random
from functools import cache
from typing import Any

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from tests.brute_force import Model, PriceList, fold
from tests.support.event_strategies import event_messages, spelled
from tests.support.paths import CASES
from tests.support.question_strategies import stats_requests, usage_requests
from tests.support.strategies import NOW

Json = dict[str, Any]
# Brute force takes its time; how long is not what these tests are about.
unhurried = settings(deadline=None)


@cache
def prices() -> PriceList:
    """The price file that the strategies suppose."""
    return PriceList.from_file(CASES / "prices.yaml")


@unhurried
@given(event_messages(rings=True), st.data())
def test_messages_are_valid(messages: list[Json], data: st.DataObject) -> None:
    """Every message is a list of events, however it is spelled."""
    model = fold([data.draw(spelled(message)) for message in messages], prices(), NOW)
    assert model.dead_letters == []
    assert model.calls.by_identity == fold(messages, prices(), NOW).calls.by_identity


@unhurried
@given(event_messages(), stats_requests(), usage_requests())
def test_requests_are_accepted(messages: list[Json], stats: Json, usage: Json) -> None:
    """Every request gets an answer, and every call of the window is in exactly one bucket of it."""
    model = fold(messages, prices(), NOW)
    assert set(model.usage(usage)["call_usage"]) == set(usage["call_ids"])
    body = model.stats(stats, NOW)
    if stats.get("call_metrics"):
        whole = stats | {"granularity": 604_800, "timezone": "UTC"}
        assert sum(row["count"] for row in body["call_buckets"]) == sum(
            row["count"] for row in model.stats(whole, NOW)["call_buckets"]
        )


@unhurried
@given(event_messages(conflicts=False), stats_requests(), usage_requests(), st.randoms(use_true_random=False))
def test_order_does_not_matter(messages: list[Json], stats: Json, usage: Json, rng: random.Random) -> None:
    """Any order of the messages gives the same answers, without rings and conflicts."""
    shuffled = rng.sample(messages, len(messages))
    one, other = fold(messages, prices(), NOW), fold(shuffled, prices(), NOW)
    assert one.stats(stats, NOW) == other.stats(stats, NOW)
    assert one.usage(usage) == other.usage(usage)


def finds_cost(model: Model, stats: Json, usage: Json) -> bool:
    """A positive cost."""
    rows = model.stats(stats, NOW)["usage_buckets"]
    return any(value for row in rows for key, value in row.items() if key.endswith("_cost"))


def finds_filtered_call(model: Model, stats: Json, usage: Json) -> bool:
    """A call that a filter lets through, and one that it does not."""
    if not stats.get("call_metrics"):
        return False
    passed, of_all = (
        sum(row["count"] for row in model.stats(asked, NOW)["call_buckets"])
        for asked in (stats, stats | {"filter": None})
    )
    return bool(0 < passed < of_all)


def finds_unfinished_descendant(model: Model, stats: Json, usage: Json) -> bool:
    """A requested call with an unfinished call below it."""
    return bool(set(model.usage(usage)["unfinished_call_ids"]) - set(usage["call_ids"]))


def finds_summed_tree(model: Model, stats: Json, usage: Json) -> bool:
    """A requested subtree with the usage of several calls."""
    answers = model.usage(usage)["call_usage"].values()
    return any(of_model["requests"] > 1 for by_model in answers for of_model in by_model.values())


@pytest.mark.parametrize("finds", [finds_cost, finds_filtered_call, finds_unfinished_descendant, finds_summed_tree])
def test_requests_hit_data(finds: Any) -> None:
    """Requests and messages meet often enough for the answers to be about something."""
    both = st.tuples(event_messages(), stats_requests(), usage_requests())
    few = settings(max_examples=1000, database=None, derandomize=True, phases=[Phase.generate])
    find(both, lambda drawn: finds(fold(drawn[0], prices(), NOW), drawn[1], drawn[2]), settings=few)
