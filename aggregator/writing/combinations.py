"""Which views count calls, by the combination of their values: looked up once for many calls."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from aggregator.calls.call import Call
from aggregator.layout.minute_calls import OP_ALONE, UNKNOWN
from aggregator.layout.slots import ProjectDay
from aggregator.rollups.view import View
from aggregator.rollups.views import ALL_CALLS, ViewDirectory, views_of

# Combinations of values whose views are at hand, some 500 bytes each; forgotten all at once.
COMBINATIONS_MAX = 10_000

Values = tuple[str, bool, str | None, str | None]
"""Op name, root or not, user, run: the values of a call that its views go by."""
NumberedCall = tuple[int, Call]
"""A call after its record number."""


class Combination(NamedTuple):
    """What calls of the same values have in common: the views that count them, and what pieces of a busy minute say."""

    views: Sequence[int]
    named: int


class Combinations:
    """The combinations of lately."""

    def __init__(self) -> None:
        self._known: dict[tuple[ProjectDay, Values], Combination] = {}
        self._day: ProjectDay | None = None
        self._by_number: dict[int, View] = {}  # of that day

    def get(self, day: ProjectDay, values: Values, directory: ViewDirectory) -> Combination:
        """That of these values, which have been admitted to the directory of a day, or refused by it."""
        known = self._known.get((day, values))
        if known is None:
            if len(self._known) >= COMBINATIONS_MAX:
                self._known.clear()
            known = self._known[day, values] = _combination(values, directory)
        return known

    def by_number(self, day: ProjectDay, directory: ViewDirectory) -> Mapping[int, View]:
        """The views of a directory by their numbers."""
        if day != self._day or len(self._by_number) != len(directory.numbers):
            self._day = day
            self._by_number = {number: view for view, number in directory.numbers.items()}
        return self._by_number

    def views_of(self, day: ProjectDay, named: int, directory: ViewDirectory) -> Sequence[int]:
        """The views that count calls of which a piece of a busy minute says this, as far as that tells."""
        if named == UNKNOWN:
            return [ALL_CALLS]
        if named >= OP_ALONE:
            return [ALL_CALLS, named - OP_ALONE]
        op_name, root, user_id, run_id, _ = self.by_number(day, directory)[named]
        assert op_name is not None  # each call has one
        return self.get(day, (op_name, root is True, user_id, run_id), directory).views


def _combination(values: Values, directory: ViewDirectory) -> Combination:
    op_name, root, user_id, run_id = values
    numbers = directory.numbers
    views = [number for view in views_of(*values) if (number := numbers.get(view)) is not None]
    named = numbers.get(View(op_name, root or None, user_id, run_id))
    if named is None:
        op = numbers.get(View(op_name=op_name))
        named = UNKNOWN if op is None else op + OP_ALONE
    return Combination([ALL_CALLS, *views], named)


def by_values(calls: Iterable[NumberedCall]) -> dict[Values, list[NumberedCall]]:
    """Calls, those of the same values together."""
    found: dict[Values, list[NumberedCall]] = {}
    for one in calls:
        call = one[1]
        found.setdefault((call.op_name, call.parent is None, call.user_id, call.run_id), []).append(one)
    return found
