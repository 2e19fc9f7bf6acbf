"""The usual form of a message, decoded in one typed pass, and the events it stands for.

Only the fields that count are declared; msgspec skips all others unread. A message that does not fit (`NotTyped`, or
an error of msgspec) need not be invalid: `ingest.decoding.exact` decides that, and alone words what is wrong.
"""

from typing import Annotated

import msgspec

from aggregator.calls.error_text import error_text
from aggregator.calls.event import CallEnd, CallStart, Event
from aggregator.calls.rollup_marks import Attributes, is_from_js_sdk, model_named, sums_up_calls
from aggregator.calls.stated_usage import StatedSummary, usage_of
from aggregator.timestamps import parse_timestamp_us
from ingest.decoding.refs import refs_in
from ingest.decoding.shapes import Kind

# The specified limit of every id: each is stored with its call.
ID_BYTES_MAX = 256
# Op names are keys of rollups; Weave's are refs of some 150 bytes, but a producer may use a URL or a signature.
OP_NAME_BYTES_MAX = 4096
# 2000-01-01T00:00Z: an instant before it comes from a producer without a clock.
EARLIEST_US = 946_684_800_000_000

# msgspec limits characters; where a message is not all ASCII, bytes are counted besides.
_Id = Annotated[str, msgspec.Meta(max_length=ID_BYTES_MAX)] | None
_OpName = Annotated[str, msgspec.Meta(max_length=OP_NAME_BYTES_MAX)] | None
_Timestamp = str | int | float | None
_ABSENT = msgspec.Raw(b"")


class NotTyped(Exception):
    """The message is not in the usual form."""


class Fields(msgspec.Struct, gc=False):
    """What a start, an end or a complete may tell; `None` is absent, or null."""

    project_id: _Id = None
    id: _Id = None
    op_name: _OpName = None
    started_at: _Timestamp = None
    trace_id: _Id = None
    parent_id: _Id = None
    thread_id: _Id = None
    turn_id: _Id = None
    wb_user_id: _Id = None
    wb_run_id: _Id = None
    attributes: Attributes | None = None
    inputs: msgspec.Raw = _ABSENT
    ended_at: _Timestamp = None
    summary: StatedSummary | None = None
    exception: str | None = None
    output: msgspec.Raw = _ABSENT


class Request(Fields, gc=False):
    """An object that holds a start, an end or a complete, or is itself the fields of a complete."""

    start: Fields | None = None
    end: Fields | None = None
    complete: Fields | None = None


class Element(Request, gc=False):
    """An element of a batch; a batch has no place in it."""

    mode: Kind | None = None
    req: Request | None = None
    batch: None = None


class Envelope(msgspec.Struct, gc=False):
    """A whole message."""

    start: Fields | None = None
    end: Fields | None = None
    complete: Fields | None = None
    mode: Kind | None = None
    req: Request | None = None
    batch: list[Element] | None = None


_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_element = msgspec.json.Decoder(Element).decode


def typed_events(message: bytes, latest_us: int) -> list[Event]:
    """The events of a message in the usual form; none may be later than `latest_us`.

    Raises NotTyped, ValueError, msgspec.DecodeError or RecursionError when it is in another form, or invalid.
    """
    envelope = _decode_envelope(message)
    wide = b"\\" in message or not message.isascii()
    if envelope.batch is None:
        return [_event(envelope, latest_us, wide)]
    if envelope.mode or envelope.start or envelope.end or envelope.complete:
        raise NotTyped
    return [_event(element, latest_us, wide) for element in envelope.batch]


def typed_event(element: bytes, latest_us: int) -> Event:
    """The event of one element of a batch; raises as `typed_events` does."""
    return _event(_decode_element(element), latest_us, True)


def _event(element: Envelope | Element, latest_us: int, wide: bool) -> Event:
    """`wide`: characters may have more than one byte, so lengths in bytes are checked too."""
    start, end, complete = element.start, element.end, element.complete
    if element.mode is not None:
        request = element.req
        if request is None or start or end or complete:
            raise NotTyped
        if element.mode == "start":
            start = request.start
        elif element.mode == "end":
            end = request.end
        else:
            complete = request.complete or request
    elif (start is not None) + (end is not None) + (complete is not None) > 1:
        raise NotTyped
    fields = start or end or complete or element
    if not isinstance(fields, Fields) or fields.project_id is None or fields.id is None:
        raise NotTyped
    if wide:
        _check_bytes(fields)
    return Event(
        fields.project_id,
        fields.id,
        _call_start(fields, latest_us) if fields is not end else None,
        _call_end(fields, latest_us) if fields is not start else None,
    )


def _call_start(fields: Fields, latest_us: int) -> CallStart:
    if fields.op_name is None or fields.started_at is None:
        raise NotTyped
    return CallStart(
        fields.op_name,
        _instant_us(fields.started_at, latest_us),
        fields.trace_id or None,
        fields.parent_id or None,
        fields.thread_id,
        fields.turn_id,
        fields.wb_user_id,
        fields.wb_run_id,
        refs_in(fields.inputs),
        is_from_js_sdk(fields.attributes),
        model_named(fields.attributes),
    )


def _call_end(fields: Fields, latest_us: int) -> CallEnd:
    if fields.ended_at is None or fields.summary is None:
        raise NotTyped
    return CallEnd(
        _instant_us(fields.ended_at, latest_us),
        bool(fields.exception),
        usage_of(fields.summary),
        refs_in(fields.output),
        sums_up_calls(fields.summary.status_counts),
        error_text(fields.exception) if fields.exception else None,
    )


def _instant_us(timestamp: str | int | float, latest_us: int) -> int:
    instant_us = parse_timestamp_us(timestamp)
    if not EARLIEST_US <= instant_us <= latest_us:
        raise NotTyped
    return instant_us


def _check_bytes(fields: Fields) -> None:
    ids = (
        fields.project_id,
        fields.id,
        fields.trace_id,
        fields.parent_id,
        fields.thread_id,
        fields.turn_id,
        fields.wb_user_id,
        fields.wb_run_id,
    )
    for text in ids:
        if text is not None and len(text) > ID_BYTES_MAX // 4 and len(text.encode()) > ID_BYTES_MAX:
            raise NotTyped
    op_name = fields.op_name
    if op_name is not None and len(op_name) > OP_NAME_BYTES_MAX // 4 and len(op_name.encode()) > OP_NAME_BYTES_MAX:
        raise NotTyped
