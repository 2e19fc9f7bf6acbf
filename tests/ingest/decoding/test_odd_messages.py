"""What real senders write and the specification reads all the same: prefixes, NaN in one item, empty parents."""

import base64
import json
from typing import Any

import pytest

from aggregator.calls.event import CallStart, Event
from ingest.decoding.fast import decode_fast
from ingest.decoding.single import decode_message
from tests.brute_force import events as brute_force
from tests.support.decoded import (
    END,
    ENDED,
    LATEST_US,
    NOW_US,
    OPTIONAL_IDS,
    START,
    STARTED,
    STARTED_US,
    UNUSUAL,
    comparable,
    decode_value,
    events_of,
    refused,
)
from tests.support.paths import CASES


def test_nan_spoils_its_item() -> None:
    """An item of a batch that holds no JSON is invalid alone, whatever the text around it says."""
    bad = START | {"attributes": {"NaN": "a NaN, -Infinity", "not JSON 0": ["?", "?"]}}
    text = json.dumps({"batch": [{"start": START}, {"start": bad}, "?", {"end": END}]})
    for no_json in (b"NaN", b"-Infinity", b'"\xff"'):
        events, invalid = decode_value(text.encode().replace(b'"?"', no_json))
        assert events == [STARTED, ENDED]
        assert [wrong[:2] + wrong[3:] for wrong in invalid] == [("json", None, 1), ("json", None, 2)]


@pytest.mark.parametrize(
    "text",
    [
        '{"batch": [{"start": %s}], "x": NaN}',
        '{"batch": NaN, "x": [{"start": %s}]}',
        '{NaN: 1, "batch": [{"start": %s}]}',
        '{"batch": [{"start": %s}, -NaN]}',
        '{"batch": [{"start": %s}, 1NaN]}',
        '{"batch": [{"start": %s}, NaN}',
        '{"batch": [{"start": %s}, NaN], "batch": [NaN]',
        '[{"start": %s}, NaN]',
        '{"start": %s, "x": NaN}',
    ],
)
def test_nan_beside_the_items_spoils_the_message(text: str) -> None:
    """A message that holds no JSON beside the items of its batch is invalid as a whole."""
    assert refused((text % json.dumps(START)).encode())[::3] == ("json", None)


PREFIXED = json.dumps({"start": START}).encode()


@pytest.mark.parametrize("prefix", [b"\0\0\0\0\7", b"\0\xff\xfe\x80{", b"\xef\xbb\xbf", b"\0\0\0\0\7\xef\xbb\xbf"])
def test_prefixes(prefix: bytes) -> None:
    """A schema registry's, a byte order mark, or both are read over, with other messages or alone."""
    assert decode_value(prefix + PREFIXED) == ([STARTED], [])
    fast = PREFIXED.replace(b"09:00:00Z", b"09:00:00.000000Z")
    assert decode_fast([fast, prefix + fast], 0, LATEST_US) == [STARTED, STARTED]


@pytest.mark.parametrize(
    "prefix",
    [
        b"\0",
        b"\0\0\0\7",
        b"\1\0\0\0\7",
        b"\0\0\0\0\7" * 2,
        b"\xef\xbb\xbf" * 2,
        b"\xef\xbb\xbf\0\0\0\0\7",
        b"\0\0\0\0\7\0\0\0\0\7\xef\xbb\xbf",
    ],
)
def test_what_is_no_prefix(prefix: bytes) -> None:
    """Only a prefix that comes once, in this order and whole, is taken off."""
    assert refused(prefix + PREFIXED)[:2] == ("json", None)
    assert decode_fast([prefix + PREFIXED], 0, LATEST_US) == [None]


def test_empty_parents_and_traces_are_absent() -> None:
    """Many exporters write a root so; an empty id of anything else is an id."""
    empty = dict.fromkeys(OPTIONAL_IDS, "")
    expected = [Event("p", "", CallStart("op", STARTED_US, None, None, "", "", "", ""), None)]
    message = {"start": START | empty | {"id": ""}}
    assert events_of(message) == events_of(message | UNUSUAL) == expected
    assert decode_fast([json.dumps(message).encode()], 0, LATEST_US) == expected


def in_its_trace(event: Event | brute_force.Event) -> list[object]:
    """The event's parts, its trace its own where it names none."""
    parts = comparable(event)
    assert isinstance(parts, list)
    return [*parts[:4], parts[4] or event.call_id, *parts[5:]]


ODD = [json.loads(line) for line in (CASES / "odd_messages.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("case", ODD, ids=lambda case: str(case["name"]))
def test_odd_messages(case: dict[str, Any]) -> None:
    """Odd messages of real senders are read as the plain events they stand for; brute force agrees."""
    value = base64.b64decode(case["value_base64"])
    decoded = decode_message(value, NOW_US)
    plain = [
        event for message in case["events"] for event in decode_message(json.dumps(message).encode(), NOW_US).events
    ]
    assert list(map(in_its_trace, decoded.events)) == list(map(in_its_trace, plain))
    assert [invalid.reason for invalid in decoded.invalid] == [letter["reason"] for letter in case["dead_letters"]]
    read = list(brute_force.decode(value, NOW_US))
    assert [event.reason for event in read if isinstance(event, brute_force.Invalid)] == ["json"] * len(decoded.invalid)
    assert [in_its_trace(event) for event in read if isinstance(event, brute_force.Event)] == list(
        map(in_its_trace, plain)
    )
