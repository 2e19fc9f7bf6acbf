"""Decodes consecutive messages of a partition: many at once where they are in the commonest form, the others singly."""

from collections.abc import Callable, Sequence

import msgspec

from aggregator.calls.event import Event
from ingest.decoding.fast import decode_fast
from ingest.decoding.invalid_event import InvalidEvent
from ingest.decoding.otlp_span import NO_PROJECTS, SpanProjects
from ingest.decoding.single import AHEAD_MAX_US, Decoded, decode_message
from ingest.decoding.typed import EARLIEST_US

# Read at once: enough that what is done once for all of them costs little, and no more than a processor's cache holds.
_MESSAGES_MAX = 1_024
_BYTES_MAX = 2**20


# A message may be a batch of any number of events; a worker that folds 100,000 at once was seen at 467 and 543 MB. With
# this many in hand no further message is decoded before they are folded, so only one large message can take so much.
EVENTS_MAX = 50_000


class DecodedBatch(msgspec.Struct):
    """Of the first `messages` that were given: events in order; what is invalid, with the position of its message."""

    messages: int
    events: list[Event]
    invalid: list[tuple[int, InvalidEvent]]


def decode_batch(
    values: Sequence[bytes | None],
    brokers_us: Sequence[int],
    retention_us: int,
    dropped_before_us: int = 0,
    events_max: int = EVENTS_MAX,
    projects: Callable[[int], SpanProjects] = lambda position: NO_PROJECTS,
) -> DecodedBatch:
    """Decode messages of one partition, in order, at least one: their values, and the broker's time of each.

    `projects`: by the position of a message, where spans of OpenTelemetry in it belong that do not say so.
    Stops after the message that brings `events_max` events or more.

    An event from before `dropped_before_us`, or more than `retention_us` older than the broker's time of its message,
    is invalid too: what would tell whether it has been counted already may be gone.
    """
    batch = DecodedBatch(0, [], [])
    # An event between these is neither too old nor ahead of the time, whichever message it is in.
    earliest_us = max(max(brokers_us) - retention_us, dropped_before_us, EARLIEST_US)
    latest_us = min(brokers_us) + AHEAD_MAX_US
    bytes_mean = sum(len(value) for value in values[:_MESSAGES_MAX] if value) // min(len(values), _MESSAGES_MAX)
    step = min(_MESSAGES_MAX, _BYTES_MAX // (bytes_mean + 1) + 1)
    for first in range(0, len(values), step):
        for position, event in enumerate(decode_fast(values[first : first + step], earliest_us, latest_us), first):
            batch.messages += 1
            if event is not None:
                batch.events.append(event)
            else:
                oldest_us = max(brokers_us[position] - retention_us, dropped_before_us)
                decoded = decode_message(values[position], brokers_us[position], projects(position))
                _take(batch, position, decoded, oldest_us)
            if len(batch.events) + len(batch.invalid) >= events_max:
                return batch
    return batch


def _take(batch: DecodedBatch, position: int, decoded: Decoded, oldest_us: int) -> None:
    for event in decoded.events:
        if _event_us(event) < oldest_us:
            batch.invalid.append((position, _too_late(event)))
        else:
            batch.events.append(event)
    batch.invalid.extend((position, invalid) for invalid in decoded.invalid)


def _event_us(event: Event) -> int:
    if event.start is not None:
        return event.start.started_at_us
    return event.end.ended_at_us if event.end is not None else 0


def _too_late(event: Event) -> InvalidEvent:
    field = "started_at" if event.start is not None else "ended_at"
    return InvalidEvent("too_late", field, f"{field} is older than call records are retained", None)
