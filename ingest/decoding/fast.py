"""Reads many messages at once, where they are in the commonest form; the others are left to `ingest.decoding.single`.

That form is one start, end or complete, with or without a mode, ids of no more than 64 characters, and times as text.
Refs and times are looked for in all messages together, which takes a fraction of the time of one by one.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from aggregator.calls.error_text import error_text
from aggregator.calls.event import CallEnd, CallStart, Event
from aggregator.calls.rollup_marks import Attributes, is_from_js_sdk, model_named, sums_up_calls
from aggregator.calls.stated_usage import StatedSummary, usage_of
from aggregator.timestamps import parse_timestamp_us, parse_timestamps_us
from ingest.decoding.prefix import PREFIXES, without_prefix
from ingest.decoding.refs import refs_in_each
from ingest.decoding.shapes import Kind
from ingest.decoding.typed import ID_BYTES_MAX, OP_NAME_BYTES_MAX

# No character has more than four bytes in UTF-8, so bytes need not be counted.
_GivenId = Annotated[str, msgspec.Meta(max_length=ID_BYTES_MAX // 4)]
_GivenOpName = Annotated[str, msgspec.Meta(max_length=OP_NAME_BYTES_MAX // 4)]
_Id = _GivenId | None
_ABSENT = msgspec.Raw(b"")


class _StartPart(msgspec.Struct, gc=False):
    project_id: _GivenId
    id: _GivenId
    op_name: _GivenOpName
    started_at: str
    trace_id: _Id = None
    parent_id: _Id = None
    thread_id: _Id = None
    turn_id: _Id = None
    wb_user_id: _Id = None
    wb_run_id: _Id = None
    attributes: Attributes | None = None
    inputs: msgspec.Raw = _ABSENT


class StartFields(_StartPart, gc=False):
    """What is read of a start."""


class CompleteFields(_StartPart, gc=False, kw_only=True):
    """What is read of a complete."""

    ended_at: str
    summary: StatedSummary
    exception: str | None = None
    output: msgspec.Raw = _ABSENT


class EndFields(msgspec.Struct, gc=False):
    """What is read of an end; the last two mean nothing there, but must be of their types."""

    project_id: _GivenId
    id: _GivenId
    ended_at: str
    summary: StatedSummary
    exception: str | None = None
    output: msgspec.Raw = _ABSENT
    trace_id: _Id = None
    started_at: str | int | float | None = None


class Request(msgspec.Struct, gc=False):
    """An object that holds a start, an end or a complete."""

    start: StartFields | None = None
    end: EndFields | None = None
    complete: CompleteFields | None = None


class Envelope(Request, gc=False):
    """A whole message."""

    mode: Kind | None = None
    req: Request | None = None
    batch: None = None


Fields = StartFields | EndFields | CompleteFields

_decode_envelope = msgspec.json.Decoder(Envelope).decode


def decode_fast(values: Sequence[bytes | None], earliest_us: int, latest_us: int) -> list[Event | None]:
    """The event of each message; None for a message that must be read by itself.

    That is one in another form, an invalid one, or one with a time before `earliest_us`, which is not before 1970, or
    after `latest_us`.
    """
    messages: list[Fields | None] = []
    times: list[str] = []
    parts: list[msgspec.Raw] = []
    for value in values:
        fields = None
        if value is not None:
            try:
                if not value.isascii():
                    value.decode()  # msgspec does not look at the bytes of strings that it skips
                fields = _fields(_decode_envelope(value))
            except (ValueError, RecursionError, msgspec.DecodeError):
                fields = _fields_behind_prefix(value)
        messages.append(fields)
        if type(fields) is StartFields:
            times.append(fields.started_at)
            parts.append(fields.inputs)
        elif type(fields) is EndFields:
            times.append(fields.ended_at)
            parts.append(fields.output)
        elif type(fields) is CompleteFields:
            times += (fields.started_at, fields.ended_at)
            parts += (fields.inputs, fields.output)
    try:
        refs = refs_in_each(parts)
    except (ValueError, msgspec.DecodeError):
        return [None] * len(values)
    return _events(messages, iter(_instants_us(times)), iter(refs), earliest_us, latest_us)


def _fields(envelope: Envelope) -> Fields | None:
    start, end, complete, mode = envelope.start, envelope.end, envelope.complete, envelope.mode
    if mode is None:
        return (start or end or complete) if (start is None) + (end is None) + (complete is None) == 2 else None
    request = envelope.req
    if request is None or start or end or complete:
        return None
    return request.start if mode == "start" else request.end if mode == "end" else request.complete


def _fields_behind_prefix(value: bytes) -> Fields | None:
    """The fields of a message that is not JSON from its first byte, if it is without what may stand before."""
    bare = without_prefix(value)
    if not value.startswith(PREFIXES) or bare.startswith(PREFIXES):
        return None
    try:
        if not bare.isascii():
            bare.decode()
        return _fields(_decode_envelope(bare))
    except (ValueError, RecursionError, msgspec.DecodeError):
        return None


def _instants_us(times: list[str]) -> list[int]:
    """Parse timestamps; one that is none becomes -1, which is too early for any event."""
    try:
        return parse_timestamps_us(times)
    except ValueError:
        return [_instant_us(time) for time in times]


def _instant_us(time: str) -> int:
    try:
        return parse_timestamp_us(time)
    except ValueError:
        return -1


def _events(
    messages: list[Fields | None],
    times_us: Iterator[int],
    refs: Iterator[tuple[str, ...]],
    earliest_us: int,
    latest_us: int,
) -> list[Event | None]:
    """Times and refs are those of the messages one after the other, a complete's start before its end."""
    events: list[Event | None] = []
    for fields in messages:
        start = end = event = None
        if type(fields) is StartFields:
            at_us = next(times_us)
            start = _start(fields, at_us, next(refs))
            if earliest_us <= at_us <= latest_us:
                event = Event(fields.project_id, fields.id, start, None)
        elif type(fields) is EndFields:
            at_us = next(times_us)
            end = _end(fields, at_us, next(refs))
            if earliest_us <= at_us <= latest_us:
                event = Event(fields.project_id, fields.id, None, end)
        elif type(fields) is CompleteFields:
            start = _start(fields, next(times_us), next(refs))
            end = _end(fields, next(times_us), next(refs))
            if earliest_us <= start.started_at_us <= latest_us and earliest_us <= end.ended_at_us <= latest_us:
                event = Event(fields.project_id, fields.id, start, end)
        events.append(event)
    return events


def _start(fields: StartFields | CompleteFields, started_us: int, refs: tuple[str, ...]) -> CallStart:
    return CallStart(
        fields.op_name,
        started_us,
        fields.trace_id or None,
        fields.parent_id or None,
        fields.thread_id,
        fields.turn_id,
        fields.wb_user_id,
        fields.wb_run_id,
        refs,
        fields.attributes is not None and is_from_js_sdk(fields.attributes),
        None if fields.attributes is None else model_named(fields.attributes),
    )


def _end(fields: EndFields | CompleteFields, ended_us: int, refs: tuple[str, ...]) -> CallEnd:
    summary = fields.summary
    rolls_up = summary.status_counts is not None and sums_up_calls(summary.status_counts)
    exception = fields.exception
    error = error_text(exception) if exception else None
    return CallEnd(ended_us, bool(exception), usage_of(summary), refs, rolls_up, error)
