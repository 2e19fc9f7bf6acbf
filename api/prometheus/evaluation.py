"""Evaluates a parsed query at its steps: a walk over the expression, reading numbers where selectors stand.

What of PromQL is not supported is refused with a sentence that names it.
"""

import math
import re
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import promql_parser as promql

from aggregator.time_units import MINUTE_US, SECOND_US
from api.prometheus import vectors
from api.prometheus.bad_query import BadQuery
from api.prometheus.matching import matchers_of
from api.prometheus.selection import NumberSource, select, windows
from api.prometheus.vectors import Series, Values, Vector, without_name

# As Prometheus: a graph has fewer pixels.
STEPS_MAX = 11_000
# Values of an answer, over all series and steps: 50 MB of JSON.
POINTS_MAX = 2_000_000
QUERY_CHARACTERS_MAX = 10_000
# Functions in functions: deeper than any dashboard writes.
DEPTH_MAX = 30
# Operators and parentheses: reading a query takes as long as their square, and keeps the whole process from working
# meanwhile; at these some 10 ms.
OPERATORS_MAX = 200
# What may hold signs that are no operators: strings, and the matchers of a selector.
_QUOTED = re.compile(
    "|".join(rf"{quote}(?:\\.|[^{quote}\\])*(?:{quote}|$)" for quote in "\"'") + "|`[^`]*(?:`|$)", re.DOTALL
)
_MATCHERS = re.compile(r"\{[^{}]*\}")
_OPERATOR = re.compile(r"[-+*/%^<>(]|[=!]=|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
# Points at which the inner of a `[range:step]` is worked out.
INNER_STEPS_MAX = 11_000
DEFAULT_INNER_STEP_US = MINUTE_US
# Values that the ranges of all steps and series hold, each counted as often as it is looked at: a second of work.
LOOKED_AT_MAX = 100_000_000

_OVER_TIME: dict[str, Callable[..., Values]] = {
    "sum_over_time": np.nansum,
    "avg_over_time": np.nanmean,
    "min_over_time": np.nanmin,
    "max_over_time": np.nanmax,
}
_OF_RANGE = ("rate", "increase", *_OVER_TIME)
FUNCTIONS = (*_OF_RANGE, "histogram_quantile", "clamp_min", "scalar", "vector", "time")
AGGREGATIONS = (*sorted(vectors.REDUCTIONS), "topk", "bottomk")

Result = Vector | Values
"""A vector, or a scalar with its value at each step."""


class Steps(NamedTuple):
    """The instants at which a query is worked out (microseconds since 1970), in order."""

    at_us: tuple[int, ...]

    def moved(self, by_us: int) -> "Steps":
        """All of them earlier by so much."""
        return Steps(tuple(at - by_us for at in self.at_us))


def parse(query: str) -> Any:
    """The expression of a query. Raises BadQuery."""
    if len(query) > QUERY_CHARACTERS_MAX:
        raise BadQuery(f"the query has more than {QUERY_CHARACTERS_MAX:,} characters")
    if len(_OPERATOR.findall(_MATCHERS.sub("", _QUOTED.sub("", query)))) > OPERATORS_MAX:
        raise BadQuery(f"the query has more than {OPERATORS_MAX} operators and parentheses")
    try:
        return promql.parse(query)
    except ValueError as wrong:
        raise BadQuery(f'invalid parameter "query": {wrong}') from None


def range_steps(start_us: int, end_us: int, step_us: int) -> Steps:
    """The steps of a range query. Raises BadQuery."""
    if step_us <= 0:
        raise BadQuery('invalid parameter "step": zero or negative query resolution step widths are not accepted')
    if end_us < start_us:
        raise BadQuery('invalid parameter "end": end timestamp must not be before start time')
    if (end_us - start_us) // step_us >= STEPS_MAX:
        raise BadQuery(f"exceeded maximum resolution of {STEPS_MAX:,} points per timeseries: try a larger step")
    return Steps(tuple(range(start_us, end_us + 1, step_us)))


def check_points(vector: Vector, steps: Steps) -> None:
    """Raises BadQuery where an answer would have too many values, those that are absent among them."""
    if len(vector) * len(steps.at_us) > POINTS_MAX:
        raise BadQuery(
            f"the query has more than {POINTS_MAX:,} values: aggregate, match fewer, or try a larger step",
            "execution",
            422,
        )


class Evaluation:
    """One query's evaluation. `origin_us`: since when counters count, the same for all steps."""

    def __init__(self, source: NumberSource, origin_us: int) -> None:
        self._source = source
        self._origin_us = origin_us

    async def value(
        self, expression: Any, steps: Steps, wanted: Collection[str] | None = None, depth: int = 0
    ) -> Result:
        """The value of an expression. `wanted`: the labels that the caller looks at, where it adds series up.

        Raises BadQuery.
        """
        if depth > DEPTH_MAX:
            raise BadQuery(f"the query is nested more than {DEPTH_MAX} deep")
        match expression:
            case promql.NumberLiteral():
                return np.full(len(steps.at_us), float(expression.val))
            case promql.ParenExpr():
                return await self.value(expression.expr, steps, wanted, depth + 1)
            case promql.UnaryExpr():
                return _negated(await self.value(expression.expr, steps, None, depth + 1))
            case promql.VectorSelector():
                return await self._selected(expression, steps, None, wanted)
            case promql.Call():
                return await self._called(expression, steps, wanted, depth)
            case promql.AggregateExpr():
                return await self._aggregated(expression, steps, depth)
            case promql.BinaryExpr():
                return await self._combined(expression, steps, depth)
            case promql.MatrixSelector() | promql.SubqueryExpr():
                raise BadQuery("a range such as [5m] needs a function around it: rate, increase, ..._over_time")
        raise BadQuery(f"{type(expression).__name__} is not supported")

    async def _selected(
        self, selector: Any, steps: Steps, range_us: int | None, wanted: Collection[str] | None
    ) -> Vector:
        """Increases in a range before each step, or without one all that was counted up to it."""
        if selector.at is not None:
            raise BadQuery("the @ modifier is not supported")
        ends = steps.moved(_us(selector.offset)).at_us
        begins = [self._origin_us if range_us is None else at - range_us for at in ends]
        begins = [min(begin, end) for begin, end in zip(begins, ends, strict=True)]
        return await select(self._source, matchers_of(selector), windows(begins, ends), wanted, range_us is None)

    async def _called(self, call: Any, steps: Steps, wanted: Collection[str] | None, depth: int) -> Result:
        name = call.func.name
        if name not in FUNCTIONS:
            raise BadQuery(f"the function {name} is not supported; these are: {', '.join(FUNCTIONS)}")
        if name == "time":
            return np.array(steps.at_us) / SECOND_US
        if name in _OF_RANGE:
            return await self._of_range(name, call.args[0], steps, wanted, depth)
        arguments = [await self.value(one, steps, None, depth + 1) for one in call.args]
        if name == "histogram_quantile":
            return vectors.quantile_of_buckets(_scalar(arguments[0]), _vector(arguments[1]))
        if name == "clamp_min":
            least = _scalar(arguments[1])
            return [Series(without_name(one.labels), np.maximum(one.values, least)) for one in _vector(arguments[0])]
        if name == "scalar":
            vector = _vector(arguments[0])
            return vector[0].values if len(vector) == 1 else np.full(len(steps.at_us), math.nan)
        return [Series((), _scalar(arguments[0]))]

    async def _of_range(
        self, name: str, argument: Any, steps: Steps, wanted: Collection[str] | None, depth: int
    ) -> Vector:
        while isinstance(argument, promql.ParenExpr):
            argument = argument.expr
        if name in _OVER_TIME:
            return await self._over_time(name, argument, steps, depth)
        if not isinstance(argument, promql.MatrixSelector):
            raise BadQuery(f"{name} needs a counter with a range, such as {name}(callmeter_calls_total[5m])")
        range_us = _us(argument.range)
        found = await self._selected(argument.vector_selector, steps, range_us, wanted)
        per = range_us / SECOND_US if name == "rate" else 1.0
        return [Series(without_name(labels), values / per) for labels, values in found]

    async def _over_time(self, name: str, argument: Any, steps: Steps, depth: int) -> Vector:
        """A reduction of what an expression was in a range before each step, every minute or every `[range:step]`."""
        range_us, step_us, offset_us = _us(argument.range), DEFAULT_INNER_STEP_US, 0
        if isinstance(argument, promql.MatrixSelector):
            inner = argument.vector_selector
        else:
            inner, offset_us = argument.expr, _us(argument.offset)
            step_us = _us(argument.step) or DEFAULT_INNER_STEP_US
        ends = steps.moved(offset_us).at_us
        first, last = (ends[0] - range_us) // step_us + 1, ends[-1] // step_us
        if last - first >= INNER_STEPS_MAX:
            raise BadQuery(f"a range is looked at in more than {INNER_STEPS_MAX:,} steps: widen its step")
        grid = Steps(tuple(at * step_us for at in range(first, last + 1)))
        if not grid.at_us:
            return []
        found = _vector(await self.value(inner, grid, None, depth + 1))
        begins = [(end - range_us) // step_us + 1 - first for end in ends]
        untils = [end // step_us + 1 - first for end in ends]
        if len(found) * sum(until - max(begin, 0) for begin, until in zip(begins, untils, strict=True)) > LOOKED_AT_MAX:
            raise BadQuery(
                f"ranges hold more than {LOOKED_AT_MAX:,} values: match fewer, or widen the step", "execution", 422
            )
        if not found:
            return []
        rows = np.array([one.values for one in found])
        reduced = np.empty((len(found), len(steps.at_us)))
        for at, (begin, until) in enumerate(zip(begins, untils, strict=True)):
            reduced[:, at] = _reduce(_OVER_TIME[name], rows[:, max(begin, 0) : until])
        return [Series(without_name(one.labels), row) for one, row in zip(found, reduced, strict=True)]

    async def _aggregated(self, node: Any, steps: Steps, depth: int) -> Vector:
        operator = str(node.op)
        if operator not in AGGREGATIONS:
            raise BadQuery(f"the aggregation {operator} is not supported; these are: {', '.join(AGGREGATIONS)}")
        names: Sequence[str] = node.modifier.labels if node.modifier is not None else ()
        keep = node.modifier is None or node.modifier.type == promql.AggModifierType.By
        # A sum of sums is the same from whatever pieces: only the labels that are left have to be told apart.
        wanted = names if operator == "sum" and keep else None
        vector = _vector(await self.value(node.expr, steps, wanted, depth + 1))
        if operator in ("topk", "bottomk"):
            count = _scalar(await self.value(node.param, steps, None, depth + 1))[0]
            if math.isnan(count) or count >= 1_000_000:
                raise BadQuery(f"{operator} needs a count below a million")
            return vectors.top(vector, int(count), names, keep, operator == "topk")
        return vectors.aggregate(operator, vector, names, keep)

    async def _combined(self, node: Any, steps: Steps, depth: int) -> Result:
        operator, modifier = str(node.op), node.modifier
        if operator not in vectors.ARITHMETIC and operator not in vectors.COMPARISONS:
            raise BadQuery(f"the operator {operator} is not supported")
        if modifier is not None and modifier.card != promql.VectorMatchCardinality.OneToOne:
            raise BadQuery("group_left and group_right are not supported")
        left = await self.value(node.lhs, steps, None, depth + 1)
        right = await self.value(node.rhs, steps, None, depth + 1)
        as_bool = modifier is not None and modifier.return_bool
        if isinstance(left, list) and isinstance(right, list):
            matching = modifier.matching if modifier is not None else None
            names = None if matching is None else matching.labels
            keep = matching is not None and matching.type == promql.LabelModifierType.Include
            return vectors.combine_vectors(operator, left, right, names, keep, as_bool)
        if isinstance(left, list):
            return _each(operator, left, lambda values: (values, _scalar(right)), as_bool)
        if isinstance(right, list):
            return _each(operator, right, lambda values: (_scalar(left), values), as_bool)
        if operator in vectors.COMPARISONS and not as_bool:
            raise BadQuery("comparisons between scalars must use bool")
        return vectors.combine(operator, left, right, True, left)


def _reduce(reduction: Callable[..., Values], rows: Values) -> Values:
    """Return one number of each row; of a row without any, none."""
    absent = np.isnan(rows).all(axis=1)
    found = np.full(len(rows), np.nan)
    if not absent.all():
        found[~absent] = reduction(rows[~absent], axis=1)
    return found


def _each(operator: str, vector: Vector, sides: Callable[[Values], tuple[Values, Values]], as_bool: bool) -> Vector:
    """A binary operator between each series and a scalar; a comparison keeps the series' own value and name."""
    keeps_name = operator in vectors.COMPARISONS and not as_bool
    found = []
    for labels, values in vector:
        left, right = sides(values)
        combined = vectors.combine(operator, left, right, as_bool, values)
        found.append(Series(labels if keeps_name else without_name(labels), combined))
    return found


def _negated(result: Result) -> Result:
    if isinstance(result, list):
        return [Series(without_name(one.labels), -one.values) for one in result]
    return -result


def _vector(result: Result) -> Vector:
    if not isinstance(result, list):
        raise BadQuery("a vector is expected, not a scalar")
    return result


def _scalar(result: Result) -> Values:
    if isinstance(result, list):
        raise BadQuery("a scalar is expected, not a vector")
    return result


def _us(duration: timedelta | None) -> int:
    return 0 if duration is None else round(duration / timedelta(microseconds=1))
