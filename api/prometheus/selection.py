"""Plans what a selector and steps read: the views that tell its labels apart, and the intervals its windows need."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from aggregator.rollups.view import OP, View
from aggregator.time_units import MINUTE_US
from api.prometheus.bad_query import BadQuery
from api.prometheus.gen_ai_labels import OPERATION
from api.prometheus.matching import Matcher, all_match, of_label
from api.prometheus.metrics import BOUND, DIMENSION_LABELS, METRICS, NAME, PROJECT, Metric
from api.prometheus.sampled_numbers import Numbers, labels_of_view
from api.prometheus.vectors import Series, Values, Vector, labels_of

# Metrics that one selector without a name may mean.
METRICS_AT_ONCE_MAX = 40
# Series of an answer: 2 MB of JSON for a hundred steps.
SERIES_MAX = 5_000


class Windows(NamedTuple):
    """The window of each step whose calls count: `[edges_us[begins[i]], edges_us[ends[i]])`."""

    edges_us: Sequence[int]
    begins: Sequence[int]
    ends: Sequence[int]


class NumberSource(Protocol):
    """Where numbers of a project come from. Raises BadQuery."""

    async def numbers(
        self, project_id: str, metrics: Sequence[Metric], dimensions: int, edges_us: Sequence[int], series_max: int
    ) -> list[Numbers]:
        """Returns for each metric the numbers between neighbouring edges, which may have been moved to what is kept."""
        ...

    async def project_ids(self, matchers: Sequence[Matcher]) -> list[str]:
        """The readable projects that a selector means."""
        ...


def windows(begins_us: Sequence[int], ends_us: Sequence[int]) -> Windows:
    """Windows on whole minutes, with the edges of all of them in order."""
    begins = [at // MINUTE_US * MINUTE_US for at in begins_us]
    ends = [at // MINUTE_US * MINUTE_US for at in ends_us]
    edges = sorted({*begins, *ends})
    places = {at: place for place, at in enumerate(edges)}
    return Windows(edges, [places[at] for at in begins], [places[at] for at in ends])


def metrics_meant(matchers: Sequence[Matcher]) -> dict[str, tuple[Metric, ...]]:
    """Return the metrics that a selector means, by name. Raises BadQuery where it means too many."""
    of_name = of_label(matchers, NAME)
    if not of_name:
        raise BadQuery("a selector needs the name of a metric")
    found = {name: kinds for name, kinds in METRICS.items() if all(one.matches(name) for one in of_name)}
    if len(found) > METRICS_AT_ONCE_MAX:
        raise BadQuery(f"the selector means {len(found)} metrics, more than {METRICS_AT_ONCE_MAX}: name one")
    return found


def dimensions_needed(matchers: Sequence[Matcher], wanted: Collection[str] | None) -> int:
    """Return which dimensions must be told apart: those that a matcher names, and those wanted of the answer (None:
    all).
    """
    needed = 0
    for at, label in enumerate(DIMENSION_LABELS):
        if wanted is None or label in wanted or of_label(matchers, label):
            needed |= 1 << at
    return needed


async def select(
    source: NumberSource,
    matchers: Sequence[Matcher],
    within: Windows,
    wanted: Collection[str] | None,
    cumulative: bool,
    series_max: int = SERIES_MAX,
) -> Vector:
    """The increase of each series in each window, of no more than `series_max`. See `each_series`."""
    found: Vector = []

    def take(some: Vector) -> bool:
        found.extend(some)
        return len(found) <= series_max

    await each_series(source, matchers, within, wanted, cumulative, series_max, take)
    if len(found) > series_max:
        raise BadQuery(f"the query has more than {series_max:,} series: aggregate, or match fewer", "execution", 422)
    return found


async def each_series(
    source: NumberSource,
    matchers: Sequence[Matcher],
    within: Windows,
    wanted: Collection[str] | None,
    cumulative: bool,
    groups_max: int,
    take: Callable[[Vector], bool],
) -> None:
    """Give the increase of each series in each window to `take`, some at a time, until it wants no more (False).

    `wanted`: the labels that the query looks at, None: all. `cumulative`: a series is absent while nothing of it has
    been counted. `groups_max`: groups of calls that are read of a project at most. Raises BadQuery.
    """
    meant = metrics_meant(matchers)
    dimensions = dimensions_needed(matchers, wanted)
    if any(metric.is_gen_ai for kinds in meant.values() for metric in kinds):
        # What an operation is, its op's name says.
        dimensions |= OP * (wanted is None or OPERATION in wanted or bool(of_label(matchers, OPERATION)))
    others = [one for one in matchers if one.label != NAME]
    for project_id in await source.project_ids(matchers):
        kinds = [(name, metric) for name, of_name in meant.items() for metric in of_name]
        metrics = [metric for _, metric in kinds]
        of_project = await source.numbers(project_id, metrics, dimensions, within.edges_us, groups_max)
        for (name, metric), numbers in zip(kinds, of_project, strict=True):
            for (view, model), values in numbers.by_group.items():
                one = (name, metric, project_id, view, model, dimensions, values)
                if not take(_series(*one, within, others, cumulative)):
                    return


def _series(
    name: str,
    metric: Metric,
    project_id: str,
    view: View,
    model: str,
    dimensions: int,
    values: Values,
    within: Windows,
    others: Sequence[Matcher],
    cumulative: bool,
) -> Vector:
    of_metric = metric.labels_of(model, view.op_name if dimensions & OP else None)
    labels = {NAME: name, PROJECT: project_id, **labels_of_view(view, dimensions), **of_metric}
    found: Vector = []
    rows = [(None, values)] if metric.part != "bucket" else list(zip(bounds_of(metric), values, strict=True))
    # A histogram is there with all its buckets as soon as the last, which counts everything, is.
    is_there = _increase(rows[-1][1], within) > 0
    for bound, row in rows:
        named = labels if bound is None else labels | {BOUND: bound}
        if all_match(others, named):
            increase = _increase(row, within)
            found.append(Series(labels_of(named), np.where(is_there, increase, np.nan) if cumulative else increase))
    return found


def _increase(row: Values, within: Windows) -> Values:
    """Return what is added in each window."""
    summed = np.concatenate([[0.0], np.cumsum(row)])
    increase: Values = summed[list(within.ends)] - summed[list(within.begins)]
    return increase


def bounds_of(metric: Metric) -> list[str]:
    """The bounds of a histogram as its label names them, the last for all."""
    return [*(format(bound, "g") if bound < 1e5 else str(int(bound)) for bound in metric.bounds), "+Inf"]
