"""Which rollups answer a window: the coarsest slots inside one bucket, and the minutes that an edge cuts."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from aggregator.reading.rollups import LevelBlock, Slots
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Level
from aggregator.time_units import DAY_US, MINUTE_US, SECOND_US

_FROM_COARSE = (HOURS, FIVE_MINUTES, MINUTES)

# Dashboards ask for nearly the same buckets again and again; about half a KB each.
COVERS_CACHED_MAX = 20_000
COVER_CACHED_US_MAX = DAY_US


class Cover(NamedTuple):
    """What one bucket is read from: slots, by block of a level, and cut minutes (since 1970).

    The calls of a cut minute are read one by one: their buckets come from their start.
    """

    slots: tuple[Slots, ...]
    cut_minutes: tuple[int, ...]

    @property
    def cut_slots(self) -> list[Slots]:
        """The slots of the cut minutes."""
        places = (MINUTES.block_and_slot(minute) for minute in self.cut_minutes)
        return [Slots(LevelBlock(MINUTES, block), range(slot, slot + 1)) for block, slot in places]

    def with_whole_end(self, from_us: int, to_us: int) -> "Cover":
        """The cover of `[from_us, to_us)` with the minute that its end alone cuts, if one is, read as a slot."""
        minute = to_us // MINUTE_US
        if self.cut_minutes[-1:] != (minute,) or from_us > minute * MINUTE_US:
            return self
        return Cover((*self.slots, self.cut_slots[-1]), self.cut_minutes[:-1])


class ReadPlan(NamedTuple):
    """Slots to read, by block of a level, each with the position of its bucket; and cut minutes (since 1970)."""

    slots: dict[LevelBlock, dict[int, int]]
    cut_minutes: set[int]


def bucket_edges(start_us: int, end_us: int, starts_us: Sequence[int]) -> list[tuple[int, int]]:
    """Return what of `[start_us, end_us)` each bucket holds; `starts_us`, where they begin, may begin before the
    window.
    """
    return [(max(begin, start_us), min(until, end_us)) for begin, until in pairwise([*starts_us, end_us])]


def plan_reads(covers: Sequence[Cover]) -> ReadPlan:
    """All that buckets are read from, together; a bucket's position is that of its cover."""
    plan = ReadPlan({}, set())
    for position, (slots, cut_minutes) in enumerate(covers):
        if cut_minutes:
            plan.cut_minutes.update(cut_minutes)
        for block, within in slots:
            of_block = plan.slots.setdefault(block, {})
            if len(within) == 1:
                of_block[within.start] = position
            else:
                of_block.update(dict.fromkeys(within, position))
    return plan


def cover(from_us: int, to_us: int) -> Cover:
    """Cover `[from_us, to_us)` without gap or overlap."""
    # The cover of a long bucket is large, and soon made in comparison with what is read by it.
    return _short_cover(from_us, to_us) if to_us - from_us <= COVER_CACHED_US_MAX else _cover(from_us, to_us)


def slots_about(from_us: int, to_us: int) -> int:
    """How many slots and cut minutes a cover of `[from_us, to_us)` has, but for a few: known without making it."""
    span_s = (to_us - from_us) // SECOND_US
    hours, rest_s = divmod(span_s, HOURS.slot_s)
    return hours + rest_s // FIVE_MINUTES.slot_s + rest_s % FIVE_MINUTES.slot_s // MINUTES.slot_s + 2


def _cover(from_us: int, to_us: int) -> Cover:
    whole_from, whole_to = _up(from_us, MINUTE_US), _down(to_us, MINUTE_US)
    cut = []
    if whole_from > from_us:
        cut.append(from_us // MINUTE_US)
    if whole_to < to_us:
        cut.append(to_us // MINUTE_US)
    return Cover(tuple(_cover_slots(whole_from, whole_to, 0)), tuple(dict.fromkeys(cut)))


_short_cover = lru_cache(COVERS_CACHED_MAX)(_cover)


def _cover_slots(from_us: int, to_us: int, level_position: int) -> Iterator[Slots]:
    if from_us >= to_us:
        return
    level = _FROM_COARSE[level_position]
    whole_from, whole_to = _up(from_us, level.slot_us), _down(to_us, level.slot_us)
    if whole_from >= whole_to:
        yield from _cover_slots(from_us, to_us, level_position + 1)
        return
    yield from _by_block(level, whole_from // level.slot_us, whole_to // level.slot_us)
    if level_position + 1 < len(_FROM_COARSE):
        yield from _cover_slots(from_us, whole_from, level_position + 1)
        yield from _cover_slots(whole_to, to_us, level_position + 1)


def _by_block(level: Level, first: int, until: int) -> Iterator[Slots]:
    """Slots of a level (since 1970), by the block that holds them."""
    while first < until:
        block, slot = divmod(first, level.block_slots)
        count = min(level.block_slots - slot, until - first)
        yield Slots(LevelBlock(level, block), range(slot, slot + count))
        first += count


def _up(time_us: int, unit_us: int) -> int:
    return -(-time_us // unit_us) * unit_us


def _down(time_us: int, unit_us: int) -> int:
    return time_us // unit_us * unit_us
