"""Decodes a message into events; what is no event comes back with the reason, for the dead letters."""

import msgspec

from aggregator.calls.event import Event
from aggregator.timestamps import DAY_US
from ingest.decoding.exact import batch_of, event_of
from ingest.decoding.invalid_event import InvalidEvent, NotAnEvent
from ingest.decoding.json_repair import readable_json
from ingest.decoding.otlp import holds_otlp_json, is_otlp, read_spans
from ingest.decoding.otlp_span import NO_PROJECTS, SpanProjects
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
    try:
        if not value.isascii():
            value.decode()  # msgspec does not look at the bytes of strings that it skips
        return Decoded(typed_events(value, latest_us), [])
    except _NOT_USUAL:
        decoded = _decode_exactly(value, latest_us)
    if not decoded.events and holds_otlp_json(value):
        return Decoded(*read_spans(value, projects, latest_us))
    return decoded


def _decode_exactly(value: bytes, latest_us: int) -> Decoded:
    try:
        value.decode()
        message = readable_json(value)
        elements = batch_of(message)
        if elements is None:
            return Decoded([event_of(message, latest_us, in_batch=False)], [])
    except ValueError as error:
        return Decoded([], [InvalidEvent("json", None, f"the message is not JSON in UTF-8: {error}", None)])
    except NotAnEvent as reason:
        return Decoded([], [reason.at(None)])
    decoded = Decoded([], [])
    for position, element in enumerate(elements):
        try:
            decoded.events.append(_element_event(element, latest_us))
        except NotAnEvent as reason:
            decoded.invalid.append(reason.at(position))
    return decoded


def _element_event(element: bytes, latest_us: int) -> Event:
    try:
        return typed_event(element, latest_us)
    except _NOT_USUAL:
        return event_of(element, latest_us, in_batch=True)
