"""Where sealed cells lie in their block, and what of a block is waiting to be sealed.

Frames of sealed cells (aggregator/segments/frame.py) are in the hash of their block (see keys.py), in fields of their
own, until they are moved into objects (see moved.py); one field, `zd`, says which places each frame may hold, and where
it is.
A place that has a field of its own is not sealed, whatever frames hold of it: a cell that changes is taken out of its
frame by being written again. Of a place that several frames hold, the frame with the highest number counts.

A directory is MessagePack: random bytes that change with it, the number of the next frame, and of each frame its
number, first and last slot, first and last view; of one in an object also which of the names that come last, where it
begins there, how long it is, and the CRC-32 of its bytes. For example, of one frame, number 0, of the slots 0 to 59 in
view 0: `94 c4 08 <8 bytes> 01 91 95 00 00 3b 00 00 90`.

Slots are sealed in pieces: an hour of minutes, three hours of five-minute slots or of hours. Pieces that have cells
which are not sealed are fields of one hash of the shard, `project:level:block:piece`. Of a block that has several, one
more says by a number after the last that their frames are to be merged.
"""

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote

import msgspec
import numpy as np
from numpy.typing import NDArray

from aggregator.layout.slots import Block
from aggregator.objects.frame_cache import Located
from aggregator.objects.object_store import Span
from aggregator.rollups.cell import VIEW_BITS, VIEW_MASK, slot_of, view_of
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, LEVELS, MINUTES, Level
from aggregator.rollups.totals import Integers
from aggregator.time_units import HOUR_S, SECOND_US

DIRECTORY_FIELD = b"zd"
SEAL_BYTES = 8  # random: two directories never draw the same

