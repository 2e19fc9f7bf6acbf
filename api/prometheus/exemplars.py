"""Exemplars of a query: the single calls behind its series, with their ids, as Prometheus' query_exemplars gives them.

Each metric shows the calls that its reader looks for: of errors those that failed, of latency the slowest, of cost the
dearest, of all else the newest.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import promql_parser as promql

from aggregator.calls.call import Call
from aggregator.calls.packed_id import unpack_id
from aggregator.reading.ranking import RankedCall
from aggregator.rollups.orders import Order
from aggregator.rollups.series import USAGE_METRICS, usage_row
from aggregator.time_units import SECOND_US
from api.prometheus.bad_query import BadQuery
from api.prometheus.evaluation import DEPTH_MAX
from api.prometheus.matching import Matcher, all_match, matchers_of, of_label
from api.prometheus.metrics import BOUND, DIMENSION_LABELS, LATENCY_MS, NAME, PROJECT, Metric
from api.prometheus.selection import bounds_of, metrics_meant
from api.prometheus.store_numbers import StoreNumbers
from api.query.questions import CallFilter

# Exemplars of one answer: points that a graph has room for, and calls that one reading ranks at most.
EXEMPLARS_MAX = 100
# Rankings read for one answer: one for each selector, project and order.
RANKINGS_MAX = 40
_PIECE = re.compile(r"\\(?P<escaped>\W)|(?P<bar>\|)|(?P<plain>[^\\.*+?()\[\]{}^$])|.", re.DOTALL)

Labels = tuple[tuple[str, str], ...]


class Exemplar(NamedTuple):
    """One call as a point of a series. `value` is in the unit of its metric; `at_us` is when the call began."""

    series: Labels
    trace_id: str
    call_id: str
    value: float
    at_us: int


class Ranked(NamedTuple):
    """What one ranking is asked for: the metrics whose calls it ranks, and what their series must match."""

    metrics: Sequence[tuple[str, Metric]]
    matchers: Sequence[Matcher]


async def exemplars(numbers: StoreNumbers, expression: Any, start_us: int, end_us: int) -> list[dict[str, Any]]:
    """The exemplars of all selectors of a query, by series, in Prometheus' JSON form. Raises BadQuery."""
    if end_us < start_us:
        raise BadQuery('invalid parameter "end": end timestamp must not be before start timestamp')
    found: dict[Exemplar, None] = {}
    rankings = 0
    for selector in selectors_of(expression):
        matchers = matchers_of(selector)
        others = [one for one in matchers if one.label != NAME]
        by_order: dict[Order, list[tuple[str, Metric]]] = {}
        for name, kinds in metrics_meant(matchers).items():
            for metric in kinds:
                by_order.setdefault(order_of(metric), []).append((name, metric))
        for project_id in await numbers.project_ids(matchers):
            for order, metrics in by_order.items():
                rankings += 1
                if rankings > RANKINGS_MAX:
                    why = f"the query's exemplars need more than {RANKINGS_MAX} readings: name a metric and a project"
                    raise BadQuery(why, "execution", 422)
                asked = Ranked(metrics, others)
                ranked = await _rank(numbers, project_id, order, asked, start_us, end_us)
                found |= dict.fromkeys(one for call in ranked for one in of_call(asked, project_id, call.call))
    return by_series(list(found)[:EXEMPLARS_MAX])


async def _rank(
    numbers: StoreNumbers, project_id: str, order: Order, asked: Ranked, start_us: int, end_us: int
) -> list[RankedCall]:
    def passes(call: Call) -> bool:
        return next(of_call(asked, project_id, call), None) is not None

    return await numbers.ranked_calls(
        project_id, order, filter_of(asked.matchers), passes, (start_us, end_us + 1), EXEMPLARS_MAX
    )


def by_series(found: Iterable[Exemplar]) -> list[dict[str, Any]]:
    """Exemplars under the labels of their series, each series' by time."""
    series: dict[Labels, list[Exemplar]] = {}
    for one in sorted(found, key=lambda exemplar: exemplar.at_us):
        series.setdefault(one.series, []).append(one)
    return [
        {
            "seriesLabels": dict(labels),
            "exemplars": [
                {
                    "labels": {"call_id": one.call_id, "trace_id": one.trace_id},
                    "value": format(one.value, ".15g"),
                    "timestamp": one.at_us / SECOND_US,
                }
                for one in points
            ],
        }
        for labels, points in series.items()
    ]


