"""How small steps must be after one has ended its worker, or failed for a reason that nobody knows.

Such a step is found again in ever smaller ones, until it is a single message. That one is tried once more and then set
aside, as a dead letter, so that what follows it is counted. What is found out must outlive the process: the shard
keeps a note of the step that is begun (`aggregator.layout.attempt`), which is stale as soon as the step is applied.
"""

from typing import NamedTuple

from aggregator.layout.attempt import Attempt

# A message that has ended so many workers by itself ends no more.
DEATHS_MAX = 2
# A step of up to so many messages is gone through one by one, a larger one in so many parts.
SINGLY_MAX = 256
PARTS = 64


class Position(NamedTuple):
    """Where a step begins: the first offset that is not applied, and the elements of that message that are."""

    offset: int
    element: int


class Caution:
    """What is known of the steps before one partition's next."""

    def __init__(self) -> None:
        self.is_noting = True  # the first step of an assignment is noted, and those near one that failed
        self._messages_max: int | None = None
        self._messages_left = 0
        self._deaths = 0
        self._begun: Attempt | None = None

    def opened(self, stored: Attempt | None, position: Position) -> None:
        """Another process has left this note: if its step was not applied, it may have ended that process."""
        self.is_noting = True
        if stored is not None and Position(stored.offset, stored.element) == position:
            self._suspect(stored)

    def failed(self) -> None:
        """The step that was begun last raised what nobody expects."""
        if self._begun is not None:
            self._suspect(self._begun)

    def sets_aside(self) -> bool:
        """Whether the message that comes next has had its chances."""
        return self._deaths >= DEATHS_MAX

    def begin(self, position: Position, messages: int) -> Attempt:
        """The step that begins here; it takes no more messages than it says."""
        taken = messages if self._messages_max is None else min(messages, self._messages_max)
        self._begun = Attempt(position.offset, position.element, taken, self._deaths)
        return self._begun

    def succeeded(self, messages: int) -> None:
        """The step that was begun last is applied, with so many messages."""
        self._deaths = 0
        self._messages_left -= messages
        if self._messages_left <= 0:
            self.is_noting, self._messages_max = False, None

    def _suspect(self, attempt: Attempt) -> None:
        self.is_noting = True
        if attempt.messages <= 1:
            self._deaths = attempt.deaths + 1
        self._messages_left = max(self._messages_left, attempt.messages)
        self._messages_max = 1 if attempt.messages <= SINGLY_MAX else attempt.messages // PARTS
