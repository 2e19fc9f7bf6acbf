"""Exemplars without a store: which selectors a query has, what its matchers say to a filter, and what calls become."""

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.call import Call
from aggregator.calls.packed_id import pack_id
from aggregator.rollups.orders import Order
from api.prometheus.bad_query import BadQuery
from api.prometheus.evaluation import parse
from api.prometheus.exemplars import (
    Exemplar,
    Ranked,
    alternatives,
    by_series,
    filter_of,
    of_call,
    order_of,
    selectors_of,
)
from api.prometheus.matching import matchers_of
from api.prometheus.metrics import METRICS

NAMES = st.lists(st.text("ab.|*()[]\\+ -/:é", min_size=1, max_size=6), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("1 + 1", []),
        ("sum(rate(a[5m])) / -b", ["a", "b"]),
        ("histogram_quantile(0.95, sum by (le) (rate(c_bucket[5m])))", ["c_bucket"]),
        ("max_over_time((d + e)[1h:1m]) > bool clamp_min(f, 3)", ["d", "e", "f"]),
        ("topk(scalar(g), h)", ["h"]),
    ],
)
def test_all_selectors_of_a_query(query: str, names: list[str]) -> None:
    """Under functions, ranges, aggregations and operators."""
    assert [one.name for one in selectors_of(parse(query))] == names


def test_a_query_too_deep() -> None:
    """Parentheses without bound are refused, as where values are asked for."""
    with pytest.raises(BadQuery, match="nested more than"):
        list(selectors_of(parse("(" * 40 + "a" + ")" * 40)))


@given(NAMES)
def test_a_pattern_that_lists_names(names: list[str]) -> None:
    """Escaped as drop-downs do it, names come back; whatever else a pattern says, it matches all that it lists."""
    pattern = "|".join(re.escape(name) for name in names)
    listed = alternatives(pattern)
    assert listed == tuple(names)


@given(st.text("ab.|*()[]\\+d", max_size=8), st.text("ab.|*()[]\\+d1", max_size=5))
def test_a_list_is_the_whole_of_its_pattern(pattern: str, name: str) -> None:
    """A name is in the list exactly when the pattern matches it."""
    try:
        warnings.simplefilter("ignore", FutureWarning)  # sets in sets, which are read as Python reads them today
        compiled = re.compile(pattern)
    except re.error:
        return
    listed = alternatives(pattern)
    if listed is not None:
        assert (compiled.fullmatch(name) is not None) == (name in listed)


def test_what_matchers_say_to_a_filter() -> None:
    """Equality and lists of names; an absent label, a pattern and what is excluded are left to look at each call."""
    [selector] = selectors_of(
        parse('a{op_name=~"chat|tool\\\\.x",wb_user_id="bob",wb_run_id="",root="true",model!="m"}')
    )
    asked = filter_of(matchers_of(selector))
    assert (asked.op_names, asked.wb_user_ids, asked.wb_run_ids) == (("chat", "tool.x"), ("bob",), None)
    assert asked.trace_roots_only
    [selector] = selectors_of(parse('a{op_name=~"ch.t",wb_user_id!="bob",root="false"}'))
    asked = filter_of(matchers_of(selector))
    assert (asked.op_names, asked.wb_user_ids, asked.trace_roots_only) == (None, None, False)


def test_each_metric_shows_what_its_reader_looks_for() -> None:
    """Errors those that failed, latency the slowest, cost the dearest, calls and tokens the newest."""
    orders = {name: order_of(kinds[0]) for name, kinds in METRICS.items()}
    assert orders["callmeter_call_errors_total"] is Order.FAILING
    assert orders["callmeter_call_latency_seconds_bucket"] is orders["gen_ai.client.operation.duration_sum"]
    assert orders["callmeter_call_latency_seconds_bucket"] is Order.SLOWEST
    assert orders["callmeter_cost_usd_total"] is orders["callmeter_usage_total_cost_usd_bucket"] is Order.DEAREST
    assert orders["callmeter_calls_total"] is orders["callmeter_tokens_total"] is Order.NEWEST


def test_the_form_of_prometheus() -> None:
    """Exemplars are listed by series and time; a value is text, a timestamp seconds, labels are the ids."""
    series = (("__name__", "a"),)
    told = by_series([Exemplar(series, "t2", "c2", 0.25, 2_500_000), Exemplar(series, "t1", "c1", 3.0, 1_000_000)])
    assert told == [
        {
            "seriesLabels": {"__name__": "a"},
            "exemplars": [
                {"labels": {"call_id": "c1", "trace_id": "t1"}, "value": "3", "timestamp": 1.0},
                {"labels": {"call_id": "c2", "trace_id": "t2"}, "value": "0.25", "timestamp": 2.5},
            ],
        }
    ]


def test_a_call_is_where_its_latency_lies() -> None:
    """An exemplar of a histogram is on the smallest bucket that counts it, as Prometheus keeps it."""
    call = Call(1, pack_id("c"), 0, 1_000_000, 1_250_000, trace=pack_id("t"), op_name="chat")
    name = "callmeter_call_latency_seconds_bucket"
    [one] = of_call(Ranked([(name, METRICS[name][0])], ()), "acme", call)
    assert dict(one.series) == {
        "__name__": name,
        "project": "acme",
        "op_name": "chat",
        "root": "true",
        "le": "0.3",
    }
    assert (one.value, one.call_id, one.trace_id) == (0.25, "c", "t")
