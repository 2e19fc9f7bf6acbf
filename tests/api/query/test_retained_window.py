"""How fine an answer can be: exactly to the edge of what is retained, and told where it is coarser."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Retention
from aggregator.time_units import DAY_S, DAY_US, HOUR_US, MINUTE_US, SECOND_US
from api.query.buckets import bucket_starts
from api.query.read_plan import bucket_edges, cover
from api.query.retained_window import BeyondRetention, FittedWindow, calls_reach_us, fit, level_reach_us
from api.query.zones import load_zone

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
    assert fit(CALLS_US, NOW_US, 7, NOW_US, KEPT) == FittedWindow(CALLS_US, NOW_US, 7, 0)


def test_a_microsecond_earlier_needs_minutes() -> None:
    """The start moves out to its minute, granularity up to whole minutes; the end is where calls are known."""
    assert fit(CALLS_US - 1, NOW_US, 7, NOW_US, KEPT) == FittedWindow(CALLS_US - 30 * SECOND_US, NOW_US, 60, 60)
    assert fit(CALLS_US - 1, NOW_US, 61, NOW_US, KEPT).granularity_s == 120
    assert fit(CALLS_US - 1, NOW_US, 3600, NOW_US, KEPT).granularity_s == 3600


def test_an_end_that_calls_do_not_reach_moves_too() -> None:
    """Outward, to the edge of its minute, unless calls reach back to where that minute begins."""
    start_us, minute_us = CALLS_US - HOUR_US, CALLS_US + 30 * SECOND_US
    for end_us in (CALLS_US - 1, CALLS_US, CALLS_US + 1, minute_us - 1, minute_us):
        assert fit(start_us, end_us, 60, NOW_US, KEPT).end_us == minute_us
    assert fit(start_us, minute_us + 1, 60, NOW_US, KEPT).end_us == minute_us + 1


def test_an_end_that_minutes_do_not_reach_moves_to_the_next_five() -> None:
    """An end within five minutes is read from the five where minutes begin in their midst."""
    start_us, later_us = MINUTES_US - HOUR_US, 2 * MINUTE_US
    # Minutes are there from 12:35 + 2 min on.
    now_us = NOW_US + later_us
    assert level_reach_us(MINUTES, now_us, KEPT) == MINUTES_US + later_us
    long_calls = Retention(calls_s=5 * DAY_S, minutes_s=2 * DAY_S, five_minutes_s=3 * DAY_S, hours_s=4 * DAY_S)
    for end_us in (MINUTES_US + MINUTE_US + 1, MINUTES_US + later_us + 1, MINUTES_US + 4 * MINUTE_US):
        assert fit(start_us, end_us, 60, now_us, long_calls).end_us == MINUTES_US + 5 * MINUTE_US
    end_us = MINUTES_US + 5 * MINUTE_US + 1
    assert fit(start_us, end_us, 60, now_us, long_calls).end_us == end_us


DAYS = st.integers(0, 5 * DAY_S).map(lambda whole_s: whole_s // 7 * 7)


@settings(max_examples=500, deadline=None)
@given(
    retention=st.builds(Retention, DAYS, DAYS, DAYS, DAYS),
    back_us=st.integers(1, 6 * DAY_US),
    long_us=st.integers(1, 6 * DAY_US),
    near=st.sampled_from(["window", "calls", "minutes", "fives", "hours"]),
    granularity_s=st.sampled_from([1, 60, 300, 3600, 86_400]),
)
def test_all_that_is_read_is_retained(
    retention: Retention, back_us: int, long_us: int, near: str, granularity_s: int
) -> None:
    """Whatever the window and the retention, no slot and no part of a minute is read that may be gone."""
    reaches_us = {
        "window": NOW_US,
        "calls": calls_reach_us(NOW_US, retention),
        "minutes": level_reach_us(MINUTES, NOW_US, retention),
        "fives": level_reach_us(FIVE_MINUTES, NOW_US, retention),
        "hours": level_reach_us(HOURS, NOW_US, retention),
    }
    start_us = NOW_US - back_us
    # The end is near one of the edges of what is kept, where it is hard.
    end_us = max(start_us + 1, reaches_us[near] + long_us % (2 * HOUR_US) - HOUR_US)
    try:
        fitted = fit(start_us, end_us, granularity_s, NOW_US, retention)
    except BeyondRetention:
        return
    assert fitted.start_us <= max(start_us, reaches_us["hours"])
    assert fitted.end_us >= end_us
    starts_us = bucket_starts(fitted.start_us, fitted.end_us, fitted.granularity_s, load_zone("UTC"))
    for from_us, to_us in bucket_edges(fitted.start_us, fitted.end_us, starts_us):
        read = cover(from_us, to_us)
        for block, within in read.slots:
            first_us = (block.number * block.level.block_slots + within.start) * block.level.slot_us
            assert first_us >= level_reach_us(block.level, NOW_US, retention)
        for minute in read.cut_minutes:
            assert max(from_us, minute * MINUTE_US) >= reaches_us["calls"]


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
    """A window is read from the finest level that reaches its start, on both sides of where each level ends."""
    fitted = fit(start_us, NOW_US, 60, NOW_US, KEPT)
    assert fitted == FittedWindow(outward_us, NOW_US, slot_s, slot_s)


def test_what_lies_before_everything_is_left_out() -> None:
    """The answer begins where data does, and says so."""
    assert fit(HOURS_US - 1, NOW_US, 60, NOW_US, KEPT) == FittedWindow(HOURS_US, NOW_US, 3600, 3600)
    assert fit(0, HOURS_US + 1, 60, NOW_US, KEPT) == FittedWindow(HOURS_US, HOURS_US + HOUR_US, 3600, 3600)


@pytest.mark.parametrize("end_us", [HOURS_US, HOURS_US - 1, 5])
def test_nothing_is_kept_of_it(end_us: int) -> None:
    """Refused, with how far data reaches."""
    with pytest.raises(BeyondRetention) as refused:
        fit(0, end_us, 60, NOW_US, KEPT)
    assert refused.value.reaches_us == HOURS_US


def test_an_empty_window_is_what_it_is() -> None:
    """However old."""
    assert fit(5, 5, 7, NOW_US, KEPT) == FittedWindow(5, 5, 7, 0)


def test_calls_kept_longer_than_minutes_do_not_help_rollups() -> None:
    """Past the minutes, even where calls are known, the answer comes from five minutes."""
    kept = Retention(calls_s=10 * DAY_S, minutes_s=2 * DAY_S, five_minutes_s=10 * DAY_S, hours_s=10 * DAY_S)
    assert fit(MINUTES_US - 1, NOW_US, 60, NOW_US, kept).slot_s == 300
    assert fit(MINUTES_US, NOW_US, 7, NOW_US, kept) == FittedWindow(MINUTES_US, NOW_US, 7, 0)


def test_levels_outlive_finer_ones() -> None:
    """A coarser level is never kept for less than a finer one, whatever the settings say."""
    kept = Retention(calls_s=DAY_S, minutes_s=9 * DAY_S, five_minutes_s=DAY_S, hours_s=2 * DAY_S)
    assert [kept.level_s(level) for level in (MINUTES, FIVE_MINUTES, HOURS)] == [9 * DAY_S] * 3
