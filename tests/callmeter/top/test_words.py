"""Numbers in few characters: worked out by hand, at the edges of each unit."""

import pytest

from callmeter.top.words import age, change, latency, op_name, percent, short, sparkline, usd


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (None, "–"),
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10k"),
        (72_434, "72.4k"),
        (1_234_567, "1.23M"),
        (58_300_000, "58.3M"),
        (0.25, "0.25"),
        (1.5e15, "1500T"),
    ],
)
def test_short(number: float | None, text: str) -> None:
    assert short(number) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "–"),
        (0, "0 ms"),
        (999, "999 ms"),
        (1_000, "1.00 s"),
        (9_996, "10.00 s"),
        (12_340, "12.3 s"),
        (123_000, "2m03s"),
        (3_720_000, "1h02m"),
    ],
)
def test_latency(ms: float | None, text: str) -> None:
    assert latency(ms) == text


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "–"),
        (0, "$0"),
        (0.00001, "<$0.0001"),
        (0.0031, "$0.0031"),
        (0.42, "$0.42"),
        (91.4, "$91.40"),
        (1_234.5, "$1,234"),
        (12_345, "$12.3k"),
    ],
)
def test_usd(dollars: float | None, text: str) -> None:
    assert usd(dollars) == text


@pytest.mark.parametrize(
    ("share", "text"), [(None, "–"), (0, "0%"), (0.00001, "<0.01%"), (0.004, "0.4%"), (0.075, "7.5%"), (0.339, "34%")]
)
def test_percent(share: float | None, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("now", "before", "text"),
    [
        (12, 10, "+20%"),
        (9, 10, "-10%"),
        (1_001, 1_000, "±0%"),
        (30, 10, "×3"),
        (42, 10, "×4.2"),
        (5_000, 1, "×5,000"),
        (5, 0, ""),
        (5, None, ""),
        (None, 5, ""),
        (0, 5, "-100%"),
    ],
)
def test_change(now: float | None, before: float | None, text: str) -> None:
    assert change(now, before) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-0.1, "0.0 s"),
        (0.42, "0.4 s"),
        (61, "61 s"),
        (180, "3 min"),
        (7_200, "2 h"),
        (432_000, "5 d"),
    ],
)
def test_age(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_op_name() -> None:
    """A Weave reference is shortened to what tells ops apart; any other name stays."""
    assert op_name("weave:///acme/agents/op/answer:9f3c1d2e7b") == "answer:9f3c1d"
    assert op_name("weave:///acme/agents/op/answer:*") == "answer:*"
    assert op_name("POST /op/answer") == "POST /op/answer"


def test_sparkline() -> None:
    """Bars are in proportion to the most, nothing is no bar, and the newest stay where there are too many."""
    assert sparkline([0, 1, 4, 8], 4) == " ▁▄█"
    assert sparkline([8, 0, 1, 4, 8], 3) == "▁▄█"
    assert sparkline([0, 0], 5) == "  "
    assert sparkline([], 5) == ""
