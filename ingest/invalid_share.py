"""Whether a worker's input is wholly invalid: a broken producer must be noticed by the worker, not by an accountant."""

import msgspec

from aggregator.time_units import MINUTE_US

# So few events may all be invalid by chance.
COUNTED_MIN = 100


class InvalidLimit(msgspec.Struct, frozen=True):
    """The share from which on input counts as broken. The worker goes on all the same: every invalid event is a dead
    letter."""

    # Of the events of the last minute or two: by default all of them.
    share: float = 1.0
    # Invalid events with no valid one between them, however slowly they come.
    consecutive: int = 1_000


class InvalidShare:
    """Counts events, valid and not, over the present minute and the one before."""

    def __init__(self, limit: InvalidLimit) -> None:
        self._limit = limit
        self.consecutive = 0
        self._minute = 0
        self._counts = [(0, 0), (0, 0)]  # valid and invalid events of the present minute and of the one before
        self._told_minute = 0

    def count(self, valid: int, invalid: int, now_us: int) -> None:
        """Add what a step brought. The order within it is not known: a valid event ends a row of invalid ones."""
        self.consecutive = invalid if valid else self.consecutive + invalid
        self._turn(now_us // MINUTE_US)
        (known_valid, known_invalid), before = self._counts
        self._counts = [(known_valid + valid, known_invalid + invalid), before]

    def is_broken(self, now_us: int) -> bool:
        """Whether one of the limits is reached."""
        self._turn(now_us // MINUTE_US)
        valid, invalid = (sum(counts) for counts in zip(*self._counts, strict=True))
        by_share = valid + invalid >= COUNTED_MIN and invalid >= self._limit.share * (valid + invalid)
        return by_share or self.consecutive >= self._limit.consecutive

    def to_tell(self, now_us: int) -> dict[str, int] | None:
        """Return what is to be logged: once a minute while a limit is reached."""
        if now_us // MINUTE_US == self._told_minute or not self.is_broken(now_us):
            return None
        self._told_minute = now_us // MINUTE_US
        valid, invalid = (sum(counts) for counts in zip(*self._counts, strict=True))
        return {"invalid_events": invalid, "valid_events": valid, "consecutive": self.consecutive}

    def _turn(self, minute: int) -> None:
        if minute > self._minute:
            before = self._counts[0] if minute == self._minute + 1 else (0, 0)
            self._counts = [(0, 0), before]
            self._minute = minute
