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
    """What consecutive messages of a partition decode to: the first `messages` of those that were given."""

    messages: int
    events: list[Event]
    dead_letters: list[DeadLetter]
    next_offset: int
    as_of_us: int


# A message may be a batch of any number of events; a worker that folds 100,000 at once was seen at 467 and 543 MB. With
# this many in hand no further message is decoded before they are folded, so only one large message can take so much.
EVENTS_MAX = 50_000


def decode_batch(
    messages: list[Message], retention_us: int, dropped_before_us: int = 0, events_max: int = EVENTS_MAX
) -> DecodedBatch:
    """Decode messages of one partition, in order, at least one; stops when there are `events_max` events or more.

    An event from before `dropped_before_us`, or more than `retention_us` older than the broker's time of its message,
    is a dead letter too: what would tell whether it has been counted already may be gone.
    """
    events: list[Event] = []
    dead_letters: list[DeadLetter] = []
    count, as_of_us = 0, 0
    while count < len(messages) and len(events) + len(dead_letters) < events_max:
        message = messages[count]
        count += 1
        as_of_us = max(as_of_us, message.broker_us)
        decoded = decode_message(message.value, message.broker_us)
        for event in decoded.events:
            if _event_us(event) < max(message.broker_us - retention_us, dropped_before_us):
                dead_letters.append(DeadLetter(message, _too_late(event)))
            else:
                events.append(event)
        dead_letters.extend(DeadLetter(message, invalid) for invalid in decoded.invalid)
    return DecodedBatch(count, events, dead_letters, messages[count - 1].offset + 1, as_of_us)


def _event_us(event: Event) -> int:
    if event.start is not None:
        return event.start.started_at_us
    return event.end.ended_at_us if event.end is not None else 0


def _too_late(event: Event) -> InvalidEvent:
    field = "started_at" if event.start is not None else "ended_at"
    return InvalidEvent("too_late", field, f"{field} is older than call records are retained", None)
