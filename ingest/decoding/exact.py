"""Reads, field by field, what is not in the usual form: either an event all the same, or a precise reason why not.

Takes JSON that msgspec can read (`ingest.decoding.json_repair`); nothing here is on the hot path.
"""

import json
from typing import Any, NoReturn, TypeVar

import msgspec

from aggregator.calls.error_text import error_text
from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.calls.rollup_marks import any_attributes, is_from_js_sdk, model_named, sums_up_calls
from aggregator.calls.stated_usage import COUNT_MAX, InvalidUsage, check_status_counts, own_usage
from aggregator.timestamps import parse_timestamp_us
from ingest.decoding.invalid_event import NotAnEvent
from ingest.decoding.json_repair import flatten
from ingest.decoding.refs import refs_in
from ingest.decoding.shapes import KINDS
from ingest.decoding.typed import EARLIEST_US, ID_BYTES_MAX, OP_NAME_BYTES_MAX

_Form = TypeVar("_Form", bound=msgspec.Struct)
_ABSENT = msgspec.Raw(b"")


class RawSummary(msgspec.Struct):
    usage: msgspec.Raw = _ABSENT
    status_counts: msgspec.Raw = _ABSENT


class RawFields(msgspec.Struct):
    """The fields of a start, an end or a complete, each value as it stands in the message; empty is absent."""

    project_id: msgspec.Raw = _ABSENT
    id: msgspec.Raw = _ABSENT
    op_name: msgspec.Raw = _ABSENT
    started_at: msgspec.Raw = _ABSENT
    trace_id: msgspec.Raw = _ABSENT
    parent_id: msgspec.Raw = _ABSENT
    thread_id: msgspec.Raw = _ABSENT
    turn_id: msgspec.Raw = _ABSENT
    wb_user_id: msgspec.Raw = _ABSENT
    wb_run_id: msgspec.Raw = _ABSENT
    attributes: msgspec.Raw = _ABSENT
    inputs: msgspec.Raw = _ABSENT
    ended_at: msgspec.Raw = _ABSENT
    summary: msgspec.Raw = _ABSENT
    exception: msgspec.Raw = _ABSENT
    output: msgspec.Raw = _ABSENT


class RawElement(RawFields):
    """A message, an element of a batch, or a request."""

    start: msgspec.Raw = _ABSENT
    end: msgspec.Raw = _ABSENT
    complete: msgspec.Raw = _ABSENT
    mode: msgspec.Raw = _ABSENT
    req: msgspec.Raw = _ABSENT
    batch: msgspec.Raw = _ABSENT


def batch_of(message: bytes) -> list[bytes] | None:
    """The elements of a message that is a batch; None when it is not. Raises NotAnEvent."""
    element = _object(message, RawElement, None)
    if not _given(element.batch):
        return None
    if any(map(_given, (element.start, element.end, element.complete, element.mode))):
        raise NotAnEvent("shape", "batch", "a message with a batch must not hold another shape")
    try:
        return [bytes(raw) for raw in msgspec.json.decode(element.batch, type=list[msgspec.Raw])]
    except msgspec.ValidationError:
        raise NotAnEvent("shape", "batch", "batch must be a list of events") from None


def event_of(message: bytes, latest_us: int, in_batch: bool) -> Event:
    """The event of a message that is no batch, or of an element of one. Raises NotAnEvent."""
    kind, fields = _shape_of(_object(message, RawElement, None), in_batch)
    return Event(
        _required_id(fields.project_id, "project_id"),
        _required_id(fields.id, "id"),
        _call_start(fields, latest_us) if kind != "end" else None,
        _call_end(fields, latest_us, kind) if kind != "start" else None,
    )


def _shape_of(element: RawElement, in_batch: bool) -> tuple[str, RawFields]:
    if _given(element.batch):
        raise NotAnEvent("shape", "batch", "a batch must not hold a batch")
    shapes = [kind for kind in KINDS if _given(getattr(element, kind))]
    if _given(element.mode):
        if shapes:
            raise NotAnEvent("shape", shapes[0], f"a message with a mode must not hold {shapes[0]} beside its req")
        return _requested(element)
    if len(shapes) > 1:
        raise NotAnEvent("shape", shapes[1], f"a message must not hold {shapes[1]} beside {shapes[0]}")
    if shapes:
        return shapes[0], _object(getattr(element, shapes[0]), RawFields, shapes[0])
    if in_batch and _is_bare(element):
        return "complete", element
    null = next((name for name in (*KINDS, "batch") if bytes(getattr(element, name))), None)
    raise NotAnEvent("shape", null, "a message must hold a start, an end, a complete, a batch, or a mode and its req")


def _requested(element: RawElement) -> tuple[str, RawFields]:
    kind = next((kind for kind in KINDS if _text_or_none(element.mode) == kind), None)
    if kind is None:
        raise NotAnEvent("shape", "mode", "mode must be start, end or complete")
    if not _given(element.req):
        raise NotAnEvent("shape", "req", "a message with a mode must have a req")
    request = _object(element.req, RawElement, "req")
    if _given(getattr(request, kind)):
        return kind, _object(getattr(request, kind), RawFields, kind)
    if kind == "complete" and _is_bare(request):
        return kind, request
    raise NotAnEvent("shape", kind, f"the req of mode {kind} must hold {kind}")


