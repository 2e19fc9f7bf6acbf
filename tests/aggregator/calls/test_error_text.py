"""The beginning of what an error says, and the class it names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.error_text import CLASS_CHARACTERS_MAX, ERROR_BYTES_MAX, cut, error_class, error_text


@pytest.mark.parametrize(
    ("exception", "text", "name"),
    [
        ("ValueError: no such model", "ValueError: no such model", "ValueError"),
        ("openai.RateLimitError: 429", "openai.RateLimitError: 429", "openai.RateLimitError"),
        ("TimeoutError", "TimeoutError", "TimeoutError"),
        ("KeyError('x')", "KeyError('x')", "KeyError"),
        ("AssertionError\nat line 5", "AssertionError\nat line 5", "AssertionError"),
        ("java.net.SocketException: reset", "java.net.SocketException: reset", "java.net.SocketException"),
        ("Traceback (most recent call last):\n ...", "Traceback (most recent call last):\n ...", "Traceback"),
        ("it broke: badly", "it broke: badly", None),
        ("429: too many", "429: too many", None),
        (": ", ": ", None),
        (" \n", None, None),
        ("X" * (CLASS_CHARACTERS_MAX + 1), "X" * (CLASS_CHARACTERS_MAX + 1), None),
        (json.dumps({"type": "KeyError", "message": "k", "traceback": "x" * 5_000}), "KeyError: k", "KeyError"),
        (json.dumps({"type": "KeyError"}), "KeyError", "KeyError"),
        ('{"type": 5}', '{"type": 5}', None),
        ('{"error": "overloaded"}', '{"error": "overloaded"}', None),
        ("{not JSON", "{not JSON", None),
        ("[" * 100_000, "[" * ERROR_BYTES_MAX, None),
        ('{"type":' * 5_000, ('{"type":' * 5_000)[:ERROR_BYTES_MAX], None),
    ],
)
def test_texts(exception: str, text: str | None, name: str | None) -> None:
    """Error texts as producers write them are read."""
    assert error_text(exception) == text
    assert error_class(text) == name


def test_no_text_names_no_class() -> None:
    """A call that failed without a word."""
    assert error_class(None) is None
    assert error_class("") is None


@given(st.text(), st.integers(0, 40))
def test_cut_between_characters(text: str, bytes_max: int) -> None:
    """A text is cut to as much as fits, and never within a character."""
    kept = cut(text, bytes_max)
    assert text.startswith(kept)
    assert len(kept.encode()) <= bytes_max
    if kept != text:
        assert len(text[: len(kept) + 1].encode()) > bytes_max


@given(st.text(min_size=ERROR_BYTES_MAX))
def test_texts_are_bounded(exception: str) -> None:
    """Whatever a producer writes."""
    assert len((error_text(exception) or "").encode()) <= ERROR_BYTES_MAX
