"""A message: bytes of a topic with partition and offset; a dead letter when it is no event."""

from collections.abc import Sequence
from typing import NamedTuple

from ingest.decoding.invalid_event import InvalidEvent

Headers = Sequence[tuple[str, str | bytes | None]]
"""As the client gives them."""


class Message(NamedTuple):
    """One message as it was read. `broker_us`: the broker's time of it, microseconds since the epoch."""

    topic: str
    partition: int
    offset: int
    broker_us: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()


class DeadLetter(NamedTuple):
    """An invalid message, or one invalid event of a batch message, and why."""

    message: Message
    invalid: InvalidEvent
    # Whether the message goes with it, which may have gone with others already.
    is_whole: bool = True
