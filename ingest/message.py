"""A message: bytes of a topic with partition and offset, and what its bytes decode to."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from aggregator.event import Event
from ingest.decode import decode_message
from ingest.invalid_event import InvalidEvent

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


class DecodedBatch(msgspec.Struct):
    """What consecutive messages of a partition decode to."""

    events: list[Event]
    dead_letters: list[DeadLetter]
    next_offset: int
    as_of_us: int


def decode_batch(messages: list[Message], retention_us: int, dropped_before_us: int = 0) -> DecodedBatch:
    """Decode messages of one partition, in order, at least one.

    An event from before `dropped_before_us`, or more than `retention_us` older than the broker's time of its message,
    is a dead letter too: what would tell whether it has been counted already may be gone.
    """
    events: list[Event] = []
    dead_letters: list[DeadLetter] = []
    for message in messages:
        decoded = decode_message(message.value, message.broker_us)
        for event in decoded.events:
            if _event_us(event) < max(message.broker_us - retention_us, dropped_before_us):
                dead_letters.append(DeadLetter(message, _too_late(event)))
            else:
                events.append(event)
        dead_letters.extend(DeadLetter(message, invalid) for invalid in decoded.invalid)
    return DecodedBatch(events, dead_letters, messages[-1].offset + 1, max(one.broker_us for one in messages))


def _event_us(event: Event) -> int:
    if event.start is not None:
        return event.start.started_at_us
    return event.end.ended_at_us if event.end is not None else 0


def _too_late(event: Event) -> InvalidEvent:
    field = "started_at" if event.start is not None else "ended_at"
    return InvalidEvent("too_late", field, f"{field} is older than call records are retained", None)
