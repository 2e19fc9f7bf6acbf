"""An event as the JSON of a message of ours: what the gateway writes of formats that have no messages of their own.

What it writes is decoded to the event again, equal in all it says.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.calls.rollup_marks import JS_SDK

# The exception of a call that failed without saying why: read as just that.
_FAILED = " "
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_encode = msgspec.json.Encoder().encode


def event_json(event: Event) -> bytes:
    """The message of the event."""
    fields: dict[str, Any] = {"project_id": event.project_id, "id": event.call_id}
    if event.start is not None:
        fields |= _start(event.start)
    if event.end is not None:
        fields |= _end(event.end)
    kind = "start" if event.end is None else "end" if event.start is None else "complete"
    return _encode({kind: fields})


def _start(start: CallStart) -> dict[str, Any]:
    fields: dict[str, Any] = {"op_name": start.op_name, "started_at": _instant(start.started_at_us)}
    named = {
        "trace_id": start.trace_id,
        "parent_id": start.parent_id,
        "thread_id": start.thread_id,
        "turn_id": start.turn_id,
        "wb_user_id": start.user_id,
        "wb_run_id": start.run_id,
        "inputs": start.input_refs or None,
        "attributes": attributes_json(start.may_roll_up, start.model) or None,
    }
    return fields | {name: value for name, value in named.items() if value is not None}


def attributes_json(may_roll_up: bool, model: str | None) -> dict[str, Any]:
    """The attributes that say of a start what is read of attributes; empty where that is nothing."""
    attributes: dict[str, Any] = {"weave": {"source": JS_SDK}} if may_roll_up else {}
    return attributes if model is None else attributes | {"model": model}


def _end(end: CallEnd) -> dict[str, Any]:
    summary: dict[str, Any] = {"usage": {model: _usage(counts) for model, counts in end.usage.items()}}
    if end.may_roll_up:
        summary["status_counts"] = {"success": 2}  # more than one: it may sum up others
    fields: dict[str, Any] = {"ended_at": _instant(end.ended_at_us), "summary": summary}
    if end.failed:
        fields["exception"] = end.error or _FAILED
    if end.output_refs:
        fields["output"] = end.output_refs
    return fields


def _usage(counts: UsageCounts) -> dict[str, Any]:
    if not counts.is_read:
        return {"requests": counts.requests}
    usage: dict[str, Any] = {
        "gross_input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "total_tokens": counts.total_tokens,
        "cache_read_input_tokens": counts.cache_read_input_tokens,
        "cache_creation_input_tokens": counts.cache_creation_input_tokens,
        "requests": counts.requests,
    }
    if counts.cache_creation_1h_input_tokens:
        usage["cache_creation"] = {"ephemeral_1h_input_tokens": counts.cache_creation_1h_input_tokens}
    return usage


def _instant(us: int) -> str:
    """RFC 3339 to the microsecond; a float of seconds would not hold one."""
    return (_EPOCH + timedelta(microseconds=us)).isoformat()
