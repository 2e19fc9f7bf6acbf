"""Versions of slots: as long as a slot's version is the same, so is everything that is stored of it.

Each batch draws a new version at random for every slot that it changes, in the same atomic step. So a version never
comes back but with the content it was drawn for, whatever Redis forgets and Kafka replays.
"""

from collections.abc import Iterable, Mapping

from aggregator.layout.keys import VERSION_BYTES
from aggregator.layout.slot_versions import latest_start_us
from aggregator.reading.rollups import LevelBlock, Slots
from aggregator.rollups.levels import LEVELS
from aggregator.store.reader import OpenedProject, StoreReader

Versions = Mapping[LevelBlock, list[dict[bytes, bytes]]]
"""By block, and in the order of the project's shards: the version of each slot that holds anything."""

# Of a slot that nobody has counted anything in.
_EMPTY = bytes(VERSION_BYTES)
_FIELDS = [b"%d" % slot for slot in range(max(level.block_slots for level in LEVELS))]


async def read_versions(reader: StoreReader, project: OpenedProject, blocks: Iterable[LevelBlock]) -> Versions:
    """The versions of all slots of these blocks, in one round trip. Raises StateLost."""
    wanted = list(dict.fromkeys(blocks))
    # Those of a shard one after the other, so that hardly ever a batch of it is stored in between.
    replies = await reader.fetch_of(
        project,
        [("HGETALL", shard.keys.versions(shard.project, *block)) for shard in project.shards for block in wanted],
    )
    return {block: replies[at :: len(wanted)] for at, block in enumerate(wanted)}


def fingerprint(slots: Iterable[Slots], versions: Versions) -> bytes:
    """The versions of these slots in all shards, one after the other."""
    return b"".join(
        [
            of_shard.get(_FIELDS[slot], _EMPTY)
            for block, within in slots
            for of_shard in versions[block]
            for slot in within
        ]
    )


def all_began_before(slot: Slots, instant_us: int, versions: Versions) -> bool:
    """Whether it is known that all calls of a slot of minutes, if any, began before an instant."""
    stored = [of_shard.get(_FIELDS[at]) for of_shard in versions[slot.block] for at in slot.within]
    latest_us = [latest_start_us(version) for version in stored if version is not None]
    return all(0 < latest < instant_us for latest in latest_us)