def selectors_of(expression: Any, depth: int = 0) -> Iterator[Any]:
    """The vector selectors of a parsed query, those under ranges among them. Raises BadQuery."""
    if depth > DEPTH_MAX:
        raise BadQuery(f"the query is nested more than {DEPTH_MAX} deep")
    inner: Sequence[Any] = ()
    match expression:
        case promql.VectorSelector():
            yield expression
        case promql.MatrixSelector():
            yield expression.vector_selector
        case promql.BinaryExpr():
            inner = (expression.lhs, expression.rhs)
        case promql.Call():
            inner = expression.args
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr() | promql.SubqueryExpr():
            inner = (expression.expr,)
    for one in inner:
        yield from selectors_of(one, depth + 1)


def order_of(metric: Metric) -> Order:
    """Return the order that the calls of a metric are ranked in."""
    if metric.quantity == "errors":
        return Order.FAILING
    if metric.quantity == LATENCY_MS:
        return Order.SLOWEST
    return Order.DEAREST if metric.quantity.endswith("cost") else Order.NEWEST


def filter_of(matchers: Sequence[Matcher]) -> CallFilter:
    """Return what of the matchers a filter can say, so that rollups tell where such calls are."""
    values = {label: _values(of_label(matchers, label)) for label in DIMENSION_LABELS}
    return CallFilter(
        op_names=values["op_name"],
        wb_user_ids=values["wb_user_id"],
        wb_run_ids=values["wb_run_id"],
        trace_roots_only=values["root"] == ("true",),
    )


def _values(matchers: Sequence[Matcher]) -> tuple[str, ...] | None:
    """The only values that a label may have by some matchers of it; None: they do not list any, or the absent one."""
    for one in matchers:
        if one.negated:
            continue
        values = (one.value,) if one.pattern is None else alternatives(one.value)
        if values is not None and "" not in values:
            return values
    return None


def alternatives(pattern: str) -> tuple[str, ...] | None:
    """The names that a pattern lists (`a|b\\.c`), as drop-downs of several values write it; None: it is no list."""
    names = [""]
    for piece in _PIECE.finditer(pattern):
        if piece["bar"]:
            names.append("")
        elif piece["escaped"] or piece["plain"]:
            names[-1] += piece["escaped"] or piece["plain"]
        else:
            return None
    return tuple(names)


def of_call(asked: Ranked, project_id: str, call: Call) -> Iterator[Exemplar]:
    """The points that a call is in the series of these metrics which match."""
    assert call.started_us is not None
    trace_id, call_id = unpack_id(call.trace), unpack_id(call.packed_id)
    dimensions = {
        "op_name": call.op_name,
        "root": "true" if call.parent is None else "false",
        "wb_user_id": call.user_id or "",
        "wb_run_id": call.run_id or "",
    }
    for name, metric in asked.metrics:
        for model, value in _values_of(call, metric):
            labels = {NAME: name, PROJECT: project_id, **dimensions, **metric.labels_of(model, call.op_name)}
            if metric.part == "bucket":
                labels[BOUND] = bounds_of(metric)[bisect_left(metric.bounds, value)]
            if all_match(asked.matchers, labels):
                series = tuple(sorted((label, text) for label, text in labels.items() if text))
                yield Exemplar(series, trace_id, call_id, value, call.started_us)


def _values_of(call: Call, metric: Metric) -> Iterator[tuple[str, float]]:
    """Yield what a call adds to a metric, by model; what it counts as one is 1."""
    if metric.quantity == "calls" or (metric.quantity == "errors" and call.failed and call.ended_us is not None):
        yield "", 1.0
    elif metric.is_of_model_calls and call.latency_ms is not None:
        yield from ((model, call.latency_ms / metric.scale) for model in call.models)
    elif metric.quantity == LATENCY_MS and call.latency_ms is not None:
        yield "", call.latency_ms / metric.scale
    elif metric.quantity in USAGE_METRICS:
        position = USAGE_METRICS.index(metric.quantity)
        rows = ((model, usage_row(vector)) for model, vector in call.usage.items())
        yield from ((model, row[position] / metric.scale) for model, row in rows if len(row) > position)
