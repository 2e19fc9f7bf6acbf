"""The first calls of a view of a busy minute, by each order, while calls come and change."""

from collections.abc import Sequence, Set
from heapq import nlargest
from itertools import chain
from operator import itemgetter

from aggregator.calls.call import Call
from aggregator.layout.first_calls import FirstCalls
from aggregator.rollups.orders import cost_of
from aggregator.rollups.views import ALL_CALLS

# No call begins so late.
_NEVER_US = 2**63

# Of so many times the entries that are kept the first are found sooner than all are sorted.
_SORTED_TIMES_MAX = 4

_NUMBER = itemgetter(2)
_Entry = tuple[int, int, int]
"""Rank, start and record number of a call."""


class KeptView:
    """The first calls of a view, by ORDERS; the newest of the view of all calls alone."""

    __slots__ = ("_first", "dearest", "failing", "found", "listed", "moved", "newest", "slowest")

    def __init__(self, view: int, first: list[FirstCalls]) -> None:
        self._first = first
        self.listed = _numbers_of(first)
        # Of calls that were offered: their entries, and which of them are listed.
        self.found: tuple[list[_Entry], ...] = tuple([] for _ in first)
        self.moved: set[int] = set()
        self.newest = 0 if view == ALL_CALLS else _NEVER_US
        self.failing = self.slowest = self.dearest = 0
        self._take_floors()

    @property
    def first(self) -> list[FirstCalls]:
        """Return what there is to store."""
        return self._first

    def take_in(self, count_max: int) -> bool:
        """Put what was offered in its places instead of those it had; whether anything differs."""
        differs = False
        for first, found in zip(self._first, self.found, strict=True):
            if found or self.moved:
                differs |= _put(first, found, self.moved, count_max)
                found.clear()
        self.moved.clear()
        if differs:
            self.listed = _numbers_of(self._first)
            self._take_floors()
        return differs

    def _take_floors(self) -> None:
        newest, failing, slowest, dearest = (0 if one.floor is None else one.floor[0] for one in self._first)
        self.newest = max(self.newest, newest)
        self.failing, self.slowest, self.dearest = failing, slowest, dearest


def _numbers_of(first: Sequence[FirstCalls]) -> set[int]:
    return set(map(_NUMBER, chain.from_iterable([one.entries for one in first])))


def offer(calls: Sequence[tuple[int, Call]], views: Sequence[KeptView], new: Set[int], count_max: int) -> None:
    """Show each of these views calls of it that have changed, by record number; those that come first will be taken in.

    `new`: calls that no view has seen before. `count_max`: how many of each order are kept. Ranks are those of
    `rank_of`, by which it took twice as long.
    """
    if not views:
        return
    # Nearly all calls are behind the floors of all views.
    failing_min = min([view.failing for view in views])
    slowest_min = min([view.slowest for view in views])
    dearest_min = min([view.dearest for view in views])
    failing: list[_Entry] = []
    slowest: list[_Entry] = []
    dearest: list[_Entry] = []
    with_newest = [view for view in views if view.newest < _NEVER_US]
    for number, call in calls:
        at_us, ended_us = call.started_us, call.ended_us
        if at_us is None:
            continue
        for view in with_newest:
            if at_us >= view.newest:
                view.found[0].append((at_us, at_us, number))
        if number not in new:
            for view in views:
                if number in view.listed:
                    view.moved.add(number)
        if ended_us is None:
            continue
        latency_ms = ended_us // 1_000 - at_us // 1_000
        if latency_ms >= slowest_min:
            slowest.append((latency_ms, at_us, number))
        if call.usage and (cost := cost_of(call)) is not None and cost >= dearest_min:
            dearest.append((cost, at_us, number))
        if call.failed and at_us >= failing_min:
            failing.append((at_us, at_us, number))
    for order, entries in ((1, failing), (2, slowest), (3, dearest)):
        if len(entries) > count_max * _SORTED_TIMES_MAX:
            # What is not among the first of these is among those of no view; one more tells where the others begin.
            entries = nlargest(count_max + 1, entries)
        for view in views if entries else ():
            view.found[order].extend(entries)


def _put(first: FirstCalls, found: list[_Entry], changed: set[int], count_max: int) -> bool:
    """Put entries of calls that have changed in their places instead of those they had; whether any differs.

    All that come before the floor are given, and maybe others.
    """
    floor, entries = first.floor, first.entries
    if floor is not None:
        found = [entry for entry in found if entry[:2] > floor]
    if changed:
        entries = [entry for entry in entries if entry[2] not in changed]
    if len(found) > count_max * _SORTED_TIMES_MAX:
        found = nlargest(count_max + 1, found)  # one more tells where the others begin
    entries = sorted(entries + found, reverse=True)
    if entries == first.entries:
        return False
    if len(entries) > count_max:
        left_out = entries[count_max][:2]
        first.floor = left_out if floor is None else max(floor, left_out)
        del entries[count_max:]
    first.entries = entries
    return True
