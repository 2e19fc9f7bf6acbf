"""The golden cases: events that must be accepted, and others that must be refused for the given reason."""

import base64
import json
from pathlib import Path

import pytest

from aggregator.timestamps import parse_timestamp_us
from ingest.decoding.single import decode_message
from tests.brute_force import events as brute_force
from tests.support.decoded import (
    START,
    STARTED,
    comparable,
    decode_value,
    is_usual,
    refused,
)
from tests.support.paths import CASES

# --- golden cases ---

INVALID_CASES = [json.loads(line) for line in (CASES / "invalid_events.jsonl").read_text().splitlines()]
ELEMENT_CASES = [case for case in INVALID_CASES if case["reason"] not in ("json", "shape")]


@pytest.mark.parametrize("case", INVALID_CASES, ids=lambda case: str(case.get("value", "base64"))[:60])
def test_golden_invalid_events(case: dict[str, str]) -> None:
    """Each golden invalid value has its reason and field, and a message that names the field."""
    value = case["value"].encode() if "value" in case else base64.b64decode(case["value_base64"])
    invalid = refused(value)
    assert (invalid.reason, invalid.position) == (case["reason"], None)
    assert "field" not in case or invalid.field == case["field"]
    assert case.get("field", "") in invalid.message


@pytest.mark.parametrize("case", ELEMENT_CASES, ids=lambda case: str(case["value"])[:60])
def test_golden_invalid_events_in_a_batch(case: dict[str, str]) -> None:
    """Each golden invalid value has its reason and field between two events of a batch, too, which count."""
    start = json.dumps({"start": START})
    events, (invalid,) = decode_value(f'{{"batch":[{start},{case["value"]},{start}]}}'.encode())
    assert events == [STARTED, STARTED]
    assert (invalid.reason, invalid.position) == (case["reason"], 1)


@pytest.mark.parametrize("events_file", sorted(CASES.glob("*.events.jsonl")), ids=lambda file: file.name.split(".")[0])
def test_golden_events(events_file: Path) -> None:
    """Every golden message decodes to what brute force reads in it; most in one pass."""
    now_us = parse_timestamp_us(json.loads(events_file.with_suffix("").with_suffix(".cases.json").read_text())["now"])
    messages = [json.loads(line)["value"] for line in events_file.read_text().splitlines()]
    for message in messages:
        value = json.dumps(message).encode()
        decoded = decode_message(value, now_us)
        assert decoded.invalid == []
        assert list(map(comparable, decoded.events)) == list(map(comparable, brute_force.decode(value, now_us)))
    assert sum(is_usual(message, now_us) for message in messages) > len(messages) / 2
