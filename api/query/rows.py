"""The rows of an answer: the values of the buckets under the keys that were asked for, in their order.

Worked out key by key for all rows at once, and only then put together row by row.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import starmap
from typing import Any

import msgspec

from aggregator.rollups.accumulator import BucketSeries, Merged, SeriesTotals
from aggregator.rollups.row_quantiles import RowQuantiles
from aggregator.rollups.series import COST_METRICS, OF_LATENCY, OF_USAGE, USAGE_METRICS, Series, model_of
from aggregator.rollups.totals import PICO_PER_DOLLAR, PRICED, ROWS, Totals
from aggregator.rollups.values import Values
from api.query.questions import MetricQuestion, StatsQuestion

Row = Any
"""A struct whose fields have the keys' names in JSON: made and encoded in a third of the time of a dict."""

Column = list[Any]

# What is told by counts and sums alone.
_OF_SUMS = {"sum", "avg", "count"}

# Shapes of rows, one for each set of keys that is asked for; some KB each.
SHAPES_CACHED_MAX = 500


def series_needed(question: StatsQuestion) -> tuple[set[Series], set[Series]]:
    """The kinds of series that a question's rows are made of, and those of which counts and sums tell all."""
    by_kind = {
        OF_LATENCY: [metric for metric in question.call_metrics if metric.metric == "latency_ms"],
        OF_USAGE: question.usage_metrics,
    }
    of_sums = {
        kind
        for kind, metrics in by_kind.items()
        if not any(metric.percentiles or set(metric.aggregations) - _OF_SUMS for metric in metrics)
    }
    return {kind for kind, metrics in by_kind.items() if metrics}, of_sums


def call_rows(timestamps: Sequence[str], merged: Merged, metrics: Sequence[MetricQuestion]) -> list[Row]:
    """The rows of `call_buckets`: one for each bucket."""
    latencies = merged.totals(OF_LATENCY)
    places = [bucket for bucket, _ in latencies.keys]
    columns: dict[str, Column] = {"timestamp": list(timestamps)}
    quantiles = _row_quantiles(latencies, merged, metrics)
    for metric in metrics:
        if metric.metric == "latency_ms":
            columns |= _columns(metric, latencies, 0, ROWS, places, merged.values, quantiles, len(timestamps))
        else:
            ones = merged.calls if metric.metric == "call_count" else merged.errors
            columns |= _flag_columns(metric, ones, merged.calls)
    return _rows(columns, merged.calls)


def usage_rows(
    timestamps: Sequence[str], totals: SeriesTotals, merged: Merged, metrics: Sequence[MetricQuestion]
) -> list[Row]:
    """The rows of `usage_buckets` that are not empty: one for each key of `totals`. Costs without a price are null."""
    size = len(totals.keys)
    columns: dict[str, Column] = {
        "timestamp": [timestamps[bucket] for bucket, _ in totals.keys],
        "model": [model_of(name) for _, name in totals.keys],
    }
    quantiles = _row_quantiles(totals, merged, metrics)
    unpriced = [at for at, is_priced in enumerate(priced_rows(totals)) if not is_priced]
    for metric in metrics:
        is_cost = metric.metric in COST_METRICS
        counted = PRICED if is_cost else ROWS
        at = USAGE_METRICS.index(metric.metric)
        found = _columns(metric, totals, at, counted, range(size), merged.values, quantiles, size)
        if is_cost:
            _make_null(found, unpriced)
        columns |= found
    return _rows(columns, _totals_column(totals, ROWS))


def priced_rows(totals: SeriesTotals) -> list[bool]:
    """Whether any of what each row of `usage_rows` counts has a price."""
    return [count > 0 for count in _totals_column(totals, PRICED)]


def empty_usage_row(timestamp: str, model: str, is_priced: bool, metrics: tuple[MetricQuestion, ...]) -> Row:
    """The row of a model in a bucket without it; its costs are null if it is priced nowhere in the answer."""
    keys, values = _empty(metrics, is_priced)
    return _shape("timestamp", "model", *keys, "count")(timestamp, model, *values, 0)


@lru_cache(SHAPES_CACHED_MAX)
def _empty(metrics: tuple[MetricQuestion, ...], is_priced: bool) -> tuple[tuple[str, ...], Column]:
    """Keys, and what stands under them where there is no value."""
    keys: list[str] = []
    values: Column = []
    for metric in metrics:
        keys += metric.keys
        is_null = metric.metric in COST_METRICS and not is_priced
        values += [
            None if aggregation in ("min", "max") or (is_null and not aggregation.startswith("count")) else 0
            for aggregation in metric.aggregations
        ]
        values += [None] * len(metric.percentiles)
    return tuple(keys), values


def _rows(columns: Mapping[str, Column], counts: Column) -> list[Row]:
    shape = _shape(*columns, "count")
    return list(starmap(shape, zip(*columns.values(), counts, strict=True)))


@lru_cache(SHAPES_CACHED_MAX)
def _shape(*keys: str) -> type[msgspec.Struct]:
    # A key such as `p99.9_latency_ms` is no name of a field.
    names = {f"field_{position}": key for position, key in enumerate(keys)}
    return msgspec.defstruct("Row", [(name, Any) for name in names], rename=names, gc=False)


