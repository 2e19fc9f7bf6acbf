"""Messages of the OpenTelemetry Collector, `otlp_proto` and `otlp_json`: their spans as events, and what is none.

No header tells the two encodings apart, nor from our own events: the first bytes do.
"""

from collections.abc import Iterator

from aggregator.calls.event import Event
from ingest.decoding.invalid_event import InvalidEvent, NotAnEvent
from ingest.decoding.otlp_json import MalformedSpan, SpanText, looks_like_otlp_json, spans_in_json
from ingest.decoding.otlp_protobuf import Malformed, SpanBytes, looks_like_protobuf, spans_in
from ingest.decoding.otlp_span import SpanProjects, event_of_span

_LINE_FEED = b"\n"  # the key of the first field of protobuf's message, and white space in JSON


def is_otlp(message: bytes) -> bool:
    """Whether the message holds spans of OpenTelemetry, in either encoding."""
    if message.startswith(_LINE_FEED) and looks_like_protobuf(message):
        return True
    return looks_like_otlp_json(message)


def holds_otlp_json(message: bytes) -> bool:
    """Whether JSON that is none of our events may hold spans all the same: what names them need not come first."""
    return b'"resourceSpans"' in message


def read_spans(message: bytes, projects: SpanProjects, latest_us: int) -> tuple[list[Event], list[InvalidEvent]]:
    """The events of a message that `is_otlp`, and what in it is none, by the span's number in the message.

    Never raises. Instants after `latest_us` are invalid.
    """
    events: list[Event] = []
    invalid: list[InvalidEvent] = []
    number = -1
    try:
        for number, span in enumerate(_spans(message)):
            try:
                events.append(event_of_span(span.read(), span.resource, projects, latest_us))
            except NotAnEvent as reason:
                invalid.append(reason.at(number))
            except (Malformed, MalformedSpan) as wrong:
                invalid.append(InvalidEvent("shape", None, str(wrong), number))
    except (Malformed, MalformedSpan) as wrong:
        invalid.append(InvalidEvent("shape", None, f"{wrong}; {number + 1} spans before it were read", None))
    return events, invalid


def _spans(message: bytes) -> Iterator[SpanBytes | SpanText]:
    is_protobuf = message.startswith(_LINE_FEED) and not looks_like_otlp_json(message)
    yield from spans_in(message) if is_protobuf else spans_in_json(message)
