"""The rows of a breakdown: in their order, the first ones each by itself and the others as one."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from aggregator.rollups.accumulator import Merged
from aggregator.rollups.regrouping import move_buckets
from aggregator.rollups.series import OF_USAGE
from aggregator.rollups.view_values import DimensionValue
from api.query.breakdown_question import BreakdownQuestion
from api.query.breakdown_reading import Broken
from api.query.questions import MetricQuestion
from api.query.rows import call_rows, empty_usage_row, usage_rows

Json = dict[str, Any]

COUNT = "count"
# Keys whose values add up over rows, so that a row has a share in them.
_SUMS = ("sum_", "count_")


class Ranked(NamedTuple):
    """Rows without shares: of the first values, of all others (None: there are none), and of all calls."""

    values: list[DimensionValue]
    rows: list[Json]
    rest: Json | None
    total: Json
    without_model: int | None


def rank(broken: Broken, question: BreakdownQuestion) -> Ranked:
    """The values in their order, up to the limit, with their rows. Where the order's key is null, last."""
    order = _order(broken, question)
    first, others = order[: question.limit], order[question.limit :]
    rows = _rows_of(broken, first, others, question)
    rest = {"values": len(others)} | rows[len(first)] if others else None
    values = [broken.values[at] for at in first]
    return Ranked(values, rows[: len(first)], rest, rows[-1], broken.without_model)


def rows_of_values(
    broken: Broken, values: Sequence[DimensionValue], question: BreakdownQuestion
) -> tuple[list[Json], Json]:
    """The rows of these values, zeros for those that are not there, and that of all calls."""
    places = {(type(value), value): at for at, value in enumerate(broken.values)}
    found = [places.get((type(value), value)) for value in values]
    rows = iter(_rows_of(broken, [at for at in found if at is not None], [], question))
    [nothing] = _rows(Merged(1), question.call_metrics, question.usage_metrics)
    return [nothing if at is None else next(rows) for at in found], list(rows)[-1]


def share(row: Mapping[str, Any], total: Mapping[str, Any], key: str) -> float | None:
    """The part of the total that a row has, 0 to 1; None where the key is no sum, or nothing is known of it."""
    if not (key == COUNT or key.startswith(_SUMS)) or row[key] is None or total[key] is None:
        return None
    return row[key] / total[key] if total[key] else 0.0


def _order(broken: Broken, question: BreakdownQuestion) -> list[int]:
    """The positions of all values in the order of the rows; equal ones by value, null and false last."""
    key, size = question.order_by, len(broken.values)
    merged = Merged(size)
    move_buckets(broken.merged, {at: at for at in range(size)}, merged)
    rows = _rows(merged, _with_key(question.call_metrics, key), _with_key(question.usage_metrics, key))
    _forget_unknown(rows, broken.of_no_value)
    by_value = sorted(range(size), key=lambda at: (not broken.values[at], str(broken.values[at])))
    known = [at for at in by_value if rows[at][key] is not None]
    known.sort(key=lambda at: rows[at][key], reverse=question.is_descending)
    return known + [at for at in by_value if rows[at][key] is None]


def _with_key(metrics: Sequence[MetricQuestion], key: str) -> tuple[MetricQuestion, ...]:
    """The one metric and aggregation, or percentile, that has this key."""
    for metric in metrics:
        if key in metric.keys:
            at = metric.keys.index(key) - len(metric.aggregations)
            percentiles = (metric.percentiles[at],) if at >= 0 else ()
            return (MetricQuestion(metric.metric, () if percentiles else (metric.aggregations[at],), percentiles),)
    return ()


def _rows_of(broken: Broken, first: Sequence[int], others: Sequence[int], question: BreakdownQuestion) -> list[Json]:
    """The rows of some values, of others as one where there are any, and of all calls."""
    size = len(first) + bool(others) + 1
    targets = {at: position for position, at in enumerate(first)}
    targets |= dict.fromkeys(others, len(first))
    merged = Merged(size)
    move_buckets(broken.merged, targets | {broken.total: size - 1}, merged)
    rows = _rows(merged, question.call_metrics, question.usage_metrics)
    if broken.of_no_value is not None:
        _forget_unknown(rows, targets.get(broken.of_no_value))
    return rows


def _forget_unknown(rows: Sequence[Json], position: int | None) -> None:
    """Forget what is not known of calls without a value: only their sums and counts are."""
    if position is not None:
        row = rows[position]
        row.update({key: None for key in row if key[0] == "p" or key.startswith(("min_", "max_"))})


def _rows(
    merged: Merged, call_metrics: tuple[MetricQuestion, ...], usage_metrics: tuple[MetricQuestion, ...]
) -> list[Json]:
    """The keys and count of each bucket."""
    labels = [""] * len(merged.calls)
    rows: list[Json] = [msgspec.to_builtins(row) for row in call_rows(labels, merged, call_metrics)]
    counts = [row.pop(COUNT) for row in rows]
    if usage_metrics:
        usage = merged.totals(OF_USAGE)
        of_usage = usage_rows(labels, usage, merged, usage_metrics)
        found = dict(zip((bucket for bucket, _ in usage.keys), of_usage, strict=True))
        nothing = empty_usage_row("", "", True, usage_metrics)
        for at, row in enumerate(rows):
            row |= msgspec.to_builtins(found.get(at, nothing))
            del row["model"]
    for row, count in zip(rows, counts, strict=True):
        del row["timestamp"]
        row[COUNT] = count
    return rows
