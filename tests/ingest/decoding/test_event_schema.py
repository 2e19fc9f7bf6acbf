"""The JSON Schema takes just what the decoder takes: over examples, invalid events, and changes of every field."""

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from aggregator.calls.stated_usage import KEYS
from ingest.decoding.event_schema import event_schema
from ingest.decoding.single import decode_message
from tests.support.paths import CASES, ROOT

NOW_US = 1_790_000_000_000_000
AT = "2026-06-10T10:00:00Z"
START: dict[str, Any] = {"project_id": "p", "id": "c", "op_name": "o", "started_at": AT}
END: dict[str, Any] = {"project_id": "p", "id": "c", "ended_at": AT, "summary": {"usage": {"m": {"input_tokens": 1}}}}
KINDS: dict[str, dict[str, Any]] = {"start": START, "end": END, "complete": START | END}
FIELDS = sorted({*START, *END, "trace_id", "parent_id", "thread_id", "turn_id", "wb_user_id", "wb_run_id", "exception"})
# Instants are left as they are: what can be read as one is in their description.
VALUES: st.SearchStrategy[Any] = st.sampled_from(
    [None, "text", "x" * 257, "", 7, 1.5, True, [], {}, {"usage": None}, {"usage": 3}, {"usage": {"m": 7}}]
)
COUNTS: st.SearchStrategy[Any] = st.sampled_from(
    [None, 0, 7, 12.0, 1.5, -1, "12", "-1", "x", True, [], {}, {"cached_tokens": 3}, 2**63]
)


@cache
def schema() -> Draft202012Validator:
    """The schema, which is one."""
    Draft202012Validator.check_schema(event_schema())
    return Draft202012Validator(event_schema())


def decoder_takes(message: Any) -> bool:
    """Whether all of the message are events."""
    return not decode_message(json.dumps(message).encode(), NOW_US).invalid


def shaped(kind: str, fields: dict[str, Any], shape: str) -> Any:
    """The event in one of the shapes of a message."""
    return {
        "plain": {kind: fields},
        "mode": {"mode": kind, "req": {kind: fields}},
        "bare mode": {"mode": kind, "req": fields},
        "two": {kind: fields, "start": START, "end": END},
        "null beside": {kind: fields} | {other: None for other in KINDS if other != kind},
        "other mode": {"mode": "other", "req": {kind: fields}},
        "batch": {"batch": [{kind: fields}]},
        "bare batch": {"batch": [fields]},
        "batch of modes": {"batch": [{"mode": kind, "req": {kind: fields}}]},
        "batch beside": {kind: fields, "batch": []},
        "no batch": {"batch": {kind: fields}},
        "nothing": {},
        "list": [{kind: fields}],
    }[shape]


SHAPES = ["plain", "mode", "bare mode", "two", "null beside", "other mode", "batch", "bare batch", "batch of modes"]
SHAPES += ["batch beside", "no batch", "nothing", "list"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind: str, shape: str) -> None:
    """The schema takes each shape of a message, for each kind of event, exactly where the decoder does."""
    message = shaped(kind, KINDS[kind], shape)
    assert schema().is_valid(message) == decoder_takes(message)


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(FIELDS), VALUES, st.booleans())
@example("end", "trace_id", 7, False)
@example("complete", "summary", [], False)
def test_fields(kind: str, field: str, value: Any, is_left_out: bool) -> None:
    """Any one field of any kind of event left out, or of another type or length."""
    fields = {name: content for name, content in KINDS[kind].items() if not (is_left_out and name == field)}
    if not is_left_out and not (field.endswith("_at") and isinstance(value, str | int | float) and value is not True):
        fields[field] = value
    message = {kind: fields}
    assert schema().is_valid(message) == decoder_takes(message), message


@given(st.sampled_from(sorted(KEYS)), COUNTS)
def test_usage(key: str, count: Any) -> None:
    """Any one key of a model's usage, with counts and what is none."""
    message = {"end": END | {"summary": {"usage": {"m": {key: count}}}}}
    assert schema().is_valid(message) == decoder_takes(message), message


@pytest.mark.parametrize("name", ["basics", "disorder", "usage_trees", "costs", "filters"])
def test_golden_events(name: str) -> None:
    """Every golden event is one."""
    for line in (CASES / f"{name}.events.jsonl").read_text().splitlines():
        assert schema().is_valid(json.loads(line)["value"]), line


def test_examples() -> None:
    """Every example is one."""
    lines = (ROOT / "examples" / "events.jsonl").read_text().splitlines()
    assert len(lines) >= 8
    for line in lines:
        assert schema().is_valid(json.loads(line)), line
