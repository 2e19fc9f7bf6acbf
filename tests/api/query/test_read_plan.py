"""The plan of what to read covers the window once, and nothing else."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.reading.rollups import LevelBlock
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES
from aggregator.time_units import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from api.query import read_plan
from api.query.read_plan import ReadPlan, bucket_edges, cover

DAY = 20_515
BASE_US = DAY * DAY_US


def plan_reads(start_us: int, end_us: int, starts_us: list[int]) -> ReadPlan:
    """The plan of a window whose buckets begin there."""
    return read_plan.plan_reads([cover(*edges) for edges in bucket_edges(start_us, end_us, starts_us)])


def minutes_covered(plan: ReadPlan) -> Counter[tuple[int, int]]:
    """(minute since 1970, bucket) of every minute of every slot."""
    covered: Counter[tuple[int, int]] = Counter()
    for (level, block), slots in plan.slots.items():
        for slot, bucket in slots.items():
            assert 0 <= slot < level.block_slots
            first = (block * level.block_slots + slot) * level.slot_us // MINUTE_US
            covered.update((minute, bucket) for minute in range(first, first + level.slot_s // 60))
    return covered


# Edges of windows and buckets: on a minute mostly, and anywhere.
offsets_us = st.integers(0, 3 * 24 * 60).map(lambda m: m * MINUTE_US) | st.integers(0, 3 * DAY_US)


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, int, list[int]]:
    """A window and bucket starts, the first at or before it, the others inside."""
    start_us, end_us = sorted(BASE_US + offset for offset in draw(st.tuples(offsets_us, offsets_us)))
    inside = draw(st.lists(offsets_us, max_size=5))
    starts = {BASE_US + offset for offset in inside if start_us < BASE_US + offset < end_us}
    first_us = start_us - draw(st.sampled_from([0, 1, MINUTE_US, HOUR_US, 90 * SECOND_US]))
    return start_us, end_us + 1, [first_us, *sorted(starts)]


@given(windows())
def test_covers_the_window_once(window: tuple[int, int, list[int]]) -> None:
    """Each minute of one bucket is in one slot of it, every other minute of the window is cut; nothing else."""
    start_us, end_us, starts = window
    edges = [start_us, *(one for one in starts if one > start_us), end_us]
    whole: Counter[tuple[int, int]] = Counter()
    cut = set()
    for minute in range(start_us // MINUTE_US, (end_us - 1) // MINUTE_US + 1):
        from_us, to_us = minute * MINUTE_US, (minute + 1) * MINUTE_US
        bucket = sum(one <= from_us for one in starts) - 1
        if any(from_us < edge < to_us for edge in edges):
            cut.add(minute)
        else:
            whole[minute, bucket] = 1
    plan = plan_reads(start_us, end_us, starts)
    assert minutes_covered(plan) == whole
    assert plan.cut_minutes == cut


def test_takes_the_coarsest_slots() -> None:
    """A plan takes the coarsest slots: of 00:58 to 03:07 with a bucket from 02:00 on, two minutes, hours 1 | 2, then
    five minutes and two."""
    plan = plan_reads(BASE_US + 58 * MINUTE_US, BASE_US + 187 * MINUTE_US, [BASE_US, BASE_US + 2 * HOUR_US])
    assert plan.slots == {
        LevelBlock(HOURS, DAY): {1: 0, 2: 1},
        LevelBlock(MINUTES, 24 * DAY): {58: 0, 59: 0},
        LevelBlock(MINUTES, 24 * DAY + 3): {5: 1, 6: 1},
        LevelBlock(FIVE_MINUTES, DAY): {36: 1},
    }
    assert plan.cut_minutes == set()


def test_a_local_day_of_kathmandu_reads_few_rollups() -> None:
    """A local day of Kathmandu, from 18:15 UTC to 18:15 UTC, is 23 hours and twelve times five minutes, no minute, over
    midnight."""
    begin_us = BASE_US + 18 * HOUR_US + 15 * MINUTE_US
    plan = plan_reads(begin_us, begin_us + DAY_US, [begin_us])
    counts = {(level.letter, block): len(slots) for (level, block), slots in plan.slots.items()}
    assert counts == {("h", DAY): 5, ("h", DAY + 1): 18, ("f", DAY): 9, ("f", DAY + 1): 3}


@pytest.mark.parametrize(
    ("from_us", "to_us", "cut", "slots"),
    [
        (0, MINUTE_US, set(), {0: 0}),
        (1, MINUTE_US, {0}, {}),
        (0, MINUTE_US - 1, {0}, {}),
        (MINUTE_US - 1, MINUTE_US + 1, {0, 1}, {}),
        (MINUTE_US - 1, 2 * MINUTE_US + 1, {0, 2}, {1: 0}),
    ],
)
def test_edges_inside_minutes(from_us: int, to_us: int, cut: set[int], slots: dict[int, int]) -> None:
    """A microsecond off, and a minute is cut: on either side, on both, with a whole minute between."""
    plan = plan_reads(BASE_US + from_us, BASE_US + to_us, [BASE_US])
    assert {minute - BASE_US // MINUTE_US for minute in plan.cut_minutes} == cut
    assert plan.slots == ({LevelBlock(MINUTES, 24 * DAY): slots} if slots else {})


def test_buckets_of_seconds_cut_every_minute() -> None:
    """Thirty seconds each: both minutes are read call by call."""
    plan = plan_reads(BASE_US, BASE_US + 2 * MINUTE_US, [BASE_US + at * SECOND_US for at in (0, 30, 60, 90)])
    assert (plan.slots, len(plan.cut_minutes)) == ({}, 2)


def test_minutes_over_a_block() -> None:
    """14:59 and 15:00 are read from two blocks, each with its own slot."""
    begin_us = BASE_US + 14 * HOUR_US + 59 * MINUTE_US
    plan = plan_reads(begin_us, begin_us + 2 * MINUTE_US, [begin_us])
    assert plan.slots == {LevelBlock(MINUTES, 24 * DAY + 14): {59: 0}, LevelBlock(MINUTES, 24 * DAY + 15): {0: 0}}


def test_before_1970() -> None:
    """Negative times fall into the slots before."""
    plan = plan_reads(-HOUR_US, HOUR_US, [-HOUR_US])
    assert plan.slots == {LevelBlock(HOURS, -1): {23: 0}, LevelBlock(HOURS, 0): {0: 0}}


def test_nothing_to_read() -> None:
    """A plan without buckets has nothing to read."""
    assert plan_reads(5, 5, []) == ReadPlan({}, set())
