"""The rows of an answer: the values of one bucket under the keys that were asked for, in their order."""

from collections.abc import Callable, Sequence
from typing import Any

from aggregator.merged import Merged
from aggregator.rollup import (
    COST_METRICS,
    MAXIMUM,
    MINIMUM,
    ONES,
    PICO_PER_DOLLAR,
    SUM,
    TOTALS,
    USAGE_METRICS,
    ZEROS,
    ModelRollup,
    Rollup,
)
from aggregator.sketch import Packed, quantiles
from api.questions import MetricQuestion

Row = dict[str, Any]
Scale = Callable[[float], float]


def call_row(timestamp: str, bucket: Merged, metrics: Sequence[MetricQuestion]) -> Row:
    """A row of `call_buckets`."""
    rollup = bucket.rollup
    row: Row = {"timestamp": timestamp}
    for metric in metrics:
        if metric.metric == "latency_ms":
            _fill(row, metric, rollup.finished, rollup.latency, bucket.latencies, _same)
        else:
            _fill(row, metric, rollup.calls, _call_totals(rollup, metric.metric), None, _same)
    row["count"] = rollup.calls
    return row


def usage_row(
    timestamp: str, model: str, bucket: Merged, metrics: Sequence[MetricQuestion], priced_in_window: bool
) -> Row:
    """A row of `usage_buckets`. A cost is null where rows lack a price, and in empty buckets of a model that never
    has one.
    """
    rollup = bucket.rollup.models.get(model) or ModelRollup()
    sketches = bucket.usage.get(model)
    row: Row = {"timestamp": timestamp, "model": model}
    for metric in metrics:
        position = USAGE_METRICS.index(metric.metric)
        is_cost = metric.metric in COST_METRICS
        count = rollup.priced if is_cost else rollup.rows
        totals = rollup.totals[position * TOTALS : (position + 1) * TOTALS]
        _fill(row, metric, count, totals, sketches[position] if sketches else [], _dollars if is_cost else _same)
        if is_cost and not count and (rollup.rows or not priced_in_window):
            _make_null(row, metric)
    row["count"] = rollup.rows
    return row


def _call_totals(rollup: Rollup, metric: str) -> list[int]:
    """Totals of a metric whose values are all 0 or 1."""
    ones = rollup.calls if metric == "call_count" else rollup.errors
    return [ones, int(ones == rollup.calls), int(ones > 0), ones, rollup.calls - ones]


def _fill(
    row: Row, metric: MetricQuestion, count: int, totals: list[int], sketches: list[Packed] | None, scale: Scale
) -> None:
    for aggregation in metric.aggregations:
        row[f"{aggregation}_{metric.metric}"] = _aggregated(aggregation, count, totals, scale)
    if not metric.percentiles:
        return
    keys = metric.keys[len(metric.aggregations) :]
    if not count or sketches == []:  # the sketches may have expired a moment before the totals
        row.update(dict.fromkeys(keys))
        return
    wanted = [percentile / 100 for percentile in metric.percentiles]
    if sketches is None:
        values = [_zero_one_quantile(quantile, totals[ZEROS], count) for quantile in wanted]
    else:
        values = quantiles(sketches, wanted, totals[MINIMUM], totals[MAXIMUM])
    row.update((key, scale(value)) for key, value in zip(keys, values, strict=True))


def _zero_one_quantile(quantile: float, zeros: int, count: int) -> float:
    """The quantile of values of which `zeros` are 0 and the rest 1: two counts tell it, no sketch is kept."""
    return min(max(quantile * (count - 1) - (zeros - 1), 0.0), 1.0) if zeros else 1.0


def _aggregated(aggregation: str, count: int, totals: list[int], scale: Scale) -> float | None:
    if not count:
        return None if aggregation in ("min", "max") else 0
    match aggregation:
        case "sum":
            return scale(totals[SUM])
        case "avg":
            return scale(totals[SUM] / count)
        case "min":
            return scale(totals[MINIMUM])
        case "max":
            return scale(totals[MAXIMUM])
        case "count":
            return count
        case "count_true":
            return totals[ONES]
        case _:
            return totals[ZEROS]


def _make_null(row: Row, metric: MetricQuestion) -> None:
    for aggregation in metric.aggregations:
        if not aggregation.startswith("count"):
            row[f"{aggregation}_{metric.metric}"] = None


def _same(value: float) -> float:
    return value


def _dollars(value: float) -> float:
    return value / PICO_PER_DOLLAR