# By level, how much time is sealed together: little enough that little waits, enough that cells compress; what is of a
# day is merged once that is over.
_PIECE_S = {MINUTES: HOUR_S, FIVE_MINUTES: 3 * HOUR_S, HOURS: 3 * HOUR_S}
_PIECE_SLOTS = {level: _PIECE_S[level] // level.slot_s for level in LEVELS}
_LEVELS = {level.letter: level for level in LEVELS}
# Of shards, some 300 bytes each: a long question asks for the path of one a hundred thousand times.
_TAGS_CACHED_MAX = 10_000


class Location(NamedTuple):
    """Where a frame lies in an object: its name, which begins with nothing that the shard's key says, and its place."""

    name: str
    offset: int
    length: int
    checksum: int

    def located(self, key: str) -> Located:
        """Return the place with the object's whole name; `key`: any of the shard."""
        return Located(object_prefix(key) + self.name, Span(self.offset, self.length), self.checksum)


class SealedRange(NamedTuple):
    """A frame: its number, the slots and views of which it may hold cells, and its place in an object (None: in Redis,
    in its field).
    """

    number: int
    first_slot: int
    last_slot: int
    first_view: int
    last_view: int
    location: Location | None = None

    @property
    def field(self) -> bytes:
        """Return where the frame is in the hash of its block."""
        return b"z%d" % self.number

    def meets(self, first_slot: int, last_slot: int, first_view: int, last_view: int) -> bool:
        """Whether it has slots and views of these: frames of other views, nearly all, have not."""
        return (
            self.first_slot <= last_slot
            and first_slot <= self.last_slot
            and self.first_view <= last_view
            and first_view <= self.last_view
        )

    def holds(self, first_slot: int, last_slot: int, first_view: int, last_view: int) -> bool:
        """Whether it has all of these slots and views."""
        return (
            self.first_slot <= first_slot
            and last_slot <= self.last_slot
            and self.first_view <= first_view
            and last_view <= self.last_view
        )

    def has(self, slots: Integers, views: Integers) -> NDArray[np.bool_]:
        """Whether it has each slot with its view."""
        return (
            (slots >= self.first_slot)
            & (slots <= self.last_slot)
            & (views >= self.first_view)
            & (views <= self.last_view)
        )


class SealedDirectory(msgspec.Struct, frozen=True):
    """The frames of a block."""

    drawn: bytes = b""
    next_number: int = 0
    ranges: tuple[SealedRange, ...] = ()

    @property
    def objects(self) -> list[str]:
        """The names of the objects in which frames are, each once."""
        return list(dict.fromkeys(one.location.name for one in self.ranges if one.location is not None))

    @property
    def in_redis(self) -> list[SealedRange]:
        """The frames that are not in objects."""
        return [one for one in self.ranges if one.location is None]

    def of_place(self, place: int) -> list[SealedRange]:
        """The frames that may hold this place, the newest last."""
        slot, view = slot_of(place), view_of(place)
        return [
            one
            for one in self.ranges
            if one.first_slot <= slot <= one.last_slot and one.first_view <= view <= one.last_view
        ]

    def of_places(self, places: Collection[int]) -> list[SealedRange]:
        """The frames that may hold one of these places, the newest last."""
        wanted = np.fromiter(places, dtype=np.int64, count=len(places))
        if not len(wanted):
            return []
        slots, views = wanted >> VIEW_BITS, wanted & VIEW_MASK
        ends = int(slots.min()), int(slots.max()), int(views.min()), int(views.max())
        return [one for one in self.ranges if one.meets(*ends) and (one.holds(*ends) or one.has(slots, views).any())]


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    """A directory as it is stored."""

    drawn: bytes
    next_number: int
    ranges: tuple[tuple[int, ...], ...]
    objects: tuple[str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Stored)


def pack_directory(directory: SealedDirectory) -> bytes:
    """A directory as it is stored."""
    objects = directory.objects
    ranges = tuple(
        one[:5] if one.location is None else (*one[:5], objects.index(one.location.name), *one.location[1:])
        for one in directory.ranges
    )
    return _encoder.encode(_Stored(directory.drawn, directory.next_number, ranges, tuple(objects)))


def unpack_directory(stored: bytes | None) -> SealedDirectory:
    """The directory of a block; an empty one where there is none."""
    if not stored:
        return SealedDirectory()
    found = _decoder.decode(stored)
    ranges = [
        SealedRange._make((*one[:5], Location._make((found.objects[one[5]], *one[6:])) if len(one) > 5 else None))
        for one in found.ranges
    ]
    return SealedDirectory(found.drawn, found.next_number, tuple(ranges))


def range_of(number: int, places: Collection[int]) -> SealedRange:
    """The range of a frame that holds these places, at least one."""
    ours = np.fromiter(places, dtype=np.int64, count=len(places))
    slots, views = ours >> VIEW_BITS, ours & VIEW_MASK
    return SealedRange(number, int(slots.min()), int(slots.max()), int(views.min()), int(views.max()))


def object_prefix(key: str) -> str:
    """Return what the whole names of a shard's objects begin with: its tag as a path; `key`: any of the shard."""
    return _as_path(key[1 : key.index("}")])


@lru_cache(_TAGS_CACHED_MAX)
def _as_path(tag: str) -> str:
    return quote(tag, safe="/").replace("..", "%2E%2E") + "/"


class Piece(NamedTuple):
    """Consecutive slots of a block that are sealed together; or, by a number after the last, the merge of all of them,
    which is due when the pieces are sealed.
    """

    block: Block
    number: int

    @property
    def slots(self) -> range:
        """Return the piece's slots in its block."""
        size = _PIECE_SLOTS[self.block.level]
        return range(self.number * size, (self.number + 1) * size)

    @property
    def is_merge(self) -> bool:
        """Whether it stands for the merge of the block's pieces."""
        return self.number >= self.block.level.block_slots // _PIECE_SLOTS[self.block.level]

    @property
    def end_us(self) -> int:
        """Return when its last slot is over (microseconds since 1970)."""
        level = self.block.level
        return (self.block.number * level.block_slots + self.slots.stop) * level.slot_s * SECOND_US

    @property
    def field(self) -> bytes:
        """How it is named in the hash of those that wait."""
        project, level, block = self.block
        return f"{project}:{level.letter}:{block}:{self.number}".encode()


def piece_s(level: Level) -> int:
    """Return how much time one piece of a level holds, in seconds."""
    return _PIECE_SLOTS[level] * level.slot_s


def piece_of(block: Block, slot: int) -> Piece:
    """The piece that a slot of a block belongs to."""
    return Piece(block, slot // _PIECE_SLOTS[block.level])


def pieces_of(block: Block) -> list[Piece]:
    """All pieces of a block."""
    return [Piece(block, number) for number in range(block.level.block_slots // _PIECE_SLOTS[block.level])]


def merge_of(block: Block) -> Piece:
    """Return what stands for the merge of all pieces of a block."""
    return Piece(block, len(pieces_of(block)))


def are_apart(block: Block, ranges: Iterable[SealedRange]) -> bool:
    """Whether these frames of a block are of several pieces, each of one: nothing has been merged."""
    pieces = {(piece_of(block, one.first_slot), piece_of(block, one.last_slot)) for one in ranges}
    return len(pieces) > 1 and all(first == last for first, last in pieces)


def named_piece(field: bytes) -> Piece:
    """The piece that `Piece.field` named."""
    project, letter, block, number = field.decode().split(":")
    level: Level = _LEVELS[letter]
    return Piece(Block(int(project), level, int(block)), int(number))
