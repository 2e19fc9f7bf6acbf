"""Decoding messages into events."""

import json
from typing import Any

import pytest

from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.timestamps import format_utc, parse_timestamp_us
from ingest.decoding.single import decode_message
from ingest.decoding.typed import OP_NAME_BYTES_MAX
from tests.support.decoded import (
    COMPLETE,
    COMPLETED,
    END,
    ENDED,
    ENDED_US,
    LATEST_US,
    NOW_US,
    OPTIONAL_IDS,
    START,
    STARTED,
    STARTED_US,
    UNUSUAL,
    decode_value,
    events_of,
    is_usual,
    reason_of,
    refused,
)

# --- shapes ---


@pytest.mark.parametrize(
    ("message", "events"),
    [
        ({"start": START}, [STARTED]),
        ({"end": END}, [ENDED]),
        ({"complete": COMPLETE}, [COMPLETED]),
        ({"mode": "start", "req": {"start": START}}, [STARTED]),
        ({"mode": "end", "req": {"end": END}}, [ENDED]),
        ({"mode": "complete", "req": {"complete": COMPLETE}}, [COMPLETED]),
        ({"mode": "complete", "req": COMPLETE}, [COMPLETED]),
        ({"batch": []}, []),
        ({"batch": [{"start": START}, {"end": END}, {"complete": COMPLETE}]}, [STARTED, ENDED, COMPLETED]),
        ({"batch": [{"mode": "start", "req": {"start": START}}, COMPLETE]}, [STARTED, COMPLETED]),
        ({"batch": [{"mode": "complete", "req": COMPLETE}]}, [COMPLETED]),
        ({"start": START, "end": None, "batch": None, "req": None, "mode": None}, [STARTED]),
        ({"start": START, "sent_at": 5}, [STARTED]),
        ({"start": START | {"display_name": 5, "wb_run_step": "x", "kind": []}}, [STARTED]),
    ],
)
def test_shapes(message: object, events: list[Event]) -> None:
    """Every shape gives its events, in one pass; what is null is absent, and unknown keys are ignored."""
    assert events_of(message) == events
    assert is_usual(message)


@pytest.mark.parametrize(
    ("message", "events"),
    [
        ({"start": START, "req": "x"}, [STARTED]),
        ({"start": START | {"summary": 5, "exception": 5, "ended_at": []}}, [STARTED]),
        ({"end": END | {"op_name": 5, "parent_id": 5, "wb_user_id": "x" * 300}}, [ENDED]),
        ({"batch": [START | END | {"start": None, "mode": None}]}, [COMPLETED]),
    ],
)
def test_keys_of_other_shapes_are_unknown(message: object, events: list[Event]) -> None:
    """A key of another shape is ignored, whatever its type."""
    assert events_of(message) == events


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"start": START, "end": END}, "end"),
        ({"start": START, "batch": []}, "batch"),
        ({"mode": "start", "req": {"start": START}, "end": END}, "end"),
        ({"mode": "start", "start": START}, "start"),
        ({"mode": "start", "req": START}, "start"),
        ({"mode": "complete", "req": {"start": START}}, "complete"),
        ({"mode": "complete", "req": {}}, "complete"),
        ({"mode": "batch", "req": {"batch": []}}, "mode"),
        ({"mode": 5, "req": {"start": START}}, "mode"),
        ({"mode": "start", "req": [START]}, "req"),
        ({"batch": {"start": START}}, "batch"),
        ({"batch": None}, "batch"),
        (COMPLETE, None),
        (START, None),
        ([{"start": START}], None),
    ],
)
def test_no_shape(message: object, field: str | None) -> None:
    """A message that could be meant as two shapes, or as none, is none: nothing of it is dropped silently."""
    assert reason_of(message) == ("shape", field)


def test_batch_with_invalid_elements() -> None:
    """Each invalid element is named by its position; the others count."""
    batch = [{"start": START}, 5, {"batch": [{"start": START}]}, {"end": END | {"id": 5}}, START, {"end": END}, {}]
    batch.append(COMPLETE | {"batch": [{"start": START}]})
    events, invalid = decode_value(json.dumps({"batch": batch}).encode())
    assert events == [STARTED, ENDED]
    assert [(one.position, one.reason, one.field) for one in invalid] == [
        (1, "shape", None),
        (2, "shape", "batch"),
        (3, "type", "id"),
        (4, "missing", "ended_at"),
        (6, "shape", None),
        (7, "shape", "batch"),
    ]


