"""Vectors: series of labels with a value at each step, and the algebra of PromQL on them. Pure.

A step at which a series has no value holds NaN, as a series that is absent there.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from api.prometheus.bad_query import BadQuery
from api.prometheus.metrics import BOUND, NAME

Values = NDArray[np.float64]
Labels = tuple[tuple[str, str], ...]
"""Names and values of labels, in the order of the names; the metric's own name among them as `__name__`."""


class Series(NamedTuple):
    """One series: its labels, and its value at each step."""

    labels: Labels
    values: Values


Vector = list[Series]


def labels_of(values: Mapping[str, str]) -> Labels:
    """Labels in their order; an empty one is an absent one."""
    return tuple(sorted((name, value) for name, value in values.items() if value))


def without_name(labels: Labels) -> Labels:
    """The labels of what was worked out from a metric: it is the metric no longer."""
    return tuple(one for one in labels if one[0] != NAME)


def grouped(labels: Labels, names: Iterable[str], keep: bool) -> Labels:
    """The labels of these names alone, or all but these and the metric's name."""
    wanted = set(names) if keep else {*names, NAME}
    return tuple(one for one in labels if (one[0] in wanted) is keep)


_REDUCTIONS: dict[str, Callable[[Values], Values]] = {
    "sum": lambda rows: np.where(np.isnan(rows).all(axis=0), np.nan, np.nansum(rows, axis=0)),
    "avg": lambda rows: _quietly(np.nanmean, rows),
    "min": lambda rows: _quietly(np.nanmin, rows),
    "max": lambda rows: _quietly(np.nanmax, rows),
    "count": lambda rows: np.where(np.isnan(rows).all(axis=0), np.nan, (~np.isnan(rows)).sum(axis=0)),
}
REDUCTIONS = frozenset(_REDUCTIONS)


def aggregate(operator: str, vector: Vector, names: Sequence[str], keep: bool) -> Vector:
    """`sum`, `avg`, `min`, `max` or `count` of the series that share the labels `by` or `without` these names."""
    groups: dict[Labels, list[Values]] = {}
    for labels, values in vector:
        groups.setdefault(grouped(labels, names, keep), []).append(values)
    return [Series(labels, _REDUCTIONS[operator](np.array(rows))) for labels, rows in groups.items()]


def top(vector: Vector, count: int, names: Sequence[str], keep: bool, largest: bool) -> Vector:
    """`topk` or `bottomk`: at each step the `count` largest or smallest values of a group; the others are absent."""
    groups: dict[Labels, list[Series]] = {}
    for one in vector:
        groups.setdefault(grouped(one.labels, names, keep), []).append(one)
    found: Vector = []
    for of_group in groups.values():
        rows = np.array([one.values for one in of_group])
        order = np.where(np.isnan(rows), np.inf, -rows if largest else rows)
        ranked = np.argsort(np.argsort(order, axis=0, kind="stable"), axis=0)
        kept = np.where(ranked < max(count, 0), rows, np.nan)
        found += [Series(one.labels, values) for one, values in zip(of_group, kept, strict=True)]
    return [one for one in found if not np.isnan(one.values).all()]


ARITHMETIC: dict[str, Callable[[Values, Values], Values]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": np.power,
}
COMPARISONS: dict[str, Callable[[Values, Values], NDArray[np.bool_]]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}


def combine(operator: str, left: Values, right: Values, as_bool: bool, kept: Values) -> Values:
    """Values of a binary operator by step; a comparison keeps `kept` where it holds, with `bool` it gives 1 or 0."""
    with np.errstate(all="ignore"):
        if operator in ARITHMETIC:
            return ARITHMETIC[operator](left, right)
        holds = COMPARISONS[operator](left, right)
    absent = np.isnan(kept)
    if as_bool:
        return np.where(absent, np.nan, holds.astype(np.float64))
    return np.where(holds, kept, np.nan)


def combine_vectors(
    operator: str, left: Vector, right: Vector, names: Sequence[str] | None, keep: bool, as_bool: bool
) -> Vector:
    """A binary operator of two vectors, one to one by all labels, `on` some or `ignoring` some. Raises BadQuery."""

    def key(labels: Labels) -> Labels:
        return without_name(labels) if names is None else grouped(labels, names, keep)

    others: dict[Labels, Values] = {}
    for labels, values in right:
        if others.setdefault(key(labels), values) is not values:
            raise _ambiguous("right")
    found: Vector = []
    seen: set[Labels] = set()
    for labels, values in left:
        matched = key(labels)
        if matched not in others:
            continue
        if matched in seen:
            raise _ambiguous("left")
        seen.add(matched)
        kept_labels = labels if operator in COMPARISONS and not as_bool else matched
        found.append(Series(kept_labels, combine(operator, values, others[matched], as_bool, values)))
    return found


def _ambiguous(side: str) -> BadQuery:
    why = f"several series on the {side} side match: name labels with on(...) or aggregate first"
    return BadQuery(why, "execution", 422)


def quantile_of_buckets(quantile: Values, vector: Vector) -> Vector:
    """`histogram_quantile`: by group of cumulative buckets, linear inside a bucket, as Prometheus does it.

    Source: promql/quantile.go of Prometheus (bucketQuantile).
    """
    groups: dict[Labels, list[tuple[float, Values]]] = {}
    for labels, values in vector:
        bound = dict(labels).get(BOUND)
        if bound is not None:
            groups.setdefault(grouped(labels, (BOUND,), False), []).append((float(bound), values))
    found: Vector = []
    for labels, buckets in groups.items():
        buckets.sort(key=lambda one: one[0])
        bounds = np.array([bound for bound, _ in buckets])
        counts = np.maximum.accumulate(np.nan_to_num(np.array([values for _, values in buckets])), axis=0)
        if np.isinf(bounds[-1]) and len(bounds) > 1:
            row = [_bucket_quantile(float(at), bounds, column) for at, column in zip(quantile, counts.T, strict=True)]
            found.append(Series(labels, np.array(row)))
    return found


def _bucket_quantile(quantile: float, bounds: Values, counts: Values) -> float:
    total = counts[-1]
    if total == 0 or np.isnan(quantile):
        return float("nan")
    if quantile < 0 or quantile > 1:
        return float("-inf") if quantile < 0 else float("inf")
    rank = quantile * total
    at = int(np.searchsorted(counts[:-1], rank))
    if at >= len(bounds) - 1:
        return float(bounds[-2])
    low, before = (0.0, 0.0) if at == 0 else (float(bounds[at - 1]), float(counts[at - 1]))
    if at == 0 and bounds[0] <= 0:
        return float(bounds[0])
    within = counts[at] - before
    return low + (float(bounds[at]) - low) * ((rank - before) / within if within else 1.0)


def _quietly(reduction: Callable[..., Values], rows: Values) -> Values:
    absent = np.isnan(rows).all(axis=0)
    found = np.full(rows.shape[1], np.nan)
    if not absent.all():
        found[~absent] = reduction(rows[:, ~absent], axis=0)
    return found
