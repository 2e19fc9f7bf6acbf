"""Reads a raw message value into the events in it, each checked, or says why it is none (behaviour §1, §6)."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tests.brute_force import instants
from tests.brute_force.usage import Counts, InvalidUsage, own_usage, sums_up_children

ID_BYTES_MAX = 256
EARLIEST_US = instants.from_text("2000-01-01T00:00:00Z")
REF_SCHEMES = ("weave:///", "weave-trace-internal:///", "wandb-artifact:///")
# What NaN and the infinities are read as.
_NO_JSON = object()
SHAPES = ("start", "end", "complete")


class Invalid(Exception):
    """A message, or an element of its batch, that is no event. `reason` is one of json, shape, missing, type,
    timestamp, time_range, id_length, usage."""

    def __init__(self, reason: str, field: str | None = None) -> None:
        super().__init__(reason, field)
        self.reason = reason
        self.field = field


@dataclass(frozen=True)
class Start:
    """All that the start of a call tells; times in microseconds since 1970."""

    op_name: str
    started_at_us: int
    trace_id: str | None
    parent_id: str | None
    thread_id: str | None
    turn_id: str | None
    wb_user_id: str | None
    wb_run_id: str | None
    input_refs: frozenset[str]
    may_roll_up: bool
    model: str | None


@dataclass(frozen=True)
class End:
    """All that the end of a call tells. `usage` is what it states, by model."""

    ended_at_us: int
    failed: bool
    usage: dict[str, Counts]
    output_refs: frozenset[str]
    may_roll_up: bool
    error: str | None


@dataclass(frozen=True)
class Event:
    """A start, an end, or both, of the call `(project_id, call_id)`."""

    project_id: str
    call_id: str
    start: Start | None
    end: End | None


def decode(value: object, now_us: int) -> Iterator[Event | Invalid]:
    """The events of one message value (bytes, text, or what JSON makes of them) in order, invalid ones as such."""
    try:
        message = _parse(value)
        if any(_has_no_json(part) for name, part in _parts(message) if name != "batch" or not isinstance(part, list)):
            raise Invalid("json")
        if not isinstance(message, dict):
            raise Invalid("shape")
        entries = [message]
        if "batch" in message:
            entries = message["batch"]
            if not isinstance(entries, list):
                raise Invalid("shape", "batch")
    except Invalid as invalid:
        yield invalid
        return
    for entry in entries:
        try:
            if _has_no_json(entry):
                raise Invalid("json")
            yield _decode_one(entry, in_batch="batch" in message, now_us=now_us)
        except Invalid as invalid:
            yield invalid


def _parse(value: object) -> Any:
    try:
        text = value if isinstance(value, str) else None
        if isinstance(value, bytes):
            # The prefix of a schema registry, then a byte order mark.
            bare = value[5:] if value[:1] == b"\0" else value
            text = (bare[3:] if bare[:3] == b"\xef\xbb\xbf" else bare).decode("utf-8")
        if text is None:
            text = json.dumps(value)
        return json.loads(text, parse_float=Decimal, parse_constant=lambda _: _NO_JSON)
    except ValueError as error:
        raise Invalid("json") from error


def _parts(message: Any) -> Iterator[tuple[Any, Any]]:
    """A message by its keys; one that is no object is a part as a whole."""
    yield from message.items() if isinstance(message, dict) else [(None, message)]


def _has_no_json(value: Any) -> bool:
    """Whether NaN or an infinity stands anywhere in it."""
    if isinstance(value, dict):
        return any(map(_has_no_json, value.values()))
    return any(map(_has_no_json, value)) if isinstance(value, list) else value is _NO_JSON


def _decode_one(entry: Any, in_batch: bool, now_us: int) -> Event:
    shape, fields = _shape_of(entry, in_batch)
    if not isinstance(fields, dict):
        raise Invalid("shape", shape)
    project_id = _required_id(fields, "project_id")
    call_id = _required_id(fields, "id")
    start = _start(fields, now_us) if shape != "end" else None
    end = _end(fields, now_us) if shape != "start" else None
    return Event(project_id, call_id, start, end)


def _shape_of(entry: Any, in_batch: bool) -> tuple[str, Any]:
    """Returns which of start, end and complete an event is, and its fields."""
    if not isinstance(entry, dict) or (in_batch and "batch" in entry):
        raise Invalid("shape")
    if "mode" in entry:
        mode, request = entry["mode"], entry.get("req")
        if mode not in SHAPES:
            raise Invalid("shape", "mode")
        if not isinstance(request, dict):
            raise Invalid("shape", "req")
        if mode == "complete" and "complete" not in request:
            return mode, request
        return mode, request.get(mode)
    for shape in SHAPES:
        if shape in entry:
            return shape, entry[shape]
    if in_batch and "id" in entry:
        return "complete", entry
    raise Invalid("shape")


def _start(fields: dict[str, Any], now_us: int) -> Start:
    return Start(
        op_name=_required(fields, "op_name", str),
        started_at_us=_instant(fields, "started_at", now_us),
        trace_id=_optional_id(fields, "trace_id") or None,
        parent_id=_optional_id(fields, "parent_id") or None,
        thread_id=_optional_id(fields, "thread_id"),
        turn_id=_optional_id(fields, "turn_id"),
        wb_user_id=_optional_id(fields, "wb_user_id"),
        wb_run_id=_optional_id(fields, "wb_run_id"),
        input_refs=frozenset(_refs(fields.get("inputs"))),
        may_roll_up=_is_from_js_sdk(fields.get("attributes")),
        model=_model_named(fields.get("attributes")),
    )


def _end(fields: dict[str, Any], now_us: int) -> End:
    summary = _required(fields, "summary", dict)
    exception = fields.get("exception")
    if exception is not None and not isinstance(exception, str):
        raise Invalid("type", "exception")
    try:
        usage = own_usage(summary)
    except InvalidUsage as invalid:
        raise Invalid("usage", invalid.field) from invalid
    return End(
        ended_at_us=_instant(fields, "ended_at", now_us),
        failed=bool(exception),
        usage=usage,
        output_refs=frozenset(_refs(fields.get("output"))),
        may_roll_up=sums_up_children(summary.get("status_counts")),
        error=_error_text(exception) if exception else None,
    )


def _model_named(attributes: Any) -> str | None:
    """The model that attributes name, by the first of the names that producers use."""
    said = attributes if isinstance(attributes, dict) else {}
    names = [said.get(name) for name in ("gen_ai.request.model", "llm.model_name", "model", "model_name")]
    return next((name for name in names if isinstance(name, str) and name), None)


def _error_text(exception: str) -> str:
    """Returns what an exception says; Weave's SDK writes an object with its type and message."""
    try:
        said = json.loads(exception)
    except ValueError:
        return exception
    if not isinstance(said, dict):
        return exception
    return ": ".join(part for part in (said.get("type"), said.get("message")) if part) or exception


