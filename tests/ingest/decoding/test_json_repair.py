"""Making valid JSON readable that msgspec does not read."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decoding.json_repair import DEPTH_MAX, flatten, readable_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)
# Texts that are nearly JSON.
TOKENS = ["{", "}", "[", "]", ",", ":", '"a"', '"', '"\\n"', '"\\x"', '"\n"', "1", "-0.5e+3", "01", "1.", "true", "nul"]
NEARLY_JSON = st.lists(st.sampled_from([*TOKENS, " ", "null", "NaN", "-"]), max_size=8).map("".join)


def nested(depth: int, inside: str = "") -> str:
    """`inside`, in so many arrays."""
    return "[" * depth + inside + "]" * depth


@pytest.mark.parametrize(
    ("text", "readable"),
    [
        (r'"\ud83d"', '"\ufffd"'),
        (r'"\uDE00"', '"\ufffd"'),
        (r'"\ude00\ud83d"', '"\ufffd\ufffd"'),
        (r'"\ud83d\u0041"', '"\ufffdA"'),
        (r'"\ud83d\ud83d\ude00"', '"\ufffd\U0001f600"'),
        (r'"\ud83d\ude00"', '"\U0001f600"'),
        (r'"\\ud83d"', r'"\\ud83d"'),
        (r'"\\\ud83d"', '"\\\\\ufffd"'),
        (r'{"\ud83d": "\ud83d"}', '{"\ufffd": "\ufffd"}'),
    ],
)
def test_lone_surrogates(text: str, readable: str) -> None:
    """A lone surrogate becomes U+FFFD; pairs, and what only looks like an escape, stay."""
    assert json.loads(readable_json(text.encode())) == json.loads(readable)


def test_nesting_without_bound() -> None:
    """Whatever the depth, a value is readable, and its strings are still there, in order, without the keys."""
    deep = nested(50_000, '"a", {"k": "b", "l": {"m": ["c", 1, true]}}, "d\\n"')
    text = f'{{"deep": {deep}, "x": [1, {{"y": "z"}}]}}'
    mended = json.loads(readable_json(text.encode()))
    assert mended["x"] == [1, {"y": "z"}]
    inside = mended["deep"]
    while len(inside) == 1:
        inside = inside[0]
    assert inside == ["a", "b", "c", "d\n", None]


def test_what_is_not_too_deep_stays() -> None:
    """Up to the limit nothing changes; one deeper, the innermost loses all but its strings."""
    at_limit = nested(DEPTH_MAX, '1, "a"')
    assert json.loads(flatten(at_limit.encode())) == json.loads(at_limit)
    assert json.loads(flatten(f"[{at_limit}]".encode())) == json.loads(nested(DEPTH_MAX, '["a", null]'))


@pytest.mark.parametrize(
    "inside", ["]", "[", "{", "}", ",", "1,", '"a":1', '{"a"}', "{1:2}", "NaN", "01", '"\\x"', "[}", "[1}", '{"a":1]']
)
def test_malformed_far_inside(inside: str) -> None:
    """Malformed JSON is no JSON, at any depth."""
    with pytest.raises(ValueError, match="malformed"):
        readable_json(nested(20_000, inside).encode())


@given(VALUES)
def test_flatten_keeps_what_is_shallow(value: Any) -> None:
    """A value of ordinary depth is the same when flattened."""
    assert json.loads(flatten(json.dumps(value, indent=1).encode())) == value
    assert json.loads(flatten(json.dumps(value, ensure_ascii=False).encode())) == value


@given(NEARLY_JSON)
def test_flatten_agrees_on_what_is_json(text: str) -> None:
    """The reader by tokens takes exactly what msgspec takes."""
    try:
        msgspec.json.decode(text.encode(), type=msgspec.Raw)
    except msgspec.DecodeError:
        with pytest.raises(ValueError, match="malformed"):
            flatten(text.encode())
    else:
        assert json.loads(flatten(text.encode())) == json.loads(text)
