"""The messages that the model's producers send: few calls, so that duplicates, conflicts and parents meet."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

PROJECT, OTHER_PROJECT = "acme/agents", "acme/others"
TRACE = "trace-a"
FAILURE = "Failure"
# Two minutes later it is another five minutes, another hour, and another day.
BEGAN = datetime(2026, 5, 11, 23, 58, tzinfo=UTC)


class Start(NamedTuple):
    """A start, in minutes since `BEGAN`."""

    minute: int
    op_name: str
    parent_id: str | None


class End(NamedTuple):
    """An end, in seconds since `BEGAN`."""

    second: int
    failed: bool
    model: str
    input_tokens: int


class Told(NamedTuple):
    """All that an event tells of a call."""

    project_id: str
    call_id: str
    start: Start | None
    end: End | None


class Sent(NamedTuple):
    """A message: its value, and the events in it; none where it is invalid."""

    value: bytes
    events: tuple[Told, ...]


def _instant(minute: int = 0, second: int = 0) -> str:
    return (BEGAN + timedelta(minutes=minute, seconds=second)).isoformat()


def _fields(told: Told) -> dict[str, Any]:
    fields: dict[str, Any] = {"project_id": told.project_id, "id": told.call_id}
    if told.start is not None:
        fields |= {"op_name": told.start.op_name, "started_at": _instant(minute=told.start.minute)}
        fields |= {"trace_id": TRACE, "parent_id": told.start.parent_id}
    if told.end is not None:
        usage = {told.end.model: {"prompt_tokens": told.end.input_tokens}}
        fields |= {"ended_at": _instant(second=told.end.second), "summary": {"usage": usage}}
        fields |= {"exception": FAILURE if told.end.failed else None}
    return fields


def _body(told: Told) -> dict[str, Any]:
    kind = "end" if told.start is None else "start" if told.end is None else "complete"
    return {kind: _fields(told)}


def message(*events: Told) -> Sent:
    """One message for one event, a batch for more or none."""
    body = _body(events[0]) if len(events) == 1 else {"batch": [_body(told) for told in events]}
    return Sent(json.dumps(body).encode(), events)


def _events() -> Iterator[Told]:
    """Starts, ends and completes. Some calls have two that contradict each other: what comes second counts nothing."""
    for number in range(CALLS):
        project_id = OTHER_PROJECT if number % 5 == 4 else PROJECT
        parent_id = f"call-{(number - 1) // 2}" if number % 4 else None
        starts = [Start(number % 3, f"op-{number % 2}", parent_id), Start(number % 3 + 1, "other", parent_id)]
        # Sums tell which ends are in them.
        ends = [End(200 + number, False, "m", 2**number), End(300, True, "n", 2**number)]
        for variant in range(1 + (number % 3 == 0)):
            yield from _told_of(project_id, f"call-{number}", starts[variant], ends[variant])


def _earlier_events() -> Iterator[Told]:
    """Yields the events of calls of the same project and UTC day, in other pieces of it."""
    for number, hours in enumerate(HOURS_EARLIER):
        start = Start(-60 * hours, f"op-{number % 2}", None)
        end = End(-3_600 * hours + 100, False, "m", 2 ** (CALLS + number))
        yield from _told_of(PROJECT, f"earlier-{number}", start, end)


def _told_of(project_id: str, call_id: str, start: Start, end: End) -> Iterator[Told]:
    for told in ((start, None), (None, end), (start, end)):
        yield Told(project_id, call_id, *told)


CALLS = 14
HOURS_EARLIER = (4, 4, 8)
EVENTS = tuple(_events())
INVALID = Sent(b'{"start": {}}', ())
MESSAGES = (*map(message, EVENTS), message(*EVENTS[::9]), message(*EVENTS[5::7]), INVALID)
EARLIER_MESSAGES = tuple(map(message, _earlier_events()))
