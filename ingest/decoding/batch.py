"""Decodes consecutive messages of a partition: many at once where they are in the commonest form, the others singly."""

from collections.abc import Callable, Sequence

import msgspec

from aggregator.calls.event import Event
from ingest.decoding.fast import decode_fast
from ingest.decoding.invalid_event import InvalidEvent
from ingest.decoding.otlp_span import NO_PROJECTS, SpanProjects
from ingest.decoding.sent_on import read_sent_on
from ingest.decoding.single import AHEAD_MAX_US, Decoded, decode_message
from ingest.decoding.typed import EARLIEST_US

# Read at once: enough that what is done once for all of them costs little, and no more than a processor's cache holds.
_MESSAGES_MAX = 1_024
_BYTES_MAX = 2**20


# A message may be a batch of some thousand events. With so much in hand no further message is decoded before it is
# folded: a worker that folds 100,000 events at once was seen at 467 and 543 MB; models of a call and refs cost most.
EVENTS_MAX = 20_000
MODELS_MAX = 20_000
REFS_MAX = 10_000


class DecodedBatch(msgspec.Struct):
    """What the first `messages` hold: events in order; what is invalid, with the position of its message."""

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
    Stops after the message that brings `events_max` events or more, or as many models or refs as a step may have.

    An event from before `dropped_before_us`, or more than `retention_us` older than the broker's time of its message,
    is invalid too: what would tell whether it has been counted already may be gone.
    """
    batch = DecodedBatch(0, [], [])
    weight = _Weight()
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
                if _is_wide(event):
                    weight.add(event)
            else:
                known = len(batch.events)
                oldest_us = max(brokers_us[position] - retention_us, dropped_before_us)
                decoded = _decoded(values[position], brokers_us[position], projects(position))
                _take(batch, position, decoded, oldest_us)
                for one in batch.events[known:]:
                    weight.add(one)
            if weight.is_full or len(batch.events) + len(batch.invalid) >= events_max:
                return batch
    return batch


def _decoded(value: bytes | None, broker_us: int, projects: SpanProjects) -> Decoded:
    """Return what a message holds, be it from a producer or from another partition's worker."""
    sent_on = read_sent_on(value, broker_us + AHEAD_MAX_US)
    if sent_on is not None:
        return Decoded([sent_on], [])
    return decode_message(value, broker_us, projects)


class _Weight(msgspec.Struct):
    """What of a step costs more than its events do."""

    models: int = 0
    refs: int = 0

    def add(self, event: Event) -> None:
        if event.start is not None:
            self.refs += len(event.start.input_refs)
        if event.end is not None:
            self.refs += len(event.end.output_refs)
            self.models += len(event.end.usage)

    @property
    def is_full(self) -> bool:
        return self.models >= MODELS_MAX or self.refs >= REFS_MAX


def _is_wide(event: Event) -> bool:
    """Whether an event has more than one model, or refs."""
    start, end = event.start, event.end
    return (start is not None and len(start.input_refs) > 1) or (
        end is not None and (len(end.usage) > 1 or len(end.output_refs) > 1)
    )


def _take(batch: DecodedBatch, position: int, decoded: Decoded, oldest_us: int) -> None:
    for event in decoded.events:
        if event.at_us < oldest_us:
            batch.invalid.append((position, _too_late(event)))
        else:
            batch.events.append(event)
    batch.invalid.extend((position, invalid) for invalid in decoded.invalid)


def _too_late(event: Event) -> InvalidEvent:
    field = "started_at" if event.start is not None else "ended_at"
    return InvalidEvent("too_late", field, f"{field} is older than call records are retained", None)
