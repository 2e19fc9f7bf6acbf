"""The numbers of views on their day: those that count calls of one user lie together, and say how they belong together.

Numbers below USERS_FROM are of views without a user, in the order they came. From there on each user has a block of
2,048 numbers: the first is the user's own view, and from then on every sixteenth is a combination's with that user,
followed by those of its facets. So cells that are sealed in the order of these numbers have beside them what they are
the sum or a part of (see aggregator/segments/following.py). A number promises no more than a place: a facet that finds
no room beside its combination, or a combination none in the first block of its user, stands elsewhere. Where blocks
have run out, views of further users are numbered like those without one; these, beyond USERS_FROM, from OTHERS_FROM.

Example: the first user of a day is 65536, its combinations with three ops are 65552, 65568 and 65584, and a model of
the first of these is 65553.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from aggregator.rollups.cell import VIEW_BITS
from aggregator.rollups.view import View

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

FACET_BITS, BLOCK_BITS = 4, 11
USERS_FROM = 1 << 16
OTHERS_FROM = 1 << 23
NUMBERS_MAX = 1 << VIEW_BITS

_FACETS, _BLOCK = 1 << FACET_BITS, 1 << BLOCK_BITS


class ViewNumbers:
    """Which numbers are free, once those of these views are taken."""

    def __init__(self, taken: Iterable[tuple[View, int]]) -> None:
        self._next_without = 1  # 0 is the view of all calls
        self._next_other = OTHERS_FROM
        self._next_block = USERS_FROM
        self._blocks: dict[str, int] = {}  # by user, where the latest combination of the latest block begins
        self._latest: dict[View, int] = {}  # by combination, the latest number of it and its facets
        for view, number in sorted(taken, key=lambda one: one[1]):
            self._take(view, number)

    def _take(self, view: View, number: int) -> None:
        if number < USERS_FROM:
            self._next_without = number + 1
        elif number >= OTHERS_FROM:
            self._next_other = number + 1
        elif view.user_id is not None:
            self._next_block = max(self._next_block, (number | _BLOCK - 1) + 1)
            self._blocks[view.user_id] = max(self._blocks.get(view.user_id, 0), number & -_FACETS)
            self._latest[view._replace(facet=None)] = number

    def draw(self, view: View) -> int:
        """The number of a new view."""
        number = None if view.user_id is None else self._of_user(view, view.user_id)
        if number is None:
            number = self._next_without if self._next_without < USERS_FROM else self._next_other
        self._take(view, number)
        return number

    def _of_user(self, view: View, user_id: str) -> int | None:
        """Return a number of a user's view; None where all blocks are taken."""
        latest = self._latest.get(view._replace(facet=None))
        if view.facet is not None and latest is not None and latest % _FACETS < _FACETS - 1:
            return latest + 1
        begun = self._blocks.get(user_id)
        if begun is None or begun % _BLOCK == _BLOCK - _FACETS:
            if self._next_block >= OTHERS_FROM:
                return None
            if begun is None and view == View(user_id=user_id):
                return self._next_block
            begun = self._next_block
        # A facet without its combination leaves the combination's place free.
        return begun + _FACETS + (view.facet is not None)


def groups_of(places: Integers) -> Integers:
    """Return for each place the first number of the views that are sealed together with its view, of whatever slots."""
    views = places & NUMBERS_MAX - 1
    return np.where(are_of_users(places), views & -_BLOCK, views)


def last_of_group(view: int) -> int:
    """Return the last number of the views that are sealed together with this one."""
    return view | _BLOCK - 1 if USERS_FROM <= view < OTHERS_FROM else view


def are_of_users(places: Integers) -> Flags:
    """Whether cells at these places are of views in a user's block."""
    views = places & NUMBERS_MAX - 1
    return (views >= USERS_FROM) & (views < OTHERS_FROM)


def are_users(places: Integers) -> Flags:
    """Whether cells at these places are of the first views of a block: of all calls of a user."""
    found: Flags = are_of_users(places) & (places & _BLOCK - 1 == 0)
    return found


def are_facets(places: Integers) -> Flags:
    """Whether cells at these places are of facets of a user's combinations."""
    found: Flags = are_of_users(places) & (places & _FACETS - 1 != 0)
    return found


def combinations_of(places: Integers) -> Integers:
    """The places of the combinations, in the same slots, whose facets these places are of."""
    return places & -_FACETS


def blocks_of(places: Integers) -> Integers:
    """A number for each slot and user's block: equal for places of the same."""
    return places >> BLOCK_BITS
