"""The algebra of vectors, by hand: sums skip what is absent, matches are one to one, quantiles are Prometheus'."""

import math

import numpy as np
import pytest

from api.prometheus import vectors
from api.prometheus.bad_query import BadQuery
from api.prometheus.vectors import Series, Vector, labels_of

NAN = math.nan


def series(values: list[float], **labels: str) -> Series:
    """A series with these labels."""
    return Series(labels_of(labels), np.array(values))


def as_dict(vector: Vector) -> dict[tuple[tuple[str, str], ...], list[float]]:
    """Values by labels, absent ones as None."""
    return {labels: [None if math.isnan(value) else float(value) for value in values] for labels, values in vector}  # type: ignore[misc]


ABC = [series([1, NAN], op="a", user="x"), series([2, 4], op="a", user="y"), series([5, NAN], op="b")]


@pytest.mark.parametrize(
    ("operator", "expected"),
    [("sum", [3, 4]), ("avg", [1.5, 4]), ("min", [1, 4]), ("max", [2, 4]), ("count", [2, 1])],
)
def test_aggregations(operator: str, expected: list[float]) -> None:
    """A series that is absent at a step takes no part in it; a group without members is absent."""
    found = as_dict(vectors.aggregate(operator, ABC, ["op"], True))
    assert found == {(("op", "a"),): expected, (("op", "b"),): [1 if operator == "count" else 5, None]}


def test_without() -> None:
    """`without` keeps the other labels, and drops the metric's name."""
    named = [series([1], op="a", user="x", __name__="m"), series([2], op="a", user="y", __name__="m")]
    assert as_dict(vectors.aggregate("sum", named, ["user"], False)) == {(("op", "a"),): [3]}


def test_top() -> None:
    """The largest at each step; others are absent there, and gone where they are never among them."""
    rows = [series([3, 1], op="a"), series([2, 2], op="b"), series([1, 0], op="c")]
    assert as_dict(vectors.top(rows, 1, [], True, True)) == {(("op", "a"),): [3, None], (("op", "b"),): [None, 2]}
    assert as_dict(vectors.top(rows, 1, [], True, False)) == {(("op", "c"),): [1, 0]}


def test_matching() -> None:
    """Series are matched one to one by all labels, or by some; one without partner is left out, and two partners are
    refused."""
    right = [series([10, 10], op="a"), series([20, 20], op="z")]
    by_op = [series([1, 2], op="a"), series([3, 4], op="q")]
    found = vectors.combine_vectors("/", by_op, right, None, False, False)
    assert as_dict(found) == {(("op", "a"),): [0.1, 0.2]}
    with pytest.raises(BadQuery, match="left side"):
        vectors.combine_vectors("/", ABC, right, ["op"], True, False)
    with pytest.raises(BadQuery, match="right side"):
        vectors.combine_vectors("/", right, ABC, ["op"], True, False)


def test_comparison() -> None:
    """A comparison keeps what meets it, with its labels; with `bool` it is 1 or 0."""
    left, right = [series([1, 5], op="a", __name__="m")], [series([2, 2], op="a")]
    assert as_dict(vectors.combine_vectors(">", left, right, None, False, False)) == {
        (("__name__", "m"), ("op", "a")): [None, 5]
    }
    assert as_dict(vectors.combine_vectors(">", left, right, None, False, True)) == {(("op", "a"),): [0, 1]}


@pytest.mark.parametrize(
    ("quantile", "expected"), [(0.5, 1.0), (0.75, 1.5), (0.0, 0.0), (0.95, 2.0), (1.0, 2.0), (2, math.inf)]
)
def test_quantile(quantile: float, expected: float) -> None:
    """Two values up to 1, two more up to 2, one beyond all bounds: linear in a bucket, the last bound at the end."""
    buckets = [series([2.5], le="1"), series([4.5], le="2"), series([5.0], le="+Inf")]
    [found] = vectors.quantile_of_buckets(np.array([quantile]), buckets)
    assert found.labels == ()
    rank = quantile * 5
    if 0 <= quantile <= 1:
        expected = rank / 2.5 if rank <= 2.5 else min(2.0, 1 + (rank - 2.5) / 2)
    assert found.values[0] == pytest.approx(expected)