# --- fields ---


def test_everything_an_event_tells() -> None:
    """Every field reaches its place in the event."""
    ids = dict(zip(OPTIONAL_IDS, ("t1", "p2", "t3", "t4", "u5", "r6"), strict=True))
    fields = COMPLETE | ids | {"inputs": {"x": "weave:///i"}, "output": ["weave:///o"], "exception": "E: bad"}
    fields |= {"attributes": {"x": "weave:///not-this", "model": "gpt"}}
    fields |= {"summary": {"usage": {"m": {"prompt_tokens": 5}}}}
    assert events_of({"complete": fields}) == [
        Event(
            "p",
            "c",
            CallStart("op", STARTED_US, "t1", "p2", "t3", "t4", "u5", "r6", ("weave:///i",), model="gpt"),
            CallEnd(ENDED_US, True, {"m": UsageCounts(5, 0, 5, 0, 0, 1)}, ("weave:///o",), error="E: bad"),
        )
    ]


@pytest.mark.parametrize(("exception", "failed"), [(None, False), ("", False), (" ", True), ("ValueError", True)])
def test_failed(exception: str | None, failed: bool) -> None:
    """A call failed when its exception is text that is not empty."""
    (event,) = events_of({"end": END | {"exception": exception}})
    assert event.end is not None
    assert event.end.failed is failed


def test_counts_as_text_or_floats_are_read_closely() -> None:
    """Counts of other types give the same event as integers."""
    stated = {"prompt_tokens": "5", "completion_tokens": 2.0, "requests": True}
    message = {"end": END | {"summary": {"usage": {"m": stated}, "weave": {}}}}
    assert events_of(message) == [Event("p", "c", None, CallEnd(ENDED_US, False, {"m": UsageCounts(5, 2, 7, 0, 0, 1)}))]
    assert not is_usual(message)


def test_numbers_without_bound_in_usage() -> None:
    """A number too long to be read is no count, and harmless where no count is."""
    for field, reasons in (("requests", [("usage", "requests")]), ("other", [])):
        text = json.dumps({"end": END | {"summary": {"usage": {"m": {field: "?", "input_tokens": "1"}}}}})
        _, invalid = decode_value(text.replace('"?"', "9" * 6000).encode())
        assert [one[:2] for one in invalid] == reasons


@pytest.mark.parametrize("field", ["trace_id", "started_at"])
def test_an_end_is_checked_but_not_asked_for_trace_and_start(field: str) -> None:
    """An end's trace and start are ignored, unless of the wrong type."""
    assert events_of({"end": END | {field: "yesterday"}}) == [ENDED]
    assert reason_of({"end": END | {field: {}}}) == ("type", field)


@pytest.mark.parametrize("field", ["project_id", "id", *OPTIONAL_IDS])
@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_length_of_ids(field: str, ensure_ascii: bool) -> None:
    """256 bytes of UTF-8 are an id, 257 are not, however they are spelled."""

    def message(text: str) -> bytes:
        return json.dumps({"start": START | {field: text}}, ensure_ascii=ensure_ascii).encode()

    for longest in ("x" * 256, "é" * 128, "😀" * 64, ""):
        assert len(decode_message(message(longest), NOW_US).events) == 1
    for too_long in ("x" * 257, "é" * 128 + "x", "😀" * 64 + "x"):
        assert refused(message(too_long))[:2] == ("id_length", field)