def _is_from_js_sdk(attributes: Any) -> bool:
    """Attributes of another type than SDKs write say nothing."""
    weave = attributes.get("weave") if isinstance(attributes, dict) else None
    return isinstance(weave, dict) and weave.get("source") == "js-sdk"


def _required(fields: dict[str, Any], name: str, kind: type) -> Any:
    if fields.get(name) is None:
        raise Invalid("missing", name)
    if not isinstance(fields[name], kind):
        raise Invalid("type", name)
    return fields[name]


def _required_id(fields: dict[str, Any], name: str) -> str:
    _required(fields, name, str)
    call_id = _optional_id(fields, name)
    assert call_id is not None
    return call_id


def _optional_id(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str):
        raise Invalid("type", name)
    if len(value.encode("utf-8", "surrogatepass")) > ID_BYTES_MAX:
        raise Invalid("id_length", name)
    return value


def _instant(fields: dict[str, Any], name: str, now_us: int) -> int:
    value = fields.get(name)
    if value is None:
        raise Invalid("missing", name)
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        raise Invalid("type", name)
    try:
        instant_us = instants.from_text(value) if isinstance(value, str) else instants.from_epoch_seconds(value)
    except ValueError as error:
        raise Invalid("timestamp", name) from error
    if not EARLIEST_US <= instant_us <= now_us + instants.DAY_US:
        raise Invalid("time_range", name)
    return instant_us


def _refs(value: Any) -> Iterator[str]:
    """Every reference among the values inside, at any depth; the names in objects are not values."""
    if isinstance(value, str) and value.startswith(REF_SCHEMES):
        yield value
    elif isinstance(value, (list, dict)):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _refs(inner)
