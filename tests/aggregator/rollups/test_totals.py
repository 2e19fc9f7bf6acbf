"""Totals: exact, whatever is merged with what, in rows of numpy as in Python's integers."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rollups.series import OF_LATENCY, OF_USAGE
from aggregator.rollups.totals import ABSENT, PICO_PER_DOLLAR, PRICED, ROWS, Integers, Layout, Totals

DOLLAR = PICO_PER_DOLLAR
LAYOUT = Layout(4, 2)  # two metrics that may be negative, and two costs
MOST, LEAST = 2**63 - 1, -(2**63)

Rows = Sequence[tuple[int, ...]]

plain = st.sampled_from([0, 1, DOLLAR, 2**32 - 1, 2**32, -(2**32), 2**62, MOST, LEAST]) | st.integers(-5, 5)
costs = st.sampled_from([0, 1, DOLLAR, 2**32, 2**62, MOST]) | st.integers(0, 5)
rows = st.lists(st.tuples(plain, plain) | st.tuples(plain, plain, costs, costs), min_size=1, max_size=8)
segments = st.lists(rows, min_size=1, max_size=5)
large_rows = st.lists(
    st.tuples(st.integers(), st.sampled_from([2**70, -(2**70)]), costs, st.sampled_from([DOLLAR, 2**90])), max_size=5
)


def told(layout: Layout, totals: Totals) -> list[Any]:
    """How many rows and priced rows; of each metric sum, minimum, maximum (None: of no values), ones and zeros."""
    found: list[Any] = [totals[ROWS], totals[PRICED]]
    for metric in range(layout.metrics):
        minimum: int | None = totals[layout.minima + metric]
        maximum: int | None = totals[layout.maxima + metric]
        counts = totals[layout.ones + metric], totals[layout.zeros + metric]
        if not totals[PRICED if metric >= layout.costs_at else ROWS]:
            assert (minimum, maximum) == (MOST, LEAST)
            minimum = maximum = None
        found.append((layout.sum(totals, metric), minimum, maximum, *counts))
    return found


def expected(layout: Layout, of: Rows) -> list[Any]:
    """Returns the totals of these rows by brute force."""
    found: list[Any] = [len(of), sum(len(row) > layout.costs_at for row in of)]
    for metric in range(layout.metrics):
        values = [row[metric] for row in of if metric < len(row)]
        one = 1 if metric < layout.costs_at else DOLLAR
        ends = (min(values), max(values)) if values else (None, None)
        found.append((sum(values), *ends, values.count(one), values.count(0)))
    return found


def packed(layout: Layout, of: Rows) -> Integers:
    """Rows of numpy; costs that a row lacks are absent."""
    padded = [[*row, *[ABSENT] * (layout.metrics - len(row))] for row in of]
    return np.array(padded, dtype=np.int64).reshape(-1, layout.metrics)


def starts_of(parts: Sequence[Sequence[Any]]) -> Integers:
    """Returns where each part begins once they are one after the other."""
    return np.array([0, *accumulate(map(len, parts))][:-1])


def joined(parts: Sequence[Rows]) -> Rows:
    return [row for part in parts for row in part]


@given(rows | large_rows)
def test_values_of_any_size_are_counted(of: Rows) -> None:
    """Sum, ends, ones and zeros of each metric are those of its values, and how many rows have costs."""
    assert told(LAYOUT, LAYOUT.of_values(of)) == expected(LAYOUT, of)


@given(segments)
def test_numpy_and_python_agree(parts: list[Rows]) -> None:
    """numpy gives the very rows that Python's integers give: the form is the same, whoever counted."""
    values = packed(LAYOUT, joined(parts))
    before = values.copy()
    found = LAYOUT.of_segments(values, starts_of(parts))
    assert found.tolist() == [LAYOUT.of_values(part) for part in parts]
    np.testing.assert_array_equal(values, before)


@given(segments)
def test_sums_alone_are_the_same_sums(parts: list[Rows]) -> None:
    """Counts and sums are as when all is counted; the rest is as of no values, so that it changes nothing."""
    values, starts = packed(LAYOUT, joined(parts)), starts_of(parts)
    before = values.copy()
    alone, whole = LAYOUT.of_segments(values, starts, sums_alone=True), LAYOUT.of_segments(values, starts)
    assert alone[:, : LAYOUT.ones].tolist() == whole[:, : LAYOUT.ones].tolist()
    assert alone[:, LAYOUT.ones :].tolist() == [LAYOUT.none()[LAYOUT.ones :]] * len(parts)
    np.testing.assert_array_equal(values, before)


@given(st.lists(rows | large_rows, max_size=4))
def test_merging_is_counting_together(parts: list[Rows]) -> None:
    """Merging totals, in either order, gives the totals of all rows, and leaves alone what was added."""
    whole = LAYOUT.of_values(joined(parts))
    from_left, from_right = LAYOUT.none(), LAYOUT.none()
    for part in parts:
        more = LAYOUT.of_values(part)
        copy = list(more)
        LAYOUT.merge(from_left, more)
        assert more == copy
    for part in reversed(parts):
        more = LAYOUT.of_values(part)
        LAYOUT.merge(more, from_right)
        from_right = more
    assert from_left == from_right == whole


@given(st.lists(st.tuples(rows, rows), min_size=1, max_size=4))
def test_rows_are_merged_with_their_counterparts(pairs: list[tuple[Rows, Rows]]) -> None:
    """Each row of the left is merged with the row of the same key on the right, in any order; neither side is
    changed."""
    left, right = (
        LAYOUT.of_segments(packed(LAYOUT, joined(side)), starts_of(side)) for side in zip(*pairs, strict=True)
    )
    before = left.copy(), right.copy()
    whole = [LAYOUT.of_values([*one, *other]) for one, other in pairs]
    assert LAYOUT.merged(left, right).tolist() == LAYOUT.merged(right, left).tolist() == whole
    np.testing.assert_array_equal((left, right), before)