def _call_start(fields: RawFields, latest_us: int) -> CallStart:
    op_name = _optional_id(fields.op_name, "op_name", OP_NAME_BYTES_MAX)
    attributes = any_attributes(fields.attributes) if _given(fields.attributes) else None
    return CallStart(
        _missing("op_name") if op_name is None else op_name,
        _instant_us(fields.started_at, "started_at", latest_us),
        _optional_id(fields.trace_id, "trace_id") or None,
        _optional_id(fields.parent_id, "parent_id") or None,
        _optional_id(fields.thread_id, "thread_id"),
        _optional_id(fields.turn_id, "turn_id"),
        _optional_id(fields.wb_user_id, "wb_user_id"),
        _optional_id(fields.wb_run_id, "wb_run_id"),
        _refs(fields.inputs, "inputs"),
        is_from_js_sdk(attributes),
        model_named(attributes),
    )


def _call_end(fields: RawFields, latest_us: int, kind: str) -> CallEnd:
    ended_at_us = _instant_us(fields.ended_at, "ended_at", latest_us)
    if kind == "end":  # these two mean nothing here, but a producer that mixes up types is not to be trusted
        _optional_id(fields.trace_id, "trace_id")
        _timestamp(fields.started_at, "started_at")
    if _given(fields.exception) and _text_or_none(fields.exception) is None:
        raise NotAnEvent("type", "exception", "exception must be text or null")
    usage, may_roll_up = _usage(fields.summary)
    exception = _text_or_none(fields.exception)
    error = error_text(exception) if exception else None
    return CallEnd(ended_at_us, bool(exception), usage, _refs(fields.output, "output"), may_roll_up, error)


def _usage(raw: msgspec.Raw) -> tuple[dict[str, UsageCounts], bool]:
    """Return what a summary states by model, and whether it may repeat what children used."""
    if not _given(raw):
        _missing("summary")
    try:
        summary = msgspec.json.decode(raw, type=RawSummary)
    except msgspec.ValidationError:
        raise NotAnEvent("type", "summary", "summary must be an object") from None
    try:
        usage = own_usage({"usage": _plain(summary.usage)})
    except InvalidUsage as error:
        raise NotAnEvent("usage", error.field, error.message) from None
    return usage, sums_up_calls(check_status_counts(_plain(summary.status_counts)))


def _plain(raw: msgspec.Raw) -> Any:
    """The value as Python objects; a number that no count can be is read as infinite or as more than a count."""
    text = bytes(raw)
    try:
        return json.loads(text or b"null", parse_int=_bounded_int)
    except RecursionError:
        return json.loads(flatten(text), parse_int=_bounded_int)


def _bounded_int(digits: str) -> int:
    return int(digits) if len(digits) <= len(str(COUNT_MAX)) else COUNT_MAX + 1


def _required_id(raw: msgspec.Raw, field: str) -> str:
    text = _optional_id(raw, field)
    return _missing(field) if text is None else text


def _optional_id(raw: msgspec.Raw, field: str, bytes_max: int = ID_BYTES_MAX) -> str | None:
    if not _given(raw):
        return None
    text = _text_or_none(raw)
    if text is None:
        raise NotAnEvent("type", field, f"{field} must be text")
    if len(text.encode()) > bytes_max:
        raise NotAnEvent("id_length", field, f"{field} must not be longer than {bytes_max} bytes")
    return text


def _instant_us(raw: msgspec.Raw, field: str, latest_us: int) -> int:
    value = _timestamp(raw, field)
    if value is None:
        _missing(field)
    try:
        instant_us = parse_timestamp_us(value)
    except ValueError as error:
        raise NotAnEvent("timestamp", field, f"{field} cannot be read: {error}") from None
    if instant_us < EARLIEST_US:
        raise NotAnEvent("time_range", field, f"{field} must not be before 2000-01-01")
    if instant_us > latest_us:
        raise NotAnEvent("time_range", field, f"{field} must not be more than a day ahead of the broker's clock")
    return instant_us


def _timestamp(raw: msgspec.Raw, field: str) -> str | int | float | None:
    if not _given(raw):
        return None
    if bytes(raw)[:1] not in b'"-0123456789':
        raise NotAnEvent("type", field, f"{field} must be text or a number")
    try:
        return msgspec.json.decode(raw, type=str | int | float)
    except msgspec.ValidationError:
        raise NotAnEvent("timestamp", field, f"{field} is no number of seconds") from None


def _refs(raw: msgspec.Raw, field: str) -> tuple[str, ...]:
    try:
        return refs_in(raw)
    except ValueError as error:
        raise NotAnEvent("id_length", field, f"{field} cannot be kept: {error}") from None


def _text_or_none(raw: msgspec.Raw) -> str | None:
    return msgspec.json.decode(raw, type=str) if bytes(raw).startswith(b'"') else None


def _given(raw: msgspec.Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


def _is_bare(element: RawElement) -> bool:
    return _given(element.project_id) or _given(element.id)


def _missing(field: str) -> NoReturn:
    raise NotAnEvent("missing", field, f"{field} is required")


def _object(raw: bytes | msgspec.Raw, form: type[_Form], field: str | None) -> _Form:
    try:
        return msgspec.json.decode(raw, type=form)
    except msgspec.ValidationError:
        raise NotAnEvent("shape", field, f"{field or 'an event'} must be an object") from None
