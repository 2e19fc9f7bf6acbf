"""What follows from other records of a frame: totals of calls whose children are all in it, and what roll-ups state.

Children stand after their parents (see call_order.py); what stands before, and rolls up to a call all the same, counts
as if it were elsewhere.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from aggregator.calls.call import Call, Subtree
from aggregator.calls.usage_vector import UNCACHED_COST, UNREAD_ROWS, Usage, add_usage
from aggregator.segments.call_table import ENDED, FLAGS, LINKED, NUMBER, PARENT_NUMBER, TOTAL, TRACE
from aggregator.segments.columns import Integers

_NO_COSTS = [0] * (UNREAD_ROWS - UNCACHED_COST)
_Flags = NDArray[np.bool_]


def children_of(calls: Mapping[int, Call]) -> dict[int, list[Call]]:
    """Return by number the calls that roll up to it and stand after it, of those of a frame in their order."""
    rows = {number: row for row, number in enumerate(calls)}
    found: dict[int, list[Call]] = {}
    for row, call in enumerate(calls.values()):
        if call.parent_number is not None and rows.get(call.parent_number, row) < row:
            found.setdefault(call.parent_number, []).append(call)
    return found


def total_of(call: Call, children: Sequence[Call]) -> Subtree:
    """Return what the total of a call follows from, if these are all of its children."""
    total = call.own()
    for below in children:
        if below.trace != call.trace:
            continue
        if below.subtree is not None:
            total.merge(below.subtree)
        else:
            total.unfinished += below.unfinished
            add_usage(total.usage, below.usage)
    return total


def stated_of(total: Usage) -> Usage:
    """Return what a roll-up states that states all that is counted: without costs."""
    return {model: [*vector[:UNCACHED_COST], *_NO_COSTS, vector[UNREAD_ROWS]] for model, vector in total.items()}


def rows_above(table: Integers) -> Integers:
    """Return the row, before it, of the record that each rolls up to; its own where there is none."""
    numbers, parents, rows = table[NUMBER], table[PARENT_NUMBER], np.arange(table.shape[1])
    if not len(rows):
        return rows
    in_order = np.argsort(numbers)
    at = np.minimum(np.searchsorted(numbers, parents, sorter=in_order), len(rows) - 1)
    above = in_order[at]
    is_there = (numbers[above] == parents) & (table[FLAGS] & LINKED != 0) & (above < rows)
    return np.where(is_there, above, rows)


def needed_rows(asked: _Flags, flags: Integers, above: Integers) -> _Flags:
    """Say of each row whether it is asked for, or a total that is asked for follows from it."""
    needed = new = asked
    have_totals = flags & TOTAL != 0
    is_below = above < np.arange(len(above))
    while (new & have_totals).any():
        new = is_below & (new & have_totals)[above] & ~needed
        needed = needed | new
    return needed


def add_totals(
    found: dict[int, Subtree], table: Integers, above: Integers, needed: _Flags, usages: Sequence[Usage]
) -> None:
    """Add to the totals by number those of needed rows that follow from others, those of the last rows first: what
    follows from them is known then. `usages`: those of needed rows.
    """
    (rows,) = needed.nonzero()
    columns = *table[[NUMBER, FLAGS, TRACE]][:, rows].tolist(), above[rows].tolist(), rows.tolist()
    below: dict[int, list[tuple[int, int, int, Usage]]] = {}
    for number, flags, trace, row_above, row, usage in reversed(list(zip(*columns, usages, strict=True))):
        if flags & TOTAL:
            total = Subtree({}, int(not flags & ENDED))
            add_usage(total.usage, usage)
            for child, of_child, its_trace, its_usage in reversed(below.get(row, ())):
                if its_trace != trace:
                    continue
                if child in found:
                    total.merge(found[child])
                else:
                    total.unfinished += not of_child & ENDED
                    add_usage(total.usage, its_usage)
            found[number] = total
        if row_above < row:
            below.setdefault(row_above, []).append((number, flags, trace, usage))
