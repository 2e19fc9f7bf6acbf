"""Subtree totals: what changed in some calls, added to all their ancestors, each once, however deep the tree is.

A call rolls up to its parent when both are of one trace. What a call states that may be a roll-up of the calls below it
counts only as far as it exceeds what they count: so each change below it changes what it counts itself, too. To a
parent that has not started yet a call brings its totals in advance, kept by trace; the parent takes those of its own
trace when it starts. Links never form a ring (see `closes_ring`).
"""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import NamedTuple

from aggregator.calls.call import Call, Subtree, counted_usage
from aggregator.calls.usage_vector import Usage, add_usage, less_below, states_less, usage_change

Pricing = Callable[[Call, Usage, Usage], Usage]
"""Gives the usage of a call its costs: the call, what is its own of what it states, and what it states."""


def closes_ring(calls: Mapping[int, Call], number: int, parent_number: int) -> bool:
    """Whether a link from `number` to `parent_number` would make a call its own ancestor."""
    trace = calls[number].trace
    above: int | None = parent_number
    while above is not None:
        if above == number:
            return True
        call = calls[above]
        if call.started_us is None or call.trace != trace:
            return False
        above = call.parent_number
    return False


class UsageReplaced(NamedTuple):
    """What calls counted before a batch and count otherwise after it, by number: themselves, and as roots of trees.

    What they count now is in their records.
    """

    own: dict[int, Usage]
    trees: dict[int, Usage]


class SubtreeChanges:
    """What a batch changes in subtree totals: of a call's own, and below it. `finished`: the calls that got their
    missing start or end in this batch. `stating_less`: the roll-ups that were found, by this batch, to state less than
    the calls below them count; what those count never shrinks, so each is found once.
    """

    def __init__(self) -> None:
        self.own: dict[int, Subtree] = {}
        self.below: dict[int, Subtree] = {}
        self.finished: set[int] = set()
        self.replaced = UsageReplaced({}, {})
        self.stating_less: list[int] = []

    def add_below(self, number: int, change: Subtree) -> None:
        """Descendants of the call changed by `change`, which is left alone."""
        known = self.below.get(number)
        if known is None:
            self.below[number] = change.copied()
        else:
            known.merge(change)

    def reprice(self, number: int, call: Call, usage: Usage) -> None:
        """A finished call costs otherwise than was counted before: its own usage is now `usage`."""
        before, call.usage = call.usage, usage
        self.replaced.own[number] = before
        self.own[number] = Subtree(usage_change(before, usage))

    def roll_up(self, calls: Mapping[int, Call], price: Pricing) -> dict[int, int]:
        """Change the totals in `calls`, which holds the ancestors too, and what roll-ups among them count as their own.

        Returns the numbers of all calls changed, and how many unfinished calls each had at or below it before.
        """
        unfinished_before: dict[int, int] = {}
        for number in self._descendants_first(calls):
            call = calls[number]
            own, below = self.own.get(number), self.below.get(number)
            change = own or below
            if change is None:
                continue
            if call.ended_us is not None and call.parent is None and call.started_us is not None:
                # A root that has just ended was counted by no question about roots.
                known = call.subtree.usage if call.subtree is not None else self.replaced.own.get(number, call.usage)
                self.replaced.trees[number] = {} if number in self.finished else counted_usage(known)
            if call.stated is not None:
                own = self._settle(number, call, own, below, price)
                change = own or below or Subtree()
            if own is not None and below is not None:
                change = own.copied()
                change.merge(below)
            if call.subtree is not None:
                unfinished_before[number] = call.subtree.unfinished
                call.subtree.merge(change)
            else:  # the record shows its own change already
                unfinished_before[number] = int(call.unfinished) - (own.unfinished if own is not None else 0)
                if below is not None:
                    call.subtree = call.own()
                    call.subtree.merge(below)
            self._pass_up(calls, call, change, unfinished_before)
        return unfinished_before

    def _settle(
        self, number: int, call: Call, own: Subtree | None, below: Subtree | None, price: Pricing
    ) -> Subtree | None:
        """Work out anew what a roll-up counts as its own; returns how the call alone has changed by that, too."""
        assert call.stated is not None
        below_now: Usage = {}
        if call.subtree is not None:
            below_now = usage_change(call.usage, call.subtree.usage)
        was_less = number not in self.finished and states_less(call.stated, below_now)
        if below is not None:
            add_usage(below_now, below.usage)
        if not was_less and states_less(call.stated, below_now):
            self.stating_less.append(number)
        left = {model: less_below(stated, below_now.get(model)) for model, stated in call.stated.items()}
        before = call.usage
        call.usage = price(call, {model: vector for model, vector in left.items() if vector is not None}, call.stated)
        change = usage_change(before, call.usage)
        if not change:
            return own
        self.replaced.own[number] = before
        return Subtree(change, own.unfinished if own is not None else 0)

    def _pass_up(self, calls: Mapping[int, Call], call: Call, change: Subtree, changed: dict[int, int]) -> None:
        if call.parent_number is None or not (change.usage or change.unfinished):
            return
        parent = calls[call.parent_number]
        if parent.started_us is None:
            parent.waiting = parent.waiting or {}
            parent.waiting.setdefault(call.trace, Subtree()).merge(change)
            changed[call.parent_number] = 0
        elif parent.trace == call.trace:
            self.add_below(call.parent_number, change)

    def _descendants_first(self, calls: Mapping[int, Call]) -> list[int]:
        """The changed calls and all their started ancestors, each after everything below it."""
        waiting_for: dict[int, int] = dict.fromkeys(chain(self.own, self.below), 0)
        above: dict[int, int] = {}
        to_visit = list(waiting_for)
        while to_visit:
            number = to_visit.pop()
            call = calls[number]
            parent = call.parent_number
            if parent is None or calls[parent].started_us is None or calls[parent].trace != call.trace:
                continue
            above[number] = parent
            if parent in waiting_for:
                waiting_for[parent] += 1
            else:
                waiting_for[parent] = 1
                to_visit.append(parent)
        ready = [number for number, children in waiting_for.items() if not children]
        ordered = []
        while ready:
            number = ready.pop()
            ordered.append(number)
            parent = above.get(number)
            if parent is not None:
                waiting_for[parent] -= 1
                if not waiting_for[parent]:
                    ready.append(parent)
        return ordered