def test_limits_of_our_own() -> None:
    """Op names and refs have limits too, and are never cut."""
    longest = {"start": START | {"op_name": "x" * OP_NAME_BYTES_MAX}}
    assert events_of(longest) == events_of(longest | UNUSUAL)
    assert is_usual(longest)
    assert reason_of({"start": START | {"op_name": "x" * (OP_NAME_BYTES_MAX + 1)}}) == ("id_length", "op_name")
    assert reason_of({"start": START | {"op_name": "é" * (OP_NAME_BYTES_MAX // 2 + 1)}}) == ("id_length", "op_name")
    assert reason_of({"start": START | {"inputs": "weave:///".ljust(4097)}}) == ("id_length", "inputs")
    assert reason_of({"end": END | {"output": ["weave:///".ljust(4097)]}}) == ("id_length", "output")


@pytest.mark.parametrize(
    ("field", "message"),
    [("started_at", {"start": START}), ("ended_at", {"end": END}), ("ended_at", {"complete": COMPLETE})],
)
def test_time_range(field: str, message: dict[str, dict[str, Any]]) -> None:
    """Events are taken from 2000-01-01 to a day ahead of the broker's clock, both included."""
    ((shape, fields),) = message.items()
    for instant_us in (parse_timestamp_us("2000-01-01T00:00:00Z"), LATEST_US):
        edge = {shape: fields | {field: format_utc(instant_us)}}
        assert events_of(edge) == events_of(edge | UNUSUAL)
        assert is_usual(edge)
    for instant_us in (parse_timestamp_us("2000-01-01T00:00:00Z") - 1, LATEST_US + 1):
        assert reason_of({shape: fields | {field: format_utc(instant_us)}}) == ("time_range", field)


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("1e999", "timestamp"),
        ("-1", "time_range"),
        ("9" * 400, "time_range"),
        ("9" * 6000, "timestamp"),
        ("true", "type"),
    ],
)
def test_numbers_that_are_no_time(number: str, reason: str) -> None:
    """Numbers that no clock shows are refused, however long."""
    text = json.dumps({"start": START | {"started_at": "?"}}).replace('"?"', number)
    assert refused(text.encode())[:2] == (reason, "started_at")


# --- JSON ---


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b" ",
        b"\xef\xbb\xbf",
        b"{} {}",
        b'{"start": {"id": 5}, "x": NaN}',
        b'[{"start": -Infinity}]',
        b'{"start": 5, "x": "\xff"}',
        b'{"\xed\xa0\x80": 5}',
        json.dumps({"start": START | {"attributes": "?"}}).encode().replace(b"?", b"\xff"),
        json.dumps({"start": START | {"attributes": "?"}}).encode().replace(b'"?"', b"NaN"),
        json.dumps({"start": START | {"inputs": "?"}}).encode().replace(b"?", b"\\ud8"),
        json.dumps({"start": START | {"inputs": "?"}}).encode().replace(b'"?"', b"[" * 5000 + b"]" * 4999),
    ],
)
def test_not_json(value: bytes | None) -> None:
    """A message with no JSON, no UTF-8, or NaN anywhere, in what is skipped too, is not JSON."""
    assert refused(value)[:2] == ("json", None)


def test_deep_nesting_loses_nothing() -> None:
    """An event with inputs nested without bound counts, with its refs; in a batch, so do the others."""
    deep = "[" * 20_000 + '{"weave:///k": "weave:///v"}' + "]" * 20_000
    text = json.dumps({"batch": [{"start": START | {"inputs": "?"}}, {"end": END}]}).replace('"?"', deep)
    events, invalid = decode_value(text.encode())
    started = Event("p", "c", CallStart("op", STARTED_US, input_refs=("weave:///v",)), None)
    assert (events, invalid) == ([started, ENDED], [])


def test_deep_nesting_in_usage() -> None:
    """A depth that one reader takes and another does not is no reason to lose an event."""
    for depth in (800, 900, 950, 5000):
        deep = "[" * depth + "]" * depth
        text = json.dumps({"end": END | {"summary": {"usage": {"m": {"input_tokens": "1", "x": "?"}}}}})
        events, invalid = decode_value(text.replace('"?"', deep).encode())
        assert (len(events), invalid) == (1, [])


def test_lone_surrogates() -> None:
    """Half a character, as cut-off text has it, does no harm, and reads as U+FFFD where it is kept."""
    broken = "\ud83d"
    (event,) = events_of({"start": START | {"id": f"c{broken}", "inputs": [f"weave:///{broken}", broken]}})
    assert event.start is not None
    assert (event.call_id, event.start.input_refs) == ("c\ufffd", ("weave:///\ufffd",))
    (event,) = events_of({"end": END | {"exception": broken, "summary": {"usage": {broken: {}}}}})
    assert event.end is not None
    assert (event.end.failed, list(event.end.usage)) == (True, ["\ufffd"])
