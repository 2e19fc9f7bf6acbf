"""Events that another partition's worker has sent on are read as they were, and nothing that no worker sends."""

import json
from typing import Any

import pytest

from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.calls.stated_usage import COUNT_MAX
from ingest.decoding.batch import DecodedBatch, decode_batch
from ingest.decoding.sent_on import write_sent_on
from tests.support.decoded import NOW_US

START = CallStart("op", NOW_US - 60_000_000, "t", "p", input_refs=("weave:///a",), model="m")
END = CallEnd(NOW_US, True, {"m": UsageCounts(1, 2, 3, 0, 0, 1)}, error="ValueError: x")


def decode(value: bytes) -> DecodedBatch:
    return decode_batch([value], [NOW_US], NOW_US)


@pytest.mark.parametrize(
    "event",
    [
        Event("acme", "c", START, END),
        Event("acme", "c", START, None),
        Event("acme", "", None, END),
        Event("acme", "é" * 128, None, CallEnd(NOW_US, False, {"": UsageCounts._make([*[3 * COUNT_MAX] * 7, True])})),
    ],
)
def test_what_a_worker_sends(event: Event) -> None:
    """An event comes as it went, with large counts and odd names too."""
    decoded = decode(write_sent_on(event))
    assert (decoded.events, decoded.invalid) == ([event], [])


def sent(start: dict[str, Any] | None = None, end: dict[str, Any] | None = None, **more: Any) -> bytes:
    event = json.loads(write_sent_on(Event("acme", "c", START, END)))["sent_on"]
    event["start"] |= start or {}
    event["end"] |= end or {}
    return b'{"sent_on":' + json.dumps(event | more).encode() + b"}"


@pytest.mark.parametrize(
    "value",
    [
        sent(end={"usage": {"m": [-1, 2, 3, 0, 0, 1, 0, True]}}),
        sent(end={"usage": {"m": [2**70, 2, 3, 0, 0, 1, 0, True]}}),
        sent(end={"usage": {f"m{at}": [1, 2, 3, 0, 0, 1, 0, True] for at in range(101)}}),
        sent(end={"usage": {"m" * 1_025: [1, 2, 3, 0, 0, 1, 0, True]}}),
        sent(end={"ended_at_us": 10**18}),
        sent(end={"ended_at_us": 10**30}),
        sent(end={"error": "x" * 1_001}),
        sent(end={"output_refs": ["weave:///" + "x" * 4_096]}),
        sent(start={"started_at_us": NOW_US + 2 * 86_400_000_000}),
        sent(start={"started_at_us": 0}),
        sent(start={"op_name": "o" * 4_097}),
        sent(start={"trace_id": "t" * 257}),
        sent(start={"parent_id": ""}),
        sent(start={"model": "m" * 1_025}),
        sent(call_id="x" * 300_000),
        sent(start=None, end=None) + b"}",
        b'{"sent_on":{"project_id":"acme","call_id":"c","start":null,"end":null}}',
        b'{"sent_on":',
        b'{"sent_on":{}}',
    ],
)
def test_what_no_worker_sends_is_no_event(value: bytes) -> None:
    """A producer that writes such a message is checked as always: it is one dead letter."""
    decoded = decode(value)
    assert decoded.events == []
    assert len(decoded.invalid) == 1
