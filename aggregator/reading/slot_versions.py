"""Versions of slots: as long as a slot's version is the same, so is everything that is stored of it.

Each batch draws a new version at random for every slot that it changes, in the same atomic step. So a version never
comes back but with the content it was drawn for, whatever Redis forgets and Kafka replays.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

from aggregator.layout.keys import VERSION_BYTES
from aggregator.layout.slot_versions import latest_start_us
from aggregator.reading.rollups import LevelBlock, Slots
from aggregator.rollups.levels import LEVELS
from aggregator.store.reader import OpenedProject, StoreReader

# Of a slot that nobody has counted anything in.
_EMPTY = bytes(VERSION_BYTES)
_FIELDS = [b"%d" % slot for slot in range(max(level.block_slots for level in LEVELS))]


class BlockVersions:
    """The version of each slot of a block that holds anything, in the order of the project's shards.

    As they are stored, by shard and field; and one slot's after the other's, of which answers cut what they need.
    """

    __slots__ = ("_by_slot", "stored")

    def __init__(self, slots: int, stored: Sequence[Mapping[bytes, bytes]]) -> None:
        self.stored = stored
        self._by_slot = [_by_slot(slots, of_shard) for of_shard in stored]

    def of(self, within: range) -> bytes:
        """The versions of consecutive slots in all shards, shard after shard."""
        begin, end = within.start * VERSION_BYTES, within.stop * VERSION_BYTES
        if len(self._by_slot) == 1:
            return self._by_slot[0][begin:end]
        return b"".join([of_shard[begin:end] for of_shard in self._by_slot])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BlockVersions) and self._by_slot == other._by_slot

    __hash__ = None  # type: ignore[assignment]


Versions = Mapping[LevelBlock, BlockVersions]


def _by_slot(slots: int, stored: Mapping[bytes, bytes]) -> bytes:
    """Return the versions alone: with what is stored beside them they change all the same."""
    found = b"".join(map(stored.get, _FIELDS[:slots], repeat(_EMPTY)))
    if len(found) == slots * VERSION_BYTES:
        return found
    return b"".join([stored.get(field, _EMPTY)[:VERSION_BYTES] for field in _FIELDS[:slots]])


async def read_versions(reader: StoreReader, project: OpenedProject, blocks: Iterable[LevelBlock]) -> Versions:
    """The versions of all slots of these blocks, in one round trip. Raises StateLost."""
    wanted = list(dict.fromkeys(blocks))
    # Those of a shard one after the other, so that hardly ever a batch of it is stored in between.
    replies = await reader.fetch_of(
        project,
        [("HGETALL", shard.keys.versions(shard.project, *block)) for shard in project.shards for block in wanted],
    )
    return {
        block: BlockVersions(block.level.block_slots, replies[at :: len(wanted)]) for at, block in enumerate(wanted)
    }


def fingerprint(slots: Sequence[Slots], versions: Versions) -> bytes:
    """The versions of these slots in all shards, one after the other."""
    return b"".join([versions[block].of(within) for block, within in slots])


def fingerprints(of: Sequence[Sequence[Slots]], versions: Versions) -> list[bytes]:
    """The fingerprint of each of these."""
    return [
        versions[slots[0].block].of(slots[0].within) if len(slots) == 1 else fingerprint(slots, versions)
        for slots in of
    ]


def all_began_before(slot: Slots, instant_us: int, versions: Versions) -> bool:
    """Whether it is known that all calls of a slot of minutes, if any, began before an instant."""
    stored = [of_shard.get(_FIELDS[at]) for of_shard in versions[slot.block].stored for at in slot.within]
    latest_us = [latest_start_us(version) for version in stored if version is not None]
    return all(0 < latest < instant_us for latest in latest_us)
