"""What waits to be sealed, and which of it is due: what nothing has come for in a while."""

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from aggregator.time_units import SECOND_US

Part = TypeVar("Part")
NEVER_US = 2**63


def wait_us(seal_after_s: int | None) -> int:
    """How long it takes until something is due to which nothing comes (None: NEVER_US)."""
    return NEVER_US if seal_after_s is None else seal_after_s * SECOND_US


class WaitingToSeal(Generic[Part]):
    """Parts of a shard that wait to be sealed.

    `seal_after_s`: how long a part is left after its end, and after what came late for it; None: for ever.
    """

    def __init__(self, waiting: Iterable[Part], end_us: Callable[[Part], int], seal_after_s: int | None) -> None:
        self._end_us = end_us
        self._seal_after_us = wait_us(seal_after_s)
        # When something last came for each; what came before this writer began does not matter.
        self._touched_us = dict.fromkeys(waiting, 0)
        self._none_due_before_us = 0

    @property
    def is_off(self) -> bool:
        """Whether nothing is ever due."""
        return self._seal_after_us == NEVER_US

    def __contains__(self, part: object) -> bool:
        """Whether it waits."""
        return part in self._touched_us

    def note(self, part: Part, now_us: int) -> bool:
        """Something has come for a part; returns whether it did not wait yet."""
        is_new = part not in self._touched_us
        self._touched_us[part] = now_us
        self._none_due_before_us = min(self._none_due_before_us, self._due_us(part))
        return is_new

    def next_due(self, now_us: int) -> Part | None:
        """A part that is due, if there is one."""
        if now_us < self._none_due_before_us:
            return None
        for part in self._touched_us:
            if self._due_us(part) <= now_us:
                return part
        self._none_due_before_us = min(map(self._due_us, self._touched_us), default=NEVER_US)
        return None

    def forget(self, part: Part) -> None:
        """Forget a piece: it is sealed."""
        del self._touched_us[part]

    def _due_us(self, part: Part) -> int:
        return max(self._end_us(part), self._touched_us[part]) + self._seal_after_us
