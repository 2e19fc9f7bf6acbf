"""Rows that follow from those of other cells of their frame, and so need not be stored.

A cell of a user counts what the cells of the user's combinations in the same slot count together: it has their rows,
and a few besides where combinations were too many to be kept: these are stored.
A cell of a facet counts some calls of its combination: its latencies are told by a label at each of the combination's,
the facet's place in the sixteen numbers that begin with the combination's. Which cells may belong together their places
say (aggregator/rollups/view_numbers.py); that they do is compared, row by row, for each series of each cell, and what
does not follow is stored.

What follows is found in what the frame itself holds, whatever else has become of the places of other cells.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.rollups.series import Series
from aggregator.rollups.view_numbers import are_users, blocks_of, combinations_of
from aggregator.segments.columns import Integers

Flags = NDArray[np.bool_]

# Rows of a series that take the place of sketches, at most: they are merged one by one. A series of so many calls takes
# some 3 kB with its sketches and totals, less than a byte a call.
ROWS_FOR_SKETCHES_MAX = 4_096
# Facets that claim the same call, as that of its model and that of its error do, are told apart in some rounds.
_ROUNDS = 4
# Odd numbers that rows are put in one order by, whatever that is.
_ORDER = np.array([0x9E3779B97F4A7C15 * (2 * at + 1) % 2**63 | 1 for at in range(8)], dtype=np.int64)


class Entries(NamedTuple):
    """Series of cells, series by series and in each by place: which series, which place, how many rows; all rows; and
    which have nothing but rows.
    """

    names: Integers
    places: Integers
    sizes: Integers
    values: Integers
    plain: Flags

    @property
    def row_ends(self) -> Integers:
        """Return where the rows of each begin, and after them where the last ones end."""
        return np.append(0, np.cumsum(self.sizes))


def last_of_blocks(names: Integers, blocks: Integers) -> Integers:
    """Return for each entry the last one of the same series, slot and block."""
    (lasts,) = np.append((names[1:] != names[:-1]) | (blocks[1:] != blocks[:-1]), True).nonzero()
    found: Integers = np.repeat(lasts, np.diff(lasts, prepend=-1))
    return found


def are_totals_of(series: Series, rows: Sequence[bytes], totals: Sequence[bytes]) -> list[bool]:
    """Return of each of some packed totals whether they are those of packed rows, of at least one each."""
    if not rows:
        return []
    sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)) // series.row_bytes
    found = series.layout.of_segments(series.values(b"".join(rows)), np.cumsum(sizes) - sizes)
    same: list[bool] = (found == series.layout.unpack(b"".join(totals))).all(axis=1).tolist()
    return same


class Following(NamedTuple):
    """Which entries have the rows of others, and of each what it has besides: how many rows, and these."""

    follow: Flags
    rest_sizes: Integers
    rest: Integers


def users_that_follow(series: Series, entries: Entries, totals: Integers, has_totals: Flags) -> Following:
    """Return which entries, of users, have the rows of those after them in their block, and some besides.

    `totals`: of all values of those that have sketches and `has_totals`, a row for each entry. These follow only where
    they have no row besides.
    """
    follow = np.zeros(len(entries.places), dtype=np.bool_)
    rest_sizes = np.zeros(len(follow), dtype=np.int64)
    lasts = last_of_blocks(entries.names, blocks_of(entries.places))
    (users,) = (are_users(entries.places) & (lasts > np.arange(len(lasts)))).nonzero()
    ends = entries.row_ends
    of_parts = ends[lasts[users] + 1] - ends[users + 1]
    is_plain = entries.plain[users] & (entries.sizes[users] >= of_parts) & (of_parts > 0)
    plain = users[is_plain]
    have_parts, rest_of, rest = _rest_of(entries.values, ends[plain], entries.sizes[plain], of_parts[is_plain])
    follow[plain] = have_parts
    rest_sizes[plain] = np.bincount(rest_of, minlength=len(plain))
    full = users[has_totals[users] & (of_parts > 0) & (of_parts <= ROWS_FOR_SKETCHES_MAX)]
    if len(full):
        begins, sizes = ends[full + 1], ends[lasts[full] + 1] - ends[full + 1]
        starts = np.cumsum(sizes) - sizes
        at = np.repeat(begins - starts, sizes) + np.arange(int(sizes.sum()))
        follow[full] = (series.layout.of_segments(entries.values[at], starts) == totals[full]).all(axis=1)
    return Following(follow, rest_sizes, rest)


def _rest_of(
    values: Integers, begins: Integers, sizes: Integers, part_sizes: Integers
) -> tuple[Flags, Integers, Integers]:
    """Return for each of some runs of rows whether it has all rows that follow it, so many; and what such runs have
    besides: of which run each is, in their order, and these rows.
    """
    if not len(begins):
        return np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int64), values[:0]
    both = sizes + part_sizes
    starts = np.cumsum(both) - both
    runs = np.repeat(np.arange(len(both)), both)
    at = np.repeat(begins - starts, both) + np.arange(len(runs))
    are_parts = np.arange(len(runs)) >= (starts + sizes)[runs]
    rows = values[at]
    keys = rows @ _ORDER[: rows.shape[1]]
    order = np.lexsort((keys, runs))
    runs, keys, rows, are_parts = runs[order], keys[order], rows[order], are_parts[order]
    is_new = np.append(True, (np.diff(runs) != 0) | (np.diff(keys) != 0))
    (firsts,) = is_new.nonzero()
    of_firsts = runs[firsts]
    left = np.diff(firsts, append=len(runs)) - 2 * np.add.reduceat(are_parts, firsts, dtype=np.int64)
    # Different rows of one key would be taken for the same; there are none, but by design.
    are_same = is_new | np.append(True, (rows[1:] == rows[:-1]).all(axis=1))
    fails = np.bincount(of_firsts[left < 0], minlength=len(both)) + np.bincount(runs[~are_same], minlength=len(both))
    have_parts: Flags = fails == 0
    left[~have_parts[of_firsts]] = 0
    rest = np.repeat(firsts, left)
    return have_parts, runs[rest], rows[rest]


class Picked(NamedTuple):
    """Which facets have rows that labels tell, and the labels: of all rows of the combinations that have such facets,
    in the order in which rows are stored.
    """

    follow: Flags
    labels: Integers


def picked_facets(combinations: Entries, facets: Entries) -> Picked:
    """Return the facets whose latencies are some of those of their combination, each for itself."""
    wanted = combinations_of(facets.places)
    at = np.minimum(np.searchsorted(combinations.places, wanted), max(len(combinations.places) - 1, 0))
    if not len(combinations.places):
        return Picked(np.zeros(len(wanted), dtype=np.bool_), np.empty(0, dtype=np.int64))
    # What a user's own cell has may follow from others.
    follow = (combinations.places[at] == wanted) & ~are_users(wanted) & facets.plain
    follow &= facets.sizes > 0
    smallest_last = np.argsort(np.argsort(-facets.sizes, kind="stable")) + 1
    has_facets = np.zeros(len(combinations.sizes), dtype=np.bool_)
    has_facets[at[follow]] = True
    of_row = np.repeat(np.arange(len(combinations.sizes)), combinations.sizes)
    wanted_rows = has_facets[of_row]
    of_row, latencies = of_row[wanted_rows], combinations.values[wanted_rows, 0]
    facet_of_row = np.repeat(np.arange(len(facets.sizes)), facets.sizes)
    labels = np.zeros(len(of_row), dtype=np.int64)
    for left in reversed(range(_ROUNDS)):
        (ours,) = follow[facet_of_row].nonzero()
        facet = facet_of_row[ours]
        of_all = np.concatenate([of_row, at[facet]])
        values = np.concatenate([latencies, facets.values[ours, 0]])
        rank = np.concatenate([np.zeros(len(of_row), dtype=np.int64), smallest_last[facet]])
        order = np.lexsort((rank, values, of_all))
        starts = np.append(True, np.diff(of_all[order]) != 0) | np.append(True, np.diff(values[order]) != 0)
        starts = starts[: len(order)]
        run = np.cumsum(starts) - 1
        (begins,) = starts.nonzero()
        is_facet = rank[order] > 0
        of_combination = np.add.reduceat(~is_facet, begins, dtype=np.int64) if len(begins) else begins
        (claims,) = is_facet.nonzero()
        nth = claims - begins[run[claims]] - of_combination[run[claims]]
        missing = nth >= of_combination[run[claims]]
        claimer = facet[order[claims] - len(of_row)]
        if not missing.any():
            labels[order[begins[run[claims]] + nth]] = facets.places[claimer] - wanted[claimer]
            break
        if left > 1:
            follow[claimer[missing]] = False
        else:
            follow &= ~np.isin(at, at[claimer[missing]])
    is_labelled = np.zeros(len(combinations.sizes), dtype=np.bool_)
    is_labelled[at[follow]] = True
    stored = np.lexsort((latencies, of_row))
    return Picked(follow, labels[stored][is_labelled[of_row[stored]]])
