"""Which slot of which block a minute is stored in, at each level."""

from typing import NamedTuple

from aggregator.layout.keys import ShardKeys
from aggregator.rollups.levels import LEVELS, Level

ProjectMinute = tuple[int, int]
"""A project and a minute (since 1970)."""

ProjectDay = tuple[int, int]
"""A project and a UTC day (since 1970)."""


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
