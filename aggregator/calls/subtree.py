"""Subtree totals: what changed in some calls, added to all their ancestors, each once, however deep the tree is.

A call rolls up to its parent when both are of one trace. To a parent that has not started yet it brings its totals in
advance, kept by trace; the parent takes those of its own trace when it starts. Links never form a ring (see
`closes_ring`).
"""

from collections.abc import Mapping

from aggregator.calls.call import Call, Subtree


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


class SubtreeChanges:
    """What a batch changes in subtree totals: of a call's own, and below it."""

    def __init__(self) -> None:
        self.own: dict[int, Subtree] = {}
        self.below: dict[int, Subtree] = {}

    def add_own(self, number: int, change: Subtree) -> None:
        """The call itself changed by `change`, which its record already shows."""
        known = self.own.setdefault(number, change)
        if known is not change:
            known.merge(change)

    def add_below(self, number: int, change: Subtree) -> None:
        """Descendants of the call changed by `change`, which is left alone."""
        known = self.below.get(number)
        if known is None:
            known = self.below[number] = Subtree()
        known.merge(change)

    def roll_up(self, calls: Mapping[int, Call]) -> dict[int, int]:
        """Change the totals in `calls`, which holds the ancestors too.

        Returns the numbers of all calls changed, and how many unfinished calls each had at or below it before.
        """
        unfinished_before: dict[int, int] = {}
        for number in self._descendants_first(calls):
            call = calls[number]
            own, below = self.own.get(number), self.below.get(number)
            change = own or below
            if change is None:
                continue
            if own is not None and below is not None:
                change = Subtree()
                change.merge(own)
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
        waiting_for: dict[int, int] = dict.fromkeys([*self.own, *self.below], 0)
        to_visit = list(waiting_for)
        while to_visit:
            parent = _started_parent(calls, to_visit.pop())
            if parent is None:
                continue
            if parent not in waiting_for:
                waiting_for[parent] = 0
                to_visit.append(parent)
            waiting_for[parent] += 1
        ready = [number for number, children in waiting_for.items() if not children]
        ordered = []
        while ready:
            number = ready.pop()
            ordered.append(number)
            parent = _started_parent(calls, number)
            if parent is not None:
                waiting_for[parent] -= 1
                if not waiting_for[parent]:
                    ready.append(parent)
        return ordered


def _started_parent(calls: Mapping[int, Call], number: int) -> int | None:
    call = calls[number]
    if call.parent_number is None:
        return None
    parent = calls[call.parent_number]
    return call.parent_number if parent.started_us is not None and parent.trace == call.trace else None
