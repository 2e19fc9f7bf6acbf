"""How fine an answer can be: exactly to the edge of what is retained, and told where it is coarser."""

import pytest

from aggregator.rollups.levels import DAY_S, DAY_US, FIVE_MINUTES, HOURS, MINUTE_US, MINUTES, SECOND_US, Retention
from api.query.retained_window import BeyondRetention, Fitted, calls_reach_us, fit, level_reach_us

HOUR_US = 60 * MINUTE_US
# In the middle of a minute, a five minutes and an hour: 12:34:30.
NOW_US = 20_515 * DAY_US + 12 * HOUR_US + 34 * MINUTE_US + 30 * SECOND_US
KEPT = Retention(calls_s=1 * DAY_S, minutes_s=2 * DAY_S, five_minutes_s=3 * DAY_S, hours_s=4 * DAY_S)
# The first instants of which all is kept.
CALLS_US = NOW_US - 1 * DAY_US
MINUTES_US = NOW_US - 2 * DAY_US + 30 * SECOND_US
FIVES_US = NOW_US - 3 * DAY_US + 30 * SECOND_US
HOURS_US = NOW_US - 4 * DAY_US + 25 * MINUTE_US + 30 * SECOND_US


def test_reach() -> None:
    """Calls reach back to the microsecond, levels to the first slot that is wholly there."""
    assert calls_reach_us(NOW_US, KEPT) == CALLS_US
    assert level_reach_us(MINUTES, NOW_US, KEPT) == MINUTES_US
    assert level_reach_us(FIVE_MINUTES, NOW_US, KEPT) == FIVES_US  # 12:35
    assert level_reach_us(HOURS, NOW_US, KEPT) == HOURS_US  # 13:00
    assert level_reach_us(HOURS, NOW_US - 34 * MINUTE_US - 30 * SECOND_US, KEPT) == HOURS_US - HOUR_US


def test_exact_up_to_the_last_call() -> None:
    """A window that calls reach is answered as asked, to the microsecond and the second."""
    assert fit(CALLS_US, NOW_US, 7, NOW_US, KEPT) == Fitted(CALLS_US, NOW_US, 7, 0)


def test_a_microsecond_earlier_needs_minutes() -> None:
    """The start moves out to its minute, granularity up to whole minutes; the end is where calls are known."""
    assert fit(CALLS_US - 1, NOW_US, 7, NOW_US, KEPT) == Fitted(CALLS_US - 30 * SECOND_US, NOW_US, 60, 60)
    assert fit(CALLS_US - 1, NOW_US, 61, NOW_US, KEPT).granularity_s == 120
    assert fit(CALLS_US - 1, NOW_US, 3600, NOW_US, KEPT).granularity_s == 3600


def test_an_end_that_calls_do_not_reach_moves_too() -> None:
    """Outward, to the edge of its minute; a microsecond later it stays."""
    start_us = CALLS_US - HOUR_US
    assert fit(start_us, CALLS_US - 1, 60, NOW_US, KEPT).end_us == CALLS_US + 30 * SECOND_US
    assert fit(start_us, CALLS_US, 60, NOW_US, KEPT).end_us == CALLS_US


@pytest.mark.parametrize(
    ("start_us", "slot_s", "outward_us"),
    [
        (MINUTES_US, 60, MINUTES_US),
        (MINUTES_US + 1, 60, MINUTES_US),
        (MINUTES_US - 1, 300, MINUTES_US - 5 * MINUTE_US),
        (FIVES_US, 300, FIVES_US),
        (FIVES_US - 1, 3600, FIVES_US - 35 * MINUTE_US),
        (HOURS_US, 3600, HOURS_US),
    ],
)
def test_the_finest_level_that_reaches_the_start(start_us: int, slot_s: int, outward_us: int) -> None:
    """On both sides of where each level ends."""
    fitted = fit(start_us, NOW_US, 60, NOW_US, KEPT)
    assert fitted == Fitted(outward_us, NOW_US, slot_s, slot_s)


def test_what_lies_before_everything_is_left_out() -> None:
    """The answer begins where data does, and says so."""
    assert fit(HOURS_US - 1, NOW_US, 60, NOW_US, KEPT) == Fitted(HOURS_US, NOW_US, 3600, 3600)
    assert fit(0, HOURS_US + 1, 60, NOW_US, KEPT) == Fitted(HOURS_US, HOURS_US + HOUR_US, 3600, 3600)


@pytest.mark.parametrize("end_us", [HOURS_US, HOURS_US - 1, 5])
def test_nothing_is_kept_of_it(end_us: int) -> None:
    """Refused, with how far data reaches."""
    with pytest.raises(BeyondRetention) as refused:
        fit(0, end_us, 60, NOW_US, KEPT)
    assert refused.value.reaches_us == HOURS_US


def test_an_empty_window_is_what_it_is() -> None:
    """However old."""
    assert fit(5, 5, 7, NOW_US, KEPT) == Fitted(5, 5, 7, 0)


def test_calls_kept_longer_than_minutes_do_not_help_rollups() -> None:
    """Past the minutes, even where calls are known, the answer comes from five minutes."""
    kept = Retention(calls_s=10 * DAY_S, minutes_s=2 * DAY_S, five_minutes_s=10 * DAY_S, hours_s=10 * DAY_S)
    assert fit(MINUTES_US - 1, NOW_US, 60, NOW_US, kept).slot_s == 300
    assert fit(MINUTES_US, NOW_US, 7, NOW_US, kept) == Fitted(MINUTES_US, NOW_US, 7, 0)


def test_levels_outlive_finer_ones() -> None:
    """A coarser level is never kept for less than a finer one, whatever the settings say."""
    kept = Retention(calls_s=DAY_S, minutes_s=9 * DAY_S, five_minutes_s=DAY_S, hours_s=2 * DAY_S)
    assert [kept.level_s(level) for level in (MINUTES, FIVE_MINUTES, HOURS)] == [9 * DAY_S] * 3
