"""The order of the records in a frame, and what of their times and numbers follows from it.

Records stand trace by trace, the traces by when their first record here started, and those of a trace by when they
started. So a call mostly starts soon after its parent, which stands before it, or after the record before it ended, and
ends soon after the last record below it; and numbers, which are given in the order in which calls come, follow either
the order of rows or that of starts.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.segments.columns import Integers

_Flags = NDArray[np.bool_]


def order_of(numbers: Integers, traces: Integers, starts_us: Integers) -> Integers:
    """Return where each row's record is among these; `traces`: a small number for that of each."""
    firsts_us = np.full(len(traces), np.iinfo(np.int64).max)
    np.minimum.at(firsts_us, traces, starts_us)
    return np.lexsort((numbers, starts_us, traces, firsts_us[traces]))


class Times(NamedTuple):
    """Times of rows, in microseconds; of those that have not ended the end is the start."""

    starts_us: Integers
    ends_us: Integers


class RowTree(NamedTuple):
    """Which rows are the first of a trace; the row before is no parent here, so that a row may start after it ended;
    and the last row below each, itself where there is none.
    """

    are_first: _Flags
    follow_leaf: _Flags
    last_below: Integers

    @property
    def are_leaves(self) -> _Flags:
        """Return which rows have none below them."""
        leaves: _Flags = self.last_below == np.arange(len(self.last_below))
        return leaves


def row_tree(traces: Integers, parents: Integers) -> RowTree:
    """The tree of rows, of the places of the trace and of the parent of each; what stands before a row may be one."""
    rows = np.arange(len(parents))
    last_below = rows.copy()
    (below,) = ((parents >= 0) & (parents < rows)).nonzero()
    last_below[parents[below]] = below  # the last one counts
    while not ((further := last_below[last_below]) == last_below).all():
        last_below = further
    are_first = np.diff(traces, prepend=0) != 0
    are_first[:1] = True
    follow_leaf = ~are_first
    follow_leaf[1:] &= (last_below == rows)[:-1]
    return RowTree(are_first, follow_leaf, last_below)


def are_early(tree: RowTree, times: Times) -> _Flags:
    """Return which rows started before the row before them ended, of those that might have followed it."""
    early = tree.follow_leaf.copy()
    early[1:] &= times.starts_us[1:] < times.ends_us[:-1]
    return early


def pack_times(tree: RowTree, early: _Flags, have_ended: _Flags, times: Times) -> tuple[Integers, Integers]:
    """How long after what it follows each row started: the first of a trace that of the trace before, others the start
    or the end of the row before. And how long after what it follows each ended, if it has: its start, or the end of the
    last row below it.
    """
    starts_us, ends_us = times
    after = np.where(tree.follow_leaf & ~early, _before(ends_us), _before(starts_us))
    firsts_us = starts_us[tree.are_first]
    after[tree.are_first] = _before(firsts_us)
    ends = ends_us - np.where(tree.are_leaves, starts_us, ends_us[tree.last_below])
    return starts_us - after, np.where(have_ended, ends, 0)


def unpack_times(tree: RowTree, early: _Flags, have_ended: _Flags, starts: Integers, ends: Integers) -> Times:
    """The times of which `pack_times` has made these."""
    took_us = np.where(tree.are_leaves, ends, 0)
    steps = starts + np.where(tree.follow_leaf & ~early, _before(took_us), 0)
    firsts_us = np.cumsum(starts[tree.are_first])
    steps[tree.are_first] = 0
    reached = np.cumsum(steps)
    trace = np.cumsum(tree.are_first) - 1
    starts_us = firsts_us[trace] + reached - reached[tree.are_first][trace]
    ends_us = np.where(tree.are_leaves, starts_us + took_us, (starts_us + took_us)[tree.last_below] + ends)
    return Times(starts_us, np.where(have_ended, ends_us, starts_us))


def _before(values: Integers) -> Integers:
    """Return the value before each, 0 before the first."""
    found: Integers = np.concatenate([np.zeros(1, dtype=np.int64), values])[: len(values)]
    return found


def pack_positions(numbers: Integers, starts_us: Integers) -> tuple[Integers, bool]:
    """How far each row's position in the order of numbers is from the one that the order of starts gives it, or, where
    that is less to say, from the one after the row before it; and which of both.
    """
    positions = _ranks(numbers)
    by_start = positions - _ranks(starts_us)
    by_row = np.diff(positions, prepend=-1) - 1
    follow_starts = int(np.count_nonzero(by_start)) < int(np.count_nonzero(by_row))
    return (by_start if follow_starts else by_row), follow_starts


def unpack_positions(distances: Integers, follow_starts: bool, starts_us: Integers) -> Integers:
    """The positions of which `pack_positions` has made these; raises ValueError where that are none."""
    positions = distances + _ranks(starts_us) if follow_starts else np.cumsum(distances + 1) - 1
    seen = np.zeros(len(positions), dtype=np.bool_)
    if len(positions) and (positions.min() < 0 or positions.max() >= len(positions)):
        raise ValueError("rows of calls are not in an order")
    seen[positions] = True
    if not seen.all():
        raise ValueError("rows of calls are in no order")
    return positions


def _ranks(values: Integers) -> Integers:
    """Return the position of each in ascending order; of equal ones the first is before."""
    found = np.empty(len(values), dtype=np.int64)
    found[np.argsort(values, kind="stable")] = np.arange(len(values))
    return found