@given(st.lists(segments, min_size=1, max_size=4))
def test_segments_of_totals_are_merged(groups: list[list[Rows]]) -> None:
    """However the rows were cut before: a group's totals are those of all its rows."""
    parts = [part for group in groups for part in group]
    totals = LAYOUT.of_segments(packed(LAYOUT, joined(parts)), starts_of(parts))
    before = totals.copy()
    found = LAYOUT.merged_segments(totals, starts_of(groups))
    assert found.tolist() == [LAYOUT.of_values(joined(group)) for group in groups]
    np.testing.assert_array_equal(totals, before)
    sums = LAYOUT.merged_segments(totals[:, : LAYOUT.ones], starts_of(groups))
    assert sums.tolist() == [[*row[: LAYOUT.ones], *LAYOUT.none()[LAYOUT.ones :]] for row in found.tolist()]


@given(rows)
def test_none_is_neutral(of: Rows) -> None:
    """Totals of no values change nothing, stored or not, on either side."""
    totals = LAYOUT.of_segments(packed(LAYOUT, of), np.array([0]))
    none = LAYOUT.unpack(LAYOUT.packed_none)
    assert none.tolist() == [LAYOUT.none()]
    assert LAYOUT.merged(none, totals).tolist() == LAYOUT.merged(totals, none).tolist() == totals.tolist()
    [merged] = totals.tolist()
    LAYOUT.merge(merged, LAYOUT.none())
    assert [merged] == totals.tolist()
    assert LAYOUT.merged_segments(np.concatenate([none, totals, none]), np.array([0])).tolist() == [merged]


@given(segments)
def test_stored_rows_come_back(parts: list[Rows]) -> None:
    """Rows stored one after the other come back, and each is as large as it says."""
    totals = LAYOUT.of_segments(packed(LAYOUT, joined(parts)), starts_of(parts))
    stored = totals.astype("<i8").tobytes()
    assert len(stored) == len(parts) * len(LAYOUT.packed_none)
    assert LAYOUT.unpack(stored).tolist() == totals.tolist()


@pytest.mark.parametrize("value", [2**62, 2**62 - 1, MOST, LEAST])
def test_sums_beyond_64_bits_never_wrap(value: int) -> None:
    """A thousand values at the end of 64 bits, and their totals doubled: a milliard in numpy, any number in Python."""
    totals = OF_LATENCY.layout.of_segments(np.full((1_000, 1), value), np.array([0]))
    for _ in range(10):
        totals = OF_LATENCY.layout.merged(totals, totals)
    for _ in range(10):
        totals = OF_LATENCY.layout.merged_segments(np.concatenate([totals, totals]), np.array([0]))
    [merged] = totals.tolist()
    assert told(OF_LATENCY.layout, merged) == [1_000 * 2**20, 0, (1_000 * 2**20 * value, value, value, 0, 0)]
    for _ in range(60):
        OF_LATENCY.layout.merge(merged, list(merged))
    assert told(OF_LATENCY.layout, merged) == [1_000 * 2**80, 0, (1_000 * 2**80 * value, value, value, 0, 0)]


@given(st.lists(rows, min_size=1, max_size=5))
def test_sums_of_many_rows(of: list[Rows]) -> None:
    """The sums of a metric, row by row, are exact, and as floats within a rounding."""
    stored = np.array([LAYOUT.of_values(one) for one in of])
    for metric in range(LAYOUT.metrics):
        exact = [sum(row[metric] for row in one if metric < len(row)) for one in of]
        assert LAYOUT.sums(stored, metric) == exact
        assert LAYOUT.float_sums(stored, metric).tolist() == pytest.approx(exact, rel=1e-12, abs=1e-3)


def test_by_hand() -> None:
    """Sum, minimum, maximum, ones and zeros of each metric; a cost's one is a dollar; unpriced rows have none."""
    layout = OF_USAGE.layout
    of = [(1, 0, 1, 0, 0), (3, 1, 4, 0, 2, DOLLAR, 0, DOLLAR), (0, 0, 0, 0, 0, 1, 1, 2)]
    by_hand = [
        *(3, 2),
        *((4, 0, 3, 1, 1), (1, 0, 1, 1, 2), (5, 0, 4, 1, 1), (0, 0, 0, 0, 3), (2, 0, 2, 0, 2)),
        *((DOLLAR + 1, 1, DOLLAR, 1, 0), (1, 0, 1, 0, 1), (DOLLAR + 2, 2, DOLLAR, 1, 0)),
    ]
    assert told(layout, layout.of_values(of)) == by_hand
    assert told(layout, layout.of_segments(packed(layout, of), np.array([0])).tolist()[0]) == by_hand


def test_no_row_is_priced() -> None:
    """Costs have no sum, no ends, no ones and no zeros."""
    layout = OF_USAGE.layout
    [found] = layout.of_segments(packed(layout, [(1,) * 5, (1,) * 5]), np.array([0])).tolist()
    assert told(layout, found) == [2, 0, *[(2, 1, 1, 2, 0)] * 5, *[(0, None, None, 0, 0)] * 3]


def test_an_absent_cost_is_not_minus_one() -> None:
    """A latency of -1 ms is a value; only where costs stand is it none."""
    [found] = OF_LATENCY.layout.of_segments(np.array([[-1], [-3]]), np.array([0])).tolist()
    assert told(OF_LATENCY.layout, found) == [2, 0, (-4, -3, -1, 0, 0)]
