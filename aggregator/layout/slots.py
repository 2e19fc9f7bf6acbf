"""Which day, and which slot of which block at each level, a minute is stored in."""

from typing import NamedTuple

from aggregator.layout.keys import ShardKeys, day_of
from aggregator.rollups.levels import LEVELS, Level
from aggregator.time_units import DAY_S, MINUTE_S, MINUTE_US

MINUTES_PER_DAY = DAY_S // MINUTE_S

ProjectMinute = tuple[int, int]
"""A project and a minute (since 1970)."""

ProjectDay = tuple[int, int]
"""A project and a UTC day (since 1970)."""


def day_of_minute(minute: ProjectMinute) -> ProjectDay:
    """Return the day that a minute of a project is in."""
    return minute[0], day_of(minute[1] * MINUTE_US)


def day_field(day: ProjectDay) -> bytes:
    """Return a day of a project as a field of hashes that say something of such days."""
    return b"%d:%d" % day


def named_day(field: bytes) -> ProjectDay:
    """Return the day that `day_field` named."""
    project, _, day = field.partition(b":")
    return int(project), int(day)


class Block(NamedTuple):
    """Consecutive slots of a level that are stored together, of a project."""

    project: int
    level: Level
    number: int


class TouchedBlock(NamedTuple):
    """A block that a batch changes, and its slots that gain anything."""

    block: Block
    slots: set[int]


class Slot(NamedTuple):
    """A slot of a level: its block, the key of that, and its number in it."""

    block: Block
    key: str
    number: int


def slots_of(project: int, minute: int, keys: ShardKeys) -> list[Slot]:
    """Return the slot of each level that a minute (since 1970) is in."""
    found = []
    for level in LEVELS:
        number, slot = level.block_and_slot(minute)
        found.append(Slot(Block(project, level, number), keys.rollups(project, level, number), slot))
    return found
