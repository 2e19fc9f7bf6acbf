"""Single messages decoded at a fixed time: the events they make, and why others are refused."""

import json
from typing import Any

from aggregator.calls.event import CallEnd, CallStart, Event
from aggregator.time_units import DAY_US
from aggregator.timestamps import parse_timestamp_us
from ingest.decoding.single import InvalidEvent, decode_message
from ingest.decoding.typed import typed_events
from tests.brute_force import events as brute_force

NOW_US = parse_timestamp_us("2026-06-10T10:00:00Z")
LATEST_US = NOW_US + DAY_US
STARTED_US = parse_timestamp_us("2026-06-10T09:00:00Z")
ENDED_US = STARTED_US + 1_500_000

START: dict[str, Any] = {"project_id": "p", "id": "c", "op_name": "op", "started_at": "2026-06-10T09:00:00Z"}
END: dict[str, Any] = {"project_id": "p", "id": "c", "ended_at": "2026-06-10T09:00:01.5Z", "summary": {}}
COMPLETE = START | END
UNUSUAL = {"req": 5}  # beside a shape it means nothing, but keeps the message from being decoded in one pass
OPTIONAL_IDS = ["trace_id", "parent_id", "thread_id", "turn_id", "wb_user_id", "wb_run_id"]
STARTED = Event("p", "c", CallStart("op", STARTED_US), None)
ENDED = Event("p", "c", None, CallEnd(ENDED_US, False, {}))
COMPLETED = Event("p", "c", STARTED.start, ENDED.end)


def decode_value(value: bytes | None) -> tuple[list[Event], list[InvalidEvent]]:
    """The events of a message, and what in it is none."""
    decoded = decode_message(value, NOW_US)
    return decoded.events, decoded.invalid


def events_of(message: object) -> list[Event]:
    """The events of a message that holds nothing invalid."""
    events, invalid = decode_value(json.dumps(message).encode())
    assert invalid == []
    return events


def refused(value: bytes | None) -> InvalidEvent:
    """Why a message that holds no event is none."""
    events, (invalid,) = decode_value(value)
    assert events == []
    return invalid


def reason_of(message: object) -> tuple[str, str | None]:
    """Why a message is no event, and the field to blame."""
    return refused(json.dumps(message).encode())[:2]


def comparable(event: Event | brute_force.Event | brute_force.Invalid) -> object:
    """Returns what two implementations must agree on."""
    if isinstance(event, brute_force.Invalid):
        return event
    start, end = event.start, event.end
    parts: list[object] = [event.project_id, event.call_id]
    if start is not None:
        parts += [start.op_name, start.started_at_us, start.trace_id, start.parent_id, start.thread_id, start.turn_id]
        parts += [start.user_id, start.run_id] if isinstance(start, CallStart) else [start.wb_user_id, start.wb_run_id]
        parts += [frozenset(start.input_refs), start.may_roll_up]
    if end is not None:
        usage = {model: tuple(counts) for model, counts in end.usage.items()}
        parts += [end.ended_at_us, end.failed, usage, frozenset(end.output_refs), end.may_roll_up]
    return parts


def is_usual(message: object, latest_us: int = LATEST_US) -> bool:
    """Whether the message is decoded in one pass."""
    try:
        typed_events(json.dumps(message).encode(), latest_us)
    except Exception:
        return False
    return True