def _columns(
    question: MetricQuestion,
    totals: SeriesTotals,
    metric: int,
    counted: int,
    places: Sequence[int],
    values: Mapping[BucketSeries, Values],
    quantiles: RowQuantiles | None,
    size: int,
) -> dict[str, Column]:
    """The columns of a metric; `places` says which row each key is in, `counted` which total counts its values."""
    counts = _totals_column(totals, counted)
    filled = [(at, place) for at, (place, count) in enumerate(zip(places, counts, strict=True)) if count]
    columns: dict[str, Column] = {}
    for aggregation, key in zip(question.aggregations, question.keys, strict=False):
        column: Column = [None if aggregation in ("min", "max") else 0] * size
        found = _aggregated(aggregation, totals, metric, counts)
        if question.metric in COST_METRICS and not aggregation.startswith("count"):
            found = [value / PICO_PER_DOLLAR for value in found]
        for at, place in filled:
            column[place] = found[at]
        columns[key] = column
    if question.percentiles:
        columns |= _percentile_columns(question, totals, metric, filled, values, quantiles, size)
    return columns


def _row_quantiles(totals: SeriesTotals, merged: Merged, metrics: Sequence[MetricQuestion]) -> RowQuantiles | None:
    """The quantiles of series that have rows alone; None where none are asked for."""
    is_asked = any(metric.percentiles for metric in metrics)
    return RowQuantiles(totals.series, totals.keys, merged.values) if is_asked else None


def _percentile_columns(
    question: MetricQuestion,
    totals: SeriesTotals,
    metric: int,
    filled: Iterable[tuple[int, int]],
    values: Mapping[BucketSeries, Values],
    quantiles: RowQuantiles | None,
    size: int,
) -> dict[str, Column]:
    layout = totals.series.layout
    wanted = [percentile / 100 for percentile in question.percentiles]
    scale = PICO_PER_DOLLAR if question.metric in COST_METRICS else 1
    minima = _totals_column(totals, layout.minima + metric)
    maxima = _totals_column(totals, layout.maxima + metric)
    columns: list[Column] = [[None] * size for _ in wanted]
    known = quantiles.quantiles(metric, wanted) if quantiles else []
    place_of = quantiles.place_of if quantiles else {}
    for at, place in filled:
        if (of_rows := place_of.get(totals.keys[at])) is not None:
            for column, of_each in zip(columns, known, strict=True):
                value = of_each[of_rows]
                column[place] = value if scale == 1 or value is None else value / scale
            continue
        of_series = values.get(totals.keys[at])
        # What is kept beside a cell may have expired a moment before the cell.
        found = of_series and of_series.quantiles(totals.series, metric, wanted, minima[at], maxima[at])
        for column, value in zip(columns, found or (), strict=False):
            column[place] = value / scale if scale != 1 else value
    return dict(zip(question.keys[len(question.aggregations) :], columns, strict=True))


def _aggregated(aggregation: str, totals: SeriesTotals, metric: int, counts: list[int]) -> list[float]:
    layout = totals.series.layout
    match aggregation:
        case "sum":
            return [*_sums(totals, metric)]
        case "avg":
            return [total / (count or 1) for total, count in zip(_sums(totals, metric), counts, strict=True)]
        case "min":
            return [*_totals_column(totals, layout.minima + metric)]
        case "max":
            return [*_totals_column(totals, layout.maxima + metric)]
        case "count":
            return [*counts]
        case "count_true":
            return [*_totals_column(totals, layout.ones + metric)]
        case _:
            return [*_totals_column(totals, layout.zeros + metric)]


def _sums(totals: SeriesTotals, metric: int) -> list[int]:
    layout = totals.series.layout
    return _with_large(totals, layout.sums(totals.rows, metric), lambda large: layout.sum(large, metric))


def _totals_column(totals: SeriesTotals, position: int) -> list[int]:
    column: list[int] = totals.rows[:, position].tolist()
    return _with_large(totals, column, lambda large: large[position])


def _with_large(totals: SeriesTotals, column: list[int], of: Callable[[Totals], int]) -> list[int]:
    if totals.large:
        for at, key in enumerate(totals.keys):
            if key in totals.large:
                column[at] = of(totals.large[key])
    return column


def _make_null(columns: Mapping[str, Column], rows: Iterable[int]) -> None:
    for key, column in columns.items():
        if not key.startswith("count"):
            for row in rows:
                column[row] = None


def _flag_columns(question: MetricQuestion, ones: Sequence[int], counts: Sequence[int]) -> dict[str, Column]:
    """The columns of a metric whose values are all 0 or 1: two counts tell everything, no value is kept."""
    columns: dict[str, Column] = {}
    pairs = list(zip(ones, counts, strict=True))
    for aggregation, key in zip(question.aggregations, question.keys, strict=False):
        columns[key] = [_flags_aggregated(aggregation, *pair) for pair in pairs]
    for percentile, key in zip(question.percentiles, question.keys[len(question.aggregations) :], strict=True):
        columns[key] = [_zero_one_quantile(percentile / 100, *pair) for pair in pairs]
    return columns


def _flags_aggregated(aggregation: str, ones: int, count: int) -> float | None:
    match aggregation:
        case "sum" | "count_true":
            return ones
        case "avg":
            return ones / count if count else 0
        case "min":
            return int(ones == count) if count else None
        case "max":
            return int(ones > 0) if count else None
        case "count":
            return count
        case _:
            return count - ones


def _zero_one_quantile(quantile: float, ones: int, count: int) -> float | None:
    zeros = count - ones
    if not count:
        return None
    return min(max(quantile * (count - 1) - (zeros - 1), 0.0), 1.0) if zeros else 1.0
