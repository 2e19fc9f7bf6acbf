"""Levels: which block and slot a minute is in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rollups.levels import FIVE_MINUTES, HOURS, LEVELS, MINUTES, Level
from aggregator.time_units import DAY_S

DAY = 20_515
MIDNIGHT = DAY * 1440


@pytest.mark.parametrize(
    ("level", "minute", "block", "slot"),
    [
        (MINUTES, MIDNIGHT, DAY * 24, 0),
        (MINUTES, MIDNIGHT + 14 * 60 + 59, DAY * 24 + 14, 59),
        (MINUTES, MIDNIGHT + 15 * 60, DAY * 24 + 15, 0),
        (MINUTES, MIDNIGHT + 1439, DAY * 24 + 23, 59),
        (FIVE_MINUTES, MIDNIGHT + 4, DAY, 0),
        (FIVE_MINUTES, MIDNIGHT + 5, DAY, 1),
        (FIVE_MINUTES, MIDNIGHT + 1439, DAY, 287),
        (FIVE_MINUTES, MIDNIGHT + 1440, DAY + 1, 0),
        (HOURS, MIDNIGHT + 59, DAY, 0),
        (HOURS, MIDNIGHT + 1439, DAY, 23),
        (MINUTES, -1, -1, 59),
        (FIVE_MINUTES, -1, -1, 287),
        (HOURS, -1, -1, 23),
    ],
)
def test_blocks_and_slots(level: Level, minute: int, block: int, slot: int) -> None:
    """An hour of minutes, a day of five minutes or hours, from midnight UTC; before 1970 too."""
    assert level.block_and_slot(minute) == (block, slot)


@given(st.integers(-(10**7), 10**8), st.sampled_from(LEVELS))
def test_a_slot_holds_its_minutes(minute: int, level: Level) -> None:
    """The block and the slot lead back to the slot's beginning, at or before the minute; no block is of two days."""
    block, slot = level.block_and_slot(minute)
    begins_s = (block * level.block_slots + slot) * level.slot_s
    assert begins_s <= minute * 60 < begins_s + level.slot_s
    assert 0 <= slot < level.block_slots
    assert block * level.block_s // DAY_S == ((block + 1) * level.block_s - 1) // DAY_S
