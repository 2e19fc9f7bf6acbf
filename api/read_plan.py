"""Which rollups answer a window: the coarsest slots inside one bucket, and the minutes that an edge cuts."""

from collections.abc import Sequence

import msgspec

from aggregator.levels import FIVE_MINUTES, HOURS, MINUTE_US, MINUTES, Level
from aggregator.rollup_reading import LevelBlock

_FROM_COARSE = (HOURS, FIVE_MINUTES, MINUTES)
_BY_LENGTH = {level.slot_us: level for level in _FROM_COARSE}


class ReadPlan(msgspec.Struct, frozen=True):
    """Slots to read, by block of a level, each with the position of its bucket; and cut minutes (since 1970).

    The calls of a cut minute are read one by one: their buckets come from their start.
    """

    slots: dict[LevelBlock, dict[int, int]]
    cut_minutes: set[int]


def plan_reads(start_us: int, end_us: int, starts_us: Sequence[int]) -> ReadPlan:
    """Cover `[start_us, end_us)` without gap or overlap, no slot reaching over the edge of a bucket or the window.

    `starts_us`: where the buckets begin; the first may begin before the window.
    """
    plan = ReadPlan({}, set())
    for position, begin in enumerate(starts_us):
        until = starts_us[position + 1] if position + 1 < len(starts_us) else end_us
        _cover(plan, max(begin, start_us), min(until, end_us), position)
    return plan


def _cover(plan: ReadPlan, from_us: int, to_us: int, bucket: int) -> None:
    level = _BY_LENGTH.get(to_us - from_us)
    if level is not None and not from_us % level.slot_us:  # nearly all buckets of the commonest questions
        _take(plan, level, from_us, to_us, bucket)
        return
    whole_from, whole_to = _up(from_us, MINUTE_US), _down(to_us, MINUTE_US)
    if whole_from > from_us:
        plan.cut_minutes.add(from_us // MINUTE_US)
    if whole_to < to_us:
        plan.cut_minutes.add(to_us // MINUTE_US)
    _cover_slots(plan, whole_from, whole_to, bucket, 0)


def _cover_slots(plan: ReadPlan, from_us: int, to_us: int, bucket: int, level_position: int) -> None:
    if from_us >= to_us:
        return
    level = _FROM_COARSE[level_position]
    if to_us - from_us < level.slot_us:
        _cover_slots(plan, from_us, to_us, bucket, level_position + 1)
        return
    whole_from, whole_to = _up(from_us, level.slot_us), _down(to_us, level.slot_us)
    if whole_from >= whole_to:
        _cover_slots(plan, from_us, to_us, bucket, level_position + 1)
        return
    _take(plan, level, whole_from, whole_to, bucket)
    if level_position + 1 < len(_FROM_COARSE):
        _cover_slots(plan, from_us, whole_from, bucket, level_position + 1)
        _cover_slots(plan, whole_to, to_us, bucket, level_position + 1)


def _take(plan: ReadPlan, level: Level, from_us: int, to_us: int, bucket: int) -> None:
    for minute in range(from_us // MINUTE_US, to_us // MINUTE_US, level.slot_s // 60):
        block, slot = level.block_and_slot(minute)
        plan.slots.setdefault(LevelBlock(level, block), {})[slot] = bucket


def _up(time_us: int, unit_us: int) -> int:
    return -(-time_us // unit_us) * unit_us


def _down(time_us: int, unit_us: int) -> int:
    return time_us // unit_us * unit_us
