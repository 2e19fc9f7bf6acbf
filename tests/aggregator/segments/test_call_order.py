"""The order of records in frames: times and numbers come back of what is stored of them, which is mostly little."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.segments.call_order import (
    Times,
    are_early,
    order_of,
    pack_positions,
    pack_times,
    row_tree,
    unpack_positions,
    unpack_times,
)

instants = st.integers(0, 20) | st.integers(-(2**62), 2**62 - 1)
rows = st.lists(
    st.tuples(instants, instants, st.booleans(), st.integers(-3, 8), st.integers(-2, 6)), min_size=0, max_size=9
)


@given(rows)
def test_times_come_back(of_all: list[tuple[int, int, bool, int, int]]) -> None:
    """Whatever the times are, and however parents and traces lie."""
    columns = np.array(of_all, dtype=object).reshape(len(of_all), 5).T
    starts_us, ends_us, parents, traces = (columns[at].astype(np.int64) for at in (0, 1, 3, 4))
    have_ended = columns[2].astype(np.bool_)
    ends_us = np.where(have_ended, ends_us, starts_us)
    times = Times(starts_us, ends_us)
    tree = row_tree(traces, parents)
    early = are_early(tree, times)
    found = unpack_times(tree, early, have_ended, *pack_times(tree, early, have_ended, times))
    assert found.starts_us.tolist() == starts_us.tolist()
    assert found.ends_us.tolist() == ends_us.tolist()


def test_times_of_an_agent_are_small() -> None:
    """A root, a step in it with two calls one after the other, and a call beside the step that is early."""
    parents = np.array([0, 0, 1, 1, 0])
    times = Times(np.array([1_000, 1_010, 1_020, 1_530, 1_840]), np.array([1_960, 1_860, 1_520, 1_850, 1_900]))
    tree = row_tree(np.zeros(5, dtype=np.int64), parents)
    early = are_early(tree, times)
    assert early.tolist() == [False, False, False, False, True]
    starts, ends = pack_times(tree, early, np.ones(5, dtype=np.bool_), times)
    assert starts.tolist() == [1_000, 10, 10, 10, 310]
    assert ends.tolist() == [60, 10, 500, 320, 60]


@given(st.lists(st.tuples(st.integers(0, 99), instants), unique_by=lambda row: row[0], max_size=12))
def test_numbers_come_back(of_all: list[tuple[int, int]]) -> None:
    """Numbers of records that came in any order are told."""
    numbers, starts_us = np.array(of_all, dtype=np.int64).reshape(len(of_all), 2).T
    positions = unpack_positions(*pack_positions(numbers, starts_us), starts_us)
    assert np.sort(numbers)[positions].tolist() == numbers.tolist()


@pytest.mark.parametrize("by_start", [False, True])
def test_numbers_that_follow_are_nothing(by_start: bool) -> None:
    """Records that came trace by trace, or in the order of their starts, take nothing for it."""
    starts_us = np.array([5, 20, 30, 10, 15])
    numbers = np.array([1, 4, 5, 2, 3] if by_start else [1, 2, 3, 4, 5])
    distances, follow_starts = pack_positions(numbers, starts_us)
    assert not distances.any()
    assert follow_starts == by_start


@pytest.mark.parametrize("distances", [[0, 0, -1], [0, 1, 0], [-1, 0, 0]])
def test_what_is_no_order_is_refused(distances: list[int]) -> None:
    """A position twice, beyond the last, or below the first."""
    with pytest.raises(ValueError, match="rows of calls"):
        unpack_positions(np.array(distances), False, np.array([1, 2, 3]))


def test_order() -> None:
    """Trace by trace, the one that began first before others; then by start; then by number."""
    order = order_of(np.array([9, 7, 8, 6]), np.array([0, 1, 0, 1]), np.array([50, 20, 40, 20]))
    assert order.tolist() == [3, 1, 2, 0]
