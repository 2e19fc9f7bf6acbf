"""Decodes a message into events; what is no event comes back with the reason, for the dead letters."""

import msgspec

from aggregator.calls.event import Event
from aggregator.time_units import DAY_US
from ingest.decoding.exact import batch_of, event_of
from ingest.decoding.invalid_event import InvalidEvent, NotAnEvent
from ingest.decoding.json_repair import mark_unreadable, readable_json
from ingest.decoding.otlp import holds_otlp_json, is_otlp, read_spans
from ingest.decoding.otlp_span import NO_PROJECTS, SpanProjects
from ingest.decoding.prefix import without_prefix
from ingest.decoding.typed import NotTyped, typed_event, typed_events

__all__ = ["AHEAD_MAX_US", "Decoded", "InvalidEvent", "decode_message"]

# The specified tolerance for producers whose clocks are ahead of the broker's.
AHEAD_MAX_US = DAY_US

_NOT_USUAL = (NotTyped, ValueError, RecursionError, msgspec.DecodeError)


class Decoded(msgspec.Struct):
    """What one message holds."""

    events: list[Event]
    invalid: list[InvalidEvent]


def decode_message(value: bytes | None, broker_now_us: int, projects: SpanProjects = NO_PROJECTS) -> Decoded:
    """The events of a message's value, and what in it is none. Never raises.

    `broker_now_us` is the broker's clock, microseconds since 1970: instants over a day ahead of it are invalid.
    `projects`: where spans of OpenTelemetry belong that do not say so.
    """
    if value is None:
        return Decoded([], [InvalidEvent("json", None, "the message has no value", None)])
    latest_us = broker_now_us + AHEAD_MAX_US
    if is_otlp(value):
        return Decoded(*read_spans(value, projects, latest_us))
    text = without_prefix(value)
    try:
        if not text.isascii():
            text.decode()  # msgspec does not look at the bytes of strings that it skips
        return Decoded(typed_events(text, latest_us), [])
    except _NOT_USUAL:
        decoded = _decode_exactly(text, latest_us)
    if not decoded.events and holds_otlp_json(text):
        return Decoded(*read_spans(text, projects, latest_us))
    return decoded


def _decode_exactly(text: bytes, latest_us: int) -> Decoded:
    try:
        message, elements, mark = _read(text)
        if elements is None:
            return Decoded([event_of(message, latest_us, in_batch=False)], [])
    except ValueError as error:
        return Decoded([], [InvalidEvent("json", None, f"the message is not JSON in UTF-8: {error}", None)])
    except NotAnEvent as reason:
        return Decoded([], [reason.at(None)])
    decoded = Decoded([], [])
    for position, element in enumerate(elements):
        try:
            if mark and mark in element:
                raise NotAnEvent("json", None, "the item is not JSON in UTF-8: NaN, Infinity or another encoding")
            decoded.events.append(_element_event(element, latest_us))
        except NotAnEvent as reason:
            decoded.invalid.append(reason.at(position))
    return decoded


def _read(text: bytes) -> tuple[bytes, list[bytes] | None, bytes]:
    """The message as JSON that can be decoded; its elements, if it is a batch; the mark of elements that are no JSON.

    Raises NotAnEvent, and ValueError where what is no JSON stands outside the elements of a batch.
    """
    try:
        text.decode()
        message = readable_json(text)
        return message, batch_of(message), b""
    except ValueError as error:
        marked, mark = mark_unreadable(text)
        if not mark:
            raise
        message = readable_json(marked)
        try:
            elements = batch_of(message)
        except NotAnEvent:
            raise error from None
        if elements is None or sum(element.count(mark) for element in elements) < message.count(mark):
            raise
        return message, elements, mark


def _element_event(element: bytes, latest_us: int) -> Event:
    try:
        return typed_event(element, latest_us)
    except _NOT_USUAL:
        return event_of(element, latest_us, in_batch=True)
