"""What a producer wrote does not steer the terminal that shows it."""

from hypothesis import given
from hypothesis import strategies as st

from callmeter.terminal_text import harmless


@given(st.text())
def test_nothing_invisible_is_left(text: str) -> None:
    """Each character is printable, a line end or a tab, and printable text is what it was."""
    shown = harmless(text)
    assert all(one.isprintable() or one in "\n\t" for one in shown)
    assert text != shown or all(one.isprintable() or one in "\n\t" for one in text)
    assert harmless(shown) == shown


def test_escape_sequences_are_spelled() -> None:
    """A window title, a colour, a turn of direction are seen as what they are; words of any language stay."""
    assert harmless("\x1b]0;owned\x07 \x1b[31mred\u202e né 日本\r\n") == (
        "\\x1b]0;owned\\x07 \\x1b[31mred\\u202e né 日本\\r\n"
    )
