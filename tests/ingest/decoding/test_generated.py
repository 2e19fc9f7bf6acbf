"""Decoding any messages: never an error, always one answer."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest.decoding import single as decode
from ingest.decoding.single import decode_message
from tests.brute_force import events as brute_force
from tests.ingest.decoding.generated_messages import (
    MESSAGES,
)
from tests.support.decoded import COMPLETE, END, LATEST_US, NOW_US, comparable, decode_value

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(MESSAGES)
def test_agrees_with_brute_force(message: dict[str, Any]) -> None:
    """Two readings of the specification find the same events in a message, and as many invalid ones."""
    value = json.dumps(message).encode()
    events, invalid = decode_value(value)
    expected = list(brute_force.decode(value, NOW_US))
    assert [comparable(event) for event in events] == [
        comparable(event) for event in expected if isinstance(event, brute_force.Event)
    ]
    assert len(invalid) == len(expected) - len(events)


@given(MESSAGES, st.booleans())
def test_one_pass_and_close_reading_agree(message: dict[str, Any], ensure_ascii: bool) -> None:
    """A message that is decoded in one pass is read field by field to the same event."""
    value = json.dumps(message, ensure_ascii=ensure_ascii).encode()
    assert decode_message(value, NOW_US) == decode._decode_exactly(value, LATEST_US)


def is_batch_of_none(value: bytes) -> bool:
    """Whether it is the one message that holds neither an event nor anything invalid."""
    return b"".join(value.split()) == b'{"batch"' + b":[]}"


@given(st.binary(max_size=60))
def test_never_raises_on_bytes(value: bytes) -> None:
    """Any bytes are events, or invalid with a reason."""
    events, invalid = decode_value(value)
    assert len(events) + len(invalid) == 1 or is_batch_of_none(value)


@given(
    JSON_VALUES
    | st.dictionaries(st.sampled_from(["start", "end", "complete", "mode", "req", "batch"]), JSON_VALUES)
    | st.sampled_from(sorted(COMPLETE)).flatmap(
        lambda name: JSON_VALUES.map(lambda value: {"complete": COMPLETE | {name: value}})
    )
    | JSON_VALUES.map(lambda value: {"end": END | {"summary": {"usage": value}}})
    | JSON_VALUES.map(
        lambda value: {"end": END | {"summary": {"usage": {"m": {"requests": 1}}, "status_counts": value}}}
    )
)
def test_never_raises_on_json(message: object) -> None:
    """Any JSON is events, or invalid with a sentence as reason."""
    _, invalid = decode_value(json.dumps(message).encode())
    for one in invalid:
        assert isinstance(one.message, str)
        assert one.message
