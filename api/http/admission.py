"""How much there is of something for all requests together; what does not fit is refused at once, not queued."""

from collections.abc import Iterator
from contextlib import contextmanager

from api.refusals import Refusal

# Those that are answered now are done within a second or so.
RETRY_AFTER_S = 1


class Admission:
    """`size` of something that is called `what`."""

    def __init__(self, what: str, size: int) -> None:
        self._what = what
        self._size = size
        self._left = size

    def take(self, amount: int) -> None:
        """Raises Refusal (503) where there is no room for so much."""
        if amount > self._left:
            sentence = f"The server has no room for more than {self._size:,} {self._what} at once; please retry."
            raise Refusal(503, (), sentence, "busy", headers={"Retry-After": str(RETRY_AFTER_S)})
        self._left -= amount

    def give_back(self, amount: int) -> None:
        """Free what was taken."""
        self._left += amount

    @contextmanager
    def holding(self, amount: int) -> Iterator[None]:
        """Take, and give back at the end."""
        self.take(amount)
        try:
            yield
        finally:
            self.give_back(amount)
