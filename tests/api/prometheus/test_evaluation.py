"""Queries over made-up numbers: which windows are asked for, what comes of them, and what is refused with its name."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from aggregator.rollups.view import OP, View
from aggregator.time_units import MINUTE_US
from api.prometheus.bad_query import BadQuery
from api.prometheus.evaluation import POINTS_MAX, Evaluation, Result, Steps, check_points, parse, range_steps
from api.prometheus.matching import Matcher
from api.prometheus.metrics import Metric
from api.prometheus.sampled_numbers import Numbers
from api.prometheus.vectors import Series


class PerMinute:
    """A source where op a has one call a minute and op b two; it notes which dimensions were asked for."""

    def __init__(self) -> None:
        self.dimensions: list[int] = []

    async def project_ids(self, matchers: Sequence[Matcher]) -> list[str]:
        return ["acme"]

    async def numbers(
        self, project_id: str, metrics: Sequence[Metric], dimensions: int, edges_us: Sequence[int], series_max: int
    ) -> list[Numbers]:
        self.dimensions.append(dimensions)
        minutes = np.diff(np.array(edges_us)) / MINUTE_US
        by_op = {(View(op_name="a"), ""): minutes, (View(op_name="b"), ""): 2 * minutes}
        numbers = by_op if dimensions else {(View(), ""): 3 * minutes}
        return [Numbers(numbers) for _ in metrics]


def ask(query: str, *at_minutes: float, source: PerMinute | None = None) -> Result:
    """The value of a query at some minutes since 1970."""
    steps = Steps(tuple(round(at * MINUTE_US) for at in at_minutes or (100,)))
    return asyncio.run(Evaluation(source or PerMinute(), 0).value(parse(query), steps))


def rows(query: str, *at_minutes: float) -> dict[str, list[float]]:
    """Values by op name, "" where there is none, of the series that have any."""
    found = ask(query, *at_minutes)
    assert isinstance(found, list)
    present = [one for one in found if not np.isnan(one.values).all()]
    return {dict(one.labels).get("op_name", ""): [float(value) for value in one.values] for one in present}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("increase(callmeter_calls_total[5m])", {"a": [5], "b": [10]}),
        ("rate(callmeter_calls_total[5m]) * 60", {"a": [1], "b": [2]}),
        ("callmeter_calls_total", {"a": [100], "b": [200]}),
        ("callmeter_calls_total offset 10m", {"a": [90], "b": [180]}),
        ("sum(increase(callmeter_calls_total[5m]))", {"": [15]}),
        ("sum by (op_name) (increase(callmeter_calls_total[5m]))", {"a": [5], "b": [10]}),
        ('increase(callmeter_calls_total{op_name="b"}[5m])', {"b": [10]}),
        ('increase(callmeter_calls_total{op_name!~"b|c"}[5m])', {"a": [5]}),
        ("count(callmeter_calls_total)", {"": [2]}),
        ("topk(1, increase(callmeter_calls_total[1m]))", {"b": [2]}),
        ("increase(callmeter_calls_total[5m]) > 7", {"b": [10]}),
        ("increase(callmeter_calls_total[5m]) > bool 7", {"a": [0], "b": [1]}),
        ("clamp_min(increase(callmeter_calls_total[5m]), 7)", {"a": [7], "b": [10]}),
        ("max_over_time(increase(callmeter_calls_total[2m])[10m:1m])", {"a": [2], "b": [4]}),
        ("avg_over_time(callmeter_calls_total[3m])", {"a": [99], "b": [198]}),
        ("vector(3) + 1", {"": [4]}),
        ("-increase(callmeter_calls_total[5m])", {"a": [-5], "b": [-10]}),
        ("vector(scalar(sum(increase(callmeter_calls_total[1m]))))", {"": [3]}),
        (
            "sum by (op_name)(increase(callmeter_calls_total[5m])) / on() group_right() vector(1)",
            "group_left and group_right are not supported",
        ),
    ],
)
def test_queries(query: str, expected: Any) -> None:
    """Worked out by hand at minute 100; a text is the refusal."""
    if isinstance(expected, str):
        with pytest.raises(BadQuery, match=expected):
            rows(query)
    else:
        assert rows(query) == {op: pytest.approx(values) for op, values in expected.items()}


def test_an_instant_inside_a_minute_counts_whole_minutes() -> None:
    """Windows lie on whole minutes: what counts does not depend on the second of the question."""
    assert rows("increase(callmeter_calls_total[5m])", 100.0, 100.5, 101) == {"a": [5, 5, 5], "b": [10, 10, 10]}


def test_only_the_labels_that_are_left_are_read() -> None:
    """A sum by op needs the views of ops, a sum of all none; without a sum all labels are told apart."""
    source = PerMinute()
    for query in ("sum(rate(m[5m]))", "sum by (op_name) (rate(m[5m]))", 'sum(rate(m{op_name="a"}[5m]))', "rate(m[5m])"):
        ask(query.replace("m[", "callmeter_calls_total[").replace("m{", "callmeter_calls_total{"), source=source)
    assert source.dimensions == [0, OP, OP, 15]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("deriv(callmeter_calls_total[5m])", "the function deriv is not supported"),
        ("quantile(0.9, callmeter_calls_total)", "the aggregation quantile is not supported"),
        ("callmeter_calls_total[5m]", "needs a function around it"),
        ("rate(callmeter_calls_total)", "expected type"),
        ("callmeter_calls_total and callmeter_calls_total", "the operator and is not supported"),
        ("callmeter_calls_total @ 5", "the @ modifier is not supported"),
        ('{project="acme"}', "needs the name of a metric"),
        ('callmeter_calls_total{op_name=~"("}', "illegal regex"),
        ("1 > 2", "BOOL"),
        ("sum(", 'invalid parameter "query"'),
        ("(" * 40 + "1" + ")" * 40, "nested"),
    ],
)
def test_refusals(query: str, why: str) -> None:
    """Each refusal names what is not there."""
    with pytest.raises(BadQuery) as refused:
        ask(query)
    assert why in refused.value.message


def test_too_many_values() -> None:
    """An answer of too many series and steps together is refused with the limit; one of just so many is not."""
    steps = Steps(tuple(range(1_000)))
    series = [Series((("op_name", str(number)),), np.zeros(1_000)) for number in range(POINTS_MAX // 1_000)]
    check_points(series, steps)
    with pytest.raises(BadQuery, match="more than 2,000,000 values") as refused:
        check_points([*series, series[0]], steps)
    assert (refused.value.error_type, refused.value.status) == ("execution", 422)


def test_steps() -> None:
    """A range has its end when a step meets it, and no more steps than a graph has pixels."""
    assert range_steps(0, 10, 5).at_us == (0, 5, 10)
    assert range_steps(0, 9, 5).at_us == (0, 5)
    assert len(range_steps(0, 10_999, 1).at_us) == 11_000
    with pytest.raises(BadQuery, match="11,000 points"):
        range_steps(0, 11_000, 1)
    with pytest.raises(BadQuery, match="step"):
        range_steps(0, 1, 0)
