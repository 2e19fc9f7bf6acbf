"""Durations: what is written is what is meant, and what is shown reads as the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callmeter.durations import DURATION_S_MAX, format_duration, parse_duration_s


@pytest.mark.parametrize(
    ("written", "duration_s"),
    [
        ("90s", 90),
        ("15m", 900),
        ("12h", 43_200),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1d12h", 129_600),
        (" 1D 12 H ", 129_600),
    ],
)
def test_each_unit(written: str, duration_s: int) -> None:
    """Every unit, several of them, spaces and capitals are read."""
    assert parse_duration_s(written) == duration_s


@pytest.mark.parametrize("written", ["", "7", "d", "-7d", "1.5h", "7 days", "7dd", "forever", "d7"])
def test_not_a_duration(written: str) -> None:
    """Text that is no duration is refused, a number without a unit included."""
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration_s(written)


def test_bounds() -> None:
    """A century is accepted, a second more is not, and neither is nothing."""
    assert parse_duration_s(f"{DURATION_S_MAX}s") == DURATION_S_MAX
    for written in (f"{DURATION_S_MAX + 1}s", "0s", "9999999999999999d"):
        with pytest.raises(ValueError, match="between 1s and 100 years"):
            parse_duration_s(written)


@given(st.integers(1, DURATION_S_MAX))
def test_shown_reads_as_the_same(duration_s: int) -> None:
    """`parse_duration_s` undoes `format_duration`."""
    assert parse_duration_s(format_duration(duration_s)) == duration_s


def test_shown_in_the_largest_unit_that_divides() -> None:
    """A retention of 400 days is shown as that, 90 minutes as minutes."""
    assert [format_duration(s) for s in (34_560_000, 604_800, 5_400, 61)] == ["400d", "7d", "90m", "61s"]
