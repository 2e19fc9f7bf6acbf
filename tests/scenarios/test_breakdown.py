"""Any events, any breakdown, values or examples: answers are those of a scan of all calls, so rows add up to stats."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from tests.brute_force import PriceList, fold, instants
from tests.brute_force.breakdown import answer_breakdown, answer_values
from tests.brute_force.examples import answer_examples
from tests.pipeline.in_process import InProcess
from tests.pipeline.lifelike import Question
from tests.scenarios.foldings import WITHOUT_SHRINKING, Folding, foldings
from tests.support.answers import differences
from tests.support.paths import CASES
from tests.support.question_strategies import stats_requests
from tests.support.strategies import NOW

Json = dict[str, Any]

EXAMPLES = 80
BREAKDOWNS_PER_EXAMPLE, VALUES_PER_EXAMPLE, EXAMPLES_PER_EXAMPLE = 6, 2, 4
ONE_BUCKET_S = 10**9
ONE_VALUE_A_CALL = ("op_name", "wb_user_id", "wb_run_id", "trace_root", "error")
STEPS_US = (1, 60_000_000, 300_000_000, 3_600_000_000)  # where further windows begin: mostly on whole slots
DIMENSIONS = ("op_name", "model", "wb_user_id", "wb_run_id", "trace_root", "error")


@st.composite
def breakdown_requests(draw: DrawFn) -> Json:
    """A valid request over the data of `event_messages`, with an end."""
    request = draw(stats_requests().filter(lambda asked: asked.get("end")))
    request = {name: request[name] for name in request if name not in ("granularity", "timezone")}
    request["dimension"] = draw(st.sampled_from(DIMENSIONS))
    start_us, end_us = (instants.from_text(request[edge]) for edge in ("start", "end"))
    within = st.integers(start_us, end_us).flatmap(
        lambda us: st.sampled_from(STEPS_US).map(lambda step_us: max(start_us, us // step_us * step_us))
    )
    optional = {
        "more_starts": st.lists(within.map(lambda us: instants.to_text(us).replace("+00:00", "Z")), max_size=4),
        "limit": st.integers(1, 4),
        "order": st.sampled_from(["asc", "desc"]),
        "compare": st.sampled_from([None, "previous"]),
        "order_by": st.just("count"),
    }
    return request | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def values_requests(draw: DrawFn) -> Json:
    """A valid request over the data of `event_messages`, with an end."""
    request = draw(stats_requests().filter(lambda asked: asked.get("end")))
    request = {name: request[name] for name in ("project_id", "start", "end")}
    request["dimension"] = draw(st.sampled_from(DIMENSIONS[:-2]))
    optional = {"limit": st.integers(1, 4), "prefix": st.sampled_from(["", "weave:", "acme", "user-b", "no such"])}
    return request | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def examples_requests(draw: DrawFn) -> Json:
    """A valid request over the data of `event_messages`, with an end."""
    request = draw(stats_requests().filter(lambda asked: asked.get("end")))
    request = {name: request[name] for name in request if name in ("project_id", "start", "end", "filter")}
    optional = {"limit": st.integers(1, 4), "kind": st.sampled_from(["newest", "failing", "slowest", "dearest"])}
    return request | draw(st.fixed_dictionaries({}, optional=optional))


def questions() -> st.SearchStrategy[list[Question]]:
    """Requests of all kinds."""
    breakdowns = st.tuples(st.just("/calls/breakdown"), breakdown_requests())
    values = st.tuples(st.just("/calls/values"), values_requests())
    examples = st.tuples(st.just("/calls/examples"), examples_requests())
    return st.builds(
        lambda some, others, more: some + others + more,
        st.lists(breakdowns, min_size=BREAKDOWNS_PER_EXAMPLE, max_size=BREAKDOWNS_PER_EXAMPLE),
        st.lists(values, min_size=VALUES_PER_EXAMPLE, max_size=VALUES_PER_EXAMPLE),
        st.lists(examples, min_size=EXAMPLES_PER_EXAMPLE, max_size=EXAMPLES_PER_EXAMPLE),
    )


ANSWER = {"/calls/breakdown": answer_breakdown, "/calls/values": answer_values, "/calls/examples": answer_examples}


def comparable(answer: Json) -> Json:
    """Examples, of calls that are equally slow or dear only how much: which come first is not promised."""
    rank = {"slowest": "latency_ms", "dearest": "cost"}.get(answer["kind"])
    return answer | {"calls": [{rank: call[rank]} if rank else call for call in answer["calls"]]}


def not_adding_up(product: InProcess, request: Json, breakdown: Json) -> list[Any]:
    """Return what a breakdown says otherwise than `/calls/stats` of its window and filter, and than its own rows."""
    asked = {name: request.get(name) for name in ("project_id", "start", "end", "filter")}
    asked |= {"granularity": ONE_BUCKET_S, "call_metrics": [{"metric": "call_count"}, {"metric": "error_count"}]}
    [(status, stats)] = product.ask([("/calls/stats", asked)])
    assert status == 200, stats
    counted = "sum_error_count" if request["dimension"] == "error" else "count"  # only what failed has an error
    calls = sum(row[counted] for row in stats["call_buckets"])
    wrong = [("total", breakdown["total"]["count"], calls)] if breakdown["total"]["count"] != calls else []
    if request["dimension"] in ONE_VALUE_A_CALL:
        rows = breakdown["rows"] + [breakdown["rest"]] * (breakdown["rest"] is not None)
        if (summed := sum(row["count"] for row in rows)) != calls:
            wrong.append(("rows", summed, calls))
    return wrong


@pytest.fixture
def product(redis_url: str) -> Iterator[InProcess]:
    """The product on an empty Redis."""
    with InProcess(redis_url, NOW) as started:
        yield started


def test_answers_are_those_of_a_scan(product: InProcess) -> None:
    """Answers are those of a scan, in any filter, order, limit and dimension, with calls that collide in every way."""
    prices = PriceList.from_file(CASES / "prices.yaml")

    @settings(WITHOUT_SHRINKING, max_examples=EXAMPLES)
    @given(foldings((0, 1, 2)), questions())
    def check(folding: Folding, asked: list[Question]) -> None:
        product.fold(folding.shards, folding.limits)
        model = fold(folding.messages, prices, NOW)
        found = []
        for (path, request), (status, body) in zip(asked, product.ask(asked), strict=True):
            calls = model.calls.started(request["project_id"]).values()
            expected = ANSWER[path](calls, prices, request)
            if status == 200 and path == "/calls/examples":
                expected, body = comparable(expected), comparable(body)
            elif status == 200 and path == "/calls/breakdown":
                found += not_adding_up(product, request, body)
            case = {"status": 200, "expected": expected}
            if differing := differences(case, status, body):
                found.append((path, request, differing[:5]))
        if found:
            note(f"shards = {folding.shards!r}")
            note(f"mistakes = {found!r}")
        assert not found

    check()
