"""Lines of a benchmark: medians, spreads, ratios by round, verdicts, and the words for them."""

import pytest

from bench.measuring import (
    Line,
    Measured,
    alone,
    compared,
    in_turn,
    measured,
    ours_at_least,
    ours_at_most,
    percentile,
    percentile_in_parts,
    ratio_at_least,
    ratio_at_most,
)


def test_median_and_spread() -> None:
    """Half of the range, as a part of the median."""
    assert measured([12, 8, 10]) == Measured(10, 0.2)
    assert measured([5]) == Measured(5, 0)


@pytest.mark.parametrize(("wanted", "value"), [(0, 1), (50, 2.5), (100, 4), (90, 3.7)])
def test_percentile(wanted: float, value: float) -> None:
    """Interpolated between values, whatever their order."""
    assert percentile([4, 1, 3, 2], wanted) == pytest.approx(value)


def test_percentile_in_parts() -> None:
    """A percentile is that of all values; its spread is that of five parts, one after the other."""
    values = [10.0] * 8 + [20.0] * 2
    assert percentile_in_parts(values, 50) == Measured(10, 0.5)
    assert percentile_in_parts([7.0, 7.0], 99) == Measured(7, 0)


def test_ratio_is_that_of_rounds() -> None:
    """The median of the ratios, not the ratio of the medians: a slow moment slows both."""
    line = compared("x", "ms", [10, 40, 9], [20, 100, 3], ratio_at_most(0.5))
    assert line.ratio == 0.5
    assert not line.missed


def test_contenders_take_turns() -> None:
    """Round by round, each once."""
    order: list[str] = []

    def measure(name: str) -> float:
        order.append(name)
        return len(order)

    taken = in_turn(2, {"ours": lambda: measure("ours"), "theirs": lambda: measure("theirs")})
    assert order == ["ours", "theirs"] * 2
    assert taken == {"ours": [1, 3], "theirs": [2, 4]}


@pytest.mark.parametrize(
    ("line", "missed"),
    [
        (alone("x", "ms", [3], ours_at_most(3)), False),
        (alone("x", "ms", [3.1], ours_at_most(3)), True),
        (alone("x", "events/s", [99], ours_at_least(100)), True),
        (compared("x", "ms", [1], [4], ratio_at_least(0.25)), False),
        (compared("x", "ms", [1], [5], ratio_at_least(0.25)), True),
        (alone("x", "ms", [9]), False),
        (Line("x", absent="no wheel"), False),
        (Line("x", absent="it fell", broke=True), True),
    ],
)
def test_verdict(line: Line, missed: bool) -> None:
    """A target is met at its bound; what broke off is missed, what could not be installed is not."""
    assert line.missed is missed
    assert str(line).endswith("missed") is (missed and not line.broke)


def test_words() -> None:
    """Name, ours, other, ratio, target, verdict; the spread where there is one."""
    line = compared("answers", "ms", [10, 12, 8], [20, 20, 20], ratio_at_most(0.6))
    assert str(line).split() == ["answers", "10", "ms", "±20%", "20", "ms", "0.5", "<=", "0.6", "met"]
    assert str(Line("peers", absent="no wheel")).split(maxsplit=1) == ["peers", "not run: no wheel"]
