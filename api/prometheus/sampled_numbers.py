"""The numbers under a selector: what each labelled group of calls adds up to in each interval. Pure.

Numbers are linear, so those of calls without a value of a label are what is left of the whole.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from aggregator.reading.view_rollups import ALL, ViewRollups
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, USAGE_METRICS, Series, model_of
from aggregator.rollups.view import OP, View
from aggregator.rollups.views import facet_value
from api.prometheus.metrics import LATENCY_MS, Metric
from api.prometheus.vectors import Values

Group = tuple[View, str]
"""Which calls: the values of labels, and the model, "" for all."""


class Numbers(NamedTuple):
    """Arrays by group: shape (intervals,), of a histogram (bounds + 1, intervals), cumulative, the last for +Inf."""

    by_group: dict[Group, Values]


def numbers_of(read: ViewRollups, metric: Metric, dimensions: int) -> Numbers:
    """Return what each view's calls add up to for a metric, those left over of the whole among them."""
    by_group = _by_view(read, metric)
    if metric.is_of_model_calls:
        by_group = {
            (view._replace(facet=None), facet_value(view.facet or "")): row for (view, _), row in by_group.items()
        }
    elif dimensions and dimensions & (dimensions - 1) == 0:
        for (view, model), values in list(by_group.items()):
            if view != ALL and (ALL, model) in by_group:
                by_group[ALL, model] = by_group[ALL, model] - values
        if dimensions == OP:
            by_group = {group: values for group, values in by_group.items() if group[0] != ALL}
    elif dimensions:
        for (view, model), values in list(by_group.items()):
            whole = (View(op_name=view.op_name), model)
            if view.dimensions != OP and whole in by_group:
                by_group[whole] = by_group[whole] - values
    return Numbers({group: values for group, values in by_group.items() if np.any(values)})


def _by_view(read: ViewRollups, metric: Metric) -> dict[Group, Values]:
    views, intervals = read.views, read.intervals
    if metric.quantity in ("calls", "errors"):
        counts = np.array(read.merged.calls if metric.quantity == "calls" else read.merged.errors, dtype=np.float64)
        return {(view, ""): counts[at * intervals : (at + 1) * intervals] for at, view in enumerate(views)}
    series = OF_LATENCY if metric.quantity == LATENCY_MS else OF_USAGE
    position = 0 if series is OF_LATENCY else USAGE_METRICS.index(metric.quantity)
    if metric.part == "bucket":
        return _histograms(read, metric, series, position)
    return _totals(read, metric, series, position)


def _totals(read: ViewRollups, metric: Metric, series: Series, position: int) -> dict[Group, Values]:
    layout = series.layout
    found = read.merged.totals(series)
    if metric.part == "sum":
        values = layout.float_sums(found.rows, position)
    else:
        values = found.rows[:, layout.counts[position]].astype(np.float64)
    by_group: dict[Group, Values] = {}
    for at, (bucket, name) in enumerate(found.keys):
        value = float(values[at])
        large = found.large.get((bucket, name))
        if large is not None:
            value = float(layout.sum(large, position) if metric.part == "sum" else large[layout.counts[position]])
        view, interval = divmod(bucket, read.intervals)
        group = (read.views[view], "" if name == LATENCY else model_of(name))
        row = by_group.get(group)
        if row is None:
            row = by_group[group] = np.zeros(read.intervals)
        row[interval] += value / metric.scale if metric.part == "sum" else value
    return by_group


def _histograms(read: ViewRollups, metric: Metric, series: Series, position: int) -> dict[Group, Values]:
    bounds = np.array([*metric.bounds, np.inf]) * metric.scale
    by_group: dict[Group, Values] = {}
    for (bucket, name), values in read.merged.values.items():
        if (name == LATENCY) is not (series is OF_LATENCY):
            continue
        view, interval = divmod(bucket, read.intervals)
        group = (read.views[view], "" if name == LATENCY else model_of(name))
        row = by_group.get(group)
        if row is None:
            row = by_group[group] = np.zeros((len(bounds), read.intervals))
        row[:, interval] += values.counts_up_to(series, position, bounds)
    return by_group


def labels_of_view(view: View, dimensions: int) -> Mapping[str, str]:
    """The labels that a view's calls have, of the dimensions that are told apart."""
    values = {
        "op_name": view.op_name or "",
        "root": "true" if view.root else "false",
        "wb_user_id": view.user_id or "",
        "wb_run_id": view.run_id or "",
    }
    return {name: values[name] for at, name in enumerate(values) if dimensions >> at & 1}
