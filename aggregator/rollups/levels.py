"""The levels rollups are kept at, from fine to coarse, and how long each, and call records, are kept.

Three levels serve every question: 5-minute slots are a divisor of every zone's offset since 1972 (:30 and :45 too),
so a local day is read as hours with 5-minute slots at its edges, and only unaligned edges read minutes.
Slots that are read together are stored together, an hour or a day of them in a block: one key each, and one expiry.
"""

from typing import NamedTuple

import msgspec

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
DAY_S = 86_400
DAY_US = DAY_S * SECOND_US


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
HOURS = Level("h", 3600, 24)
LEVELS = (MINUTES, FIVE_MINUTES, HOURS)


class Retention(msgspec.Struct, frozen=True):
    """How long each kind of detail is kept after its event time, in seconds. A coarser level never goes before a
    finer one.
    """

    calls_s: int = 30 * DAY_S
    minutes_s: int = 30 * DAY_S
    five_minutes_s: int = 90 * DAY_S
    hours_s: int = 400 * DAY_S

    def level_s(self, level: Level) -> int:
        """Seconds for which `level` is kept."""
        kept = self.minutes_s
        if level.slot_s >= FIVE_MINUTES.slot_s:
            kept = max(kept, self.five_minutes_s)
        if level.slot_s >= HOURS.slot_s:
            kept = max(kept, self.hours_s)
        return kept
