"""The levels rollups are kept at, from fine to coarse, and how long each, and call records, are kept.

Three levels serve every question: 5-minute slots are a divisor of every zone's offset since 1972 (:30 and :45 too),
so a local day is read as hours with 5-minute slots at its edges, and only unaligned edges read minutes.
Slots that are read together are stored together, an hour or a day of them in a block: one key each, and one expiry.
"""

from typing import NamedTuple

import msgspec

from aggregator.time_units import DAY_S, HOUR_S, SECOND_US


class Level(NamedTuple):
    """A level's slots: their length, how many are stored together, and the letter that stands for it in Redis keys."""

    letter: str
    slot_s: int
    block_slots: int

    @property
    def slot_us(self) -> int:
        return self.slot_s * SECOND_US

    @property
    def block_s(self) -> int:
        """Seconds that a block covers; blocks divide UTC days, or are days."""
        return self.slot_s * self.block_slots

    def block_and_slot(self, minute: int) -> tuple[int, int]:
        """The block (since 1970) that a minute (since 1970) falls into, and the slot in it."""
        return divmod(minute * 60 // self.slot_s, self.block_slots)


MINUTES = Level("m", 60, 60)
FIVE_MINUTES = Level("f", 300, 288)
HOURS = Level("h", HOUR_S, 24)
LEVELS = (MINUTES, FIVE_MINUTES, HOURS)


class Retention(msgspec.Struct, frozen=True):
    """How long each kind of detail is kept after its event time, in seconds. A coarser level never goes before a
    finer one.

    `..._since_us`: from before this instant some may be gone although it is not as old as that, because less was kept
    then (microseconds since 1970).
    """

    calls_s: int = 30 * DAY_S
    minutes_s: int = 30 * DAY_S
    five_minutes_s: int = 90 * DAY_S
    hours_s: int = 400 * DAY_S
    calls_since_us: int = 0
    minutes_since_us: int = 0
    five_minutes_since_us: int = 0
    hours_since_us: int = 0

    @property
    def lengths_s(self) -> tuple[int, int, int, int]:
        """Return what is kept for how long, without since when."""
        return self.calls_s, self.minutes_s, self.five_minutes_s, self.hours_s

    def level_s(self, level: Level) -> int:
        """Seconds for which `level` is kept."""
        kept = self.minutes_s
        if level.slot_s >= FIVE_MINUTES.slot_s:
            kept = max(kept, self.five_minutes_s)
        if level.slot_s >= HOURS.slot_s:
            kept = max(kept, self.hours_s)
        return kept

    def calls_reach_us(self, now_us: int) -> int:
        """The instant from which on all call records are kept (microseconds since 1970)."""
        return max(now_us - self.calls_s * SECOND_US, self.calls_since_us)

    def level_reach_us(self, level: Level, now_us: int) -> int:
        """The instant from which on all of `level` is kept; it may lie inside a slot."""
        since_us = (self.minutes_since_us, self.five_minutes_since_us, self.hours_since_us)
        return max(now_us - self.level_s(level) * SECOND_US, since_us[LEVELS.index(level)])

    def instead_of(self, before: "Retention", now_us: int) -> "Retention":
        """Return this retention where another one held until `now_us`: what went by that one does not come back."""
        reach_us = (before.level_reach_us(level, now_us) for level in LEVELS)
        return Retention(*self.lengths_s, before.calls_reach_us(now_us), *reach_us)

    def shortest(self, other: "Retention") -> "Retention":
        """Return what is kept where both hold, each for a part."""
        pairs = list(zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True))
        return Retention(*map(min, pairs[:4]), *map(max, pairs[4:]))
