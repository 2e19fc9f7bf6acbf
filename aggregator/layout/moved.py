"""Which objects a shard's sealed cells are in, and which blocks point into each.

An object holds frames of blocks of one level and one UTC day, or frames of chunks of calls (sealed_calls.py) of which
the newest began on that day: with `c` for a level, 0 for a project, and the chunk's number for the block's; or pages of
postings of that day (moved_postings.py): with `x` for a level, and the day for the block's number; or what is kept of
busy minutes of that day (moved_minutes.py): with `b` for a level, and the day for the block's number.

It is named `day-level-offset-random`, below the shard's tag as a path:
`callmeter/calls/0/20514-h-1200-9f86d081884c7d65`. `{tag}:objects` has an entry for each object that a block points
into, MessagePack: its size, and the project and number of each such block. For example, of 300 bytes, for block 20514
of project 1: `92 cd 01 2c 91 92 01 cd 50 22`. With the last pointer the entry goes, and the name comes into
`{tag}:retired`, in one step; the object itself is deleted long after.

Beside the entries, the field `owner` has random digits that the first object of the shard, `owner`, holds too: where
they differ, the objects are of another shard of the same name, and none of them may be taken for nobody's.

Blocks whose frames are to be moved are fields of `{tag}:unmoved`, `project:level:block`; the field `*` says that all
such blocks are in it.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import msgspec

from aggregator.layout.keys import ShardKeys
from aggregator.layout.slots import Block
from aggregator.layout.write import ShardWrite
from aggregator.rollups.levels import LEVELS, Level, Retention
from aggregator.time_units import DAY_S

OWNER = "owner"
ALL_NOTED = b"*"

_LEVELS = {level.letter: level for level in LEVELS}


CALLS_LETTER = "c"
POSTINGS_LETTER = "x"
MINUTES_LETTER = "b"
NO_PROJECT = 0  # chunks hold calls of all projects


class LevelDay(NamedTuple):
    """What shares objects: the blocks of a level and a UTC day (since 1970)."""

    level: Level
    day: int

    @property
    def end_s(self) -> int:
        """Return when the day is over (Unix s)."""
        return (self.day + 1) * DAY_S


class MovedObject(msgspec.Struct, array_like=True, frozen=True):
    """An object: its bytes, and the project and number of each block that points into it."""

    size_bytes: int
    blocks: tuple[tuple[int, int], ...]

    def without(self, blocks: Collection[tuple[int, int]]) -> "MovedObject":
        """Return the object without these blocks, which do not point into it any more."""
        return MovedObject(self.size_bytes, tuple(one for one in self.blocks if one not in blocks))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(MovedObject)


def pack_object(entry: MovedObject) -> bytes:
    """An entry as it is stored."""
    return _encoder.encode(entry)


def unpack_objects(stored: Mapping[bytes, bytes]) -> dict[str, MovedObject]:
    """All entries of `{tag}:objects`, by name."""
    return {name.decode(): _decoder.decode(entry) for name, entry in stored.items() if name != OWNER.encode()}


def drop_pointers(
    name: str, entry: MovedObject, blocks: Collection[tuple[int, int]], keys: ShardKeys, now_us: int, write: ShardWrite
) -> None:
    """Add to `write` that these blocks do not point into an object any more; with the last one it is retired."""
    left = entry.without(blocks)
    if left.blocks:
        write.set(keys.objects, name, pack_object(left))
    else:
        write.deletions.setdefault(keys.objects, []).append(name)
        write.set(keys.retired, name, now_us)


def level_day_of(block: Block) -> LevelDay:
    """Whose objects a block's frames go into."""
    return LevelDay(block.level, block.number * block.level.block_s // DAY_S)


def object_name(day: int, letter: str, offset: int, drawn: str) -> str:
    """A name below the shard's; `letter`: of a level or another kind, `drawn`: random digits, never drawn twice."""
    return f"{day}-{letter}-{offset}-{drawn}"


def letter_of(name: str) -> str:
    """The letter of the level, or of the other kind, that an object of this name holds something of."""
    return name.split("-")[1]


def level_of(name: str) -> Level:
    """The level of an object of this name, which holds frames of blocks."""
    return _LEVELS[letter_of(name)]


def kept_until_s(name: str, retention: Retention) -> int:
    """Return until when what an object of this name holds is kept (Unix s)."""
    of_calls = letter_of(name) in (CALLS_LETTER, POSTINGS_LETTER, MINUTES_LETTER)
    kept_s = retention.calls_s if of_calls else retention.level_s(level_of(name))
    return (int(name.split("-")[0]) + 1) * DAY_S + kept_s


def block_field(block: Block) -> bytes:
    """A block as a field of `{tag}:unmoved`."""
    return f"{block.project}:{block.level.letter}:{block.number}".encode()


def named_block(field: bytes) -> Block:
    """The block that `block_field` named."""
    project, letter, number = field.decode().split(":")
    return Block(int(project), _LEVELS[letter], int(number))
