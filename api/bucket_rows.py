"""The rows of an answer: the values of one bucket under the keys that were asked for, in their order."""

from collections.abc import Callable, Sequence
from typing import Any

from aggregator.merged import Merged, Values
from aggregator.series import COST_METRICS, LATENCY, OF_LATENCY, OF_USAGE, USAGE_METRICS, Series
from aggregator.totals import LOW_BITS, PICO_PER_DOLLAR, PRICED, ROWS, Totals
from api.questions import MetricQuestion

Row = dict[str, Any]
Aggregated = Callable[[Totals, int], float]
"""Computes an aggregation from totals and how many values they are of, at least one."""


class MetricColumns:
    """The keys of one metric in the rows of an answer, and what stands under each: worked out once for all rows."""

    def __init__(self, question: MetricQuestion) -> None:
        self.metric = question.metric
        self.is_cost = self.metric in COST_METRICS
        is_usage = self.metric in USAGE_METRICS
        self._series = OF_USAGE if is_usage else OF_LATENCY
        self._position = USAGE_METRICS.index(self.metric) if is_usage else 0
        aggregations = question.aggregations
        self._aggregated = [
            (key, _aggregation(aggregation, self._series, self._position, self.is_cost))
            for aggregation, key in zip(aggregations, question.keys, strict=False)
        ]
        self._percentile_keys = question.keys[len(aggregations) :]
        self._quantiles = [percentile / 100 for percentile in question.percentiles]
        self._empty: Row = {
            key: None if aggregation in ("min", "max") else 0
            for aggregation, key in zip(aggregations, question.keys, strict=False)
        } | dict.fromkeys(self._percentile_keys)
        self._null: Row = {
            key: 0 if aggregation.startswith("count") else None
            for aggregation, key in zip(aggregations, question.keys, strict=False)
        } | dict.fromkeys(self._percentile_keys)

    def fill(self, row: Row, totals: Totals, count: int, values: Values | None) -> None:
        """Add the keys of a bucket with `count` values; without any, the usual zeros and nulls."""
        if not count:
            row.update(self._empty)
            return
        for key, aggregated in self._aggregated:
            row[key] = aggregated(totals, count)
        if not self._quantiles:
            return
        layout, at = self._series.layout, self._position
        ends = totals[layout.minima + at], totals[layout.maxima + at]
        # What is kept beside a cell may have expired a moment before the cell.
        found = None if values is None else values.quantiles(self._series, at, self._quantiles, *ends)
        if found is None:
            row.update(dict.fromkeys(self._percentile_keys))
        elif self.is_cost:
            row.update(zip(self._percentile_keys, [value / PICO_PER_DOLLAR for value in found], strict=True))
        else:
            row.update(zip(self._percentile_keys, found, strict=True))

    def fill_flags(self, row: Row, ones: int, count: int) -> None:
        """Add the keys of a metric whose values are all 0 or 1: two counts tell everything, no value is kept."""
        zeros = count - ones
        self.fill(row, [count, 0, ones, 0, ones, zeros, int(not zeros), int(ones > 0)], count, None)
        if count:
            row.update(
                (key, _zero_one_quantile(quantile, zeros, count))
                for key, quantile in zip(self._percentile_keys, self._quantiles, strict=True)
            )

    def fill_null(self, row: Row) -> None:
        """Add the keys of a cost where nothing is priced: null, but for counts."""
        row.update(self._null)


def call_row(timestamp: str, bucket: Merged, metrics: Sequence[MetricColumns]) -> Row:
    """A row of `call_buckets`."""
    row: Row = {"timestamp": timestamp}
    for columns in metrics:
        if columns.metric == "latency_ms":
            totals = bucket.totals.get(LATENCY)
            columns.fill(row, totals or [], totals[ROWS] if totals else 0, bucket.values.get(LATENCY))
        else:
            columns.fill_flags(row, bucket.calls if columns.metric == "call_count" else bucket.errors, bucket.calls)
    row["count"] = bucket.calls
    return row


def usage_row(
    timestamp: str, model: str, name: bytes, bucket: Merged, metrics: Sequence[MetricColumns], priced_in_window: bool
) -> Row:
    """A row of `usage_buckets`: the series `name`, which is the model's.

    A cost is null where rows lack a price, and in empty buckets of a model that never has one.
    """
    totals = bucket.totals.get(name)
    rows, priced = (totals[ROWS], totals[PRICED]) if totals else (0, 0)
    values = bucket.values.get(name)
    row: Row = {"timestamp": timestamp, "model": model}
    for columns in metrics:
        if columns.is_cost and not priced and (rows or not priced_in_window):
            columns.fill_null(row)
        else:
            columns.fill(row, totals or [], priced if columns.is_cost else rows, values)
    row["count"] = rows
    return row


def _aggregation(aggregation: str, series: Series, metric: int, is_cost: bool) -> Aggregated:
    layout = series.layout
    low, high = layout.low + metric, layout.high + metric
    match aggregation:
        case "sum":
            return _dollars(lambda totals, _: totals[low] + (totals[high] << LOW_BITS), is_cost)
        case "avg":
            return _dollars(lambda totals, count: (totals[low] + (totals[high] << LOW_BITS)) / count, is_cost)
        case "min":
            return _dollars(lambda totals, _: totals[layout.minima + metric], is_cost)
        case "max":
            return _dollars(lambda totals, _: totals[layout.maxima + metric], is_cost)
        case "count":
            return lambda _, count: count
        case "count_true":
            return lambda totals, _: totals[layout.ones + metric]
        case _:
            return lambda totals, _: totals[layout.zeros + metric]


def _dollars(picodollars: Aggregated, is_cost: bool) -> Aggregated:
    if not is_cost:
        return picodollars
    return lambda totals, count: picodollars(totals, count) / PICO_PER_DOLLAR


def _zero_one_quantile(quantile: float, zeros: int, count: int) -> float:
    """The quantile of values of which `zeros` are 0 and the rest 1."""
    return min(max(quantile * (count - 1) - (zeros - 1), 0.0), 1.0) if zeros else 1.0
