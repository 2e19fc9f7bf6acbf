"""Sealing finished cells, some at a time, each time in one fenced transaction.

A piece of a block is due when it has been over, and nothing has come for it, for a while. Its cells go into frames and
are deleted in the same step, if the shard is still as it was read; the step changes the fence, so that no batch that
was folded on the cells as they were before can be applied after it. A cell that changes later is written again by its
batch, with all that it had (see unsealing.py), and its piece waits again.
"""

import logging
import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

import numpy as np

from aggregator.layout.sealed import (
    DIRECTORY_FIELD,
    SEAL_BYTES,
    Piece,
    SealedDirectory,
    SealedRange,
    are_apart,
    merge_of,
    named_piece,
    pack_directory,
    piece_of,
    pieces_of,
    range_of,
    unpack_directory,
)
from aggregator.layout.slots import Block, TouchedBlock
from aggregator.layout.write import Field, ShardWrite
from aggregator.objects.frame_cache import DamagedObject, FrameCache
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.rollups.cell import (
    CELL_CODEC,
    SKETCHES_CODEC,
    VIEW_BITS,
    first_place,
    packed_place,
    places_among,
    rows_field,
    sketches_field,
    view_of,
)
from aggregator.rollups.levels import MINUTES
from aggregator.rollups.view_numbers import are_of_users, groups_of
from aggregator.rollups.views import ALL_CALLS
from aggregator.segments.columns import Integers
from aggregator.segments.compression import CorruptFrame
from aggregator.segments.frame import pack_frame
from aggregator.segments.gathering import FullCell, PackedOverflow
from aggregator.segments.unpacked_frame import unpack_frame
from aggregator.store.shard_store import ShardStore
from aggregator.writing.due import WaitingToSeal
from aggregator.writing.merging import Merging
from aggregator.writing.moving import Moving
from aggregator.writing.unsealing import Read, read_frames

log = logging.getLogger(__name__)

# Cells of one step, and so of a frame: some 30 ms of a worker. A frame is read whole, whichever cell is asked for.
CELLS_PER_FRAME = 1_500
# How many cells of a user a cell of another view counts as: it has the calls of many users.
LARGE_CELL = 6
# Frames that one step takes in again, where cells of them have changed.
FRAMES_MERGED_MAX = 2


def in_sealing_order(places: Integers) -> Integers:
    """Places in the order in which they are sealed: those of a user together, slot by slot; others view by view."""
    return places[np.lexsort((places, groups_of(places)))]


def frame_cells(places: Sequence[int]) -> int:
    """Return how many of the first places, in sealing order, go into one frame, CELLS_PER_FRAME at most.

    `places`: one more than that, if there are as many. What a user's cells in a slot have may follow from one another,
    so they stay together; the cells of one user beside others, so that few frames are of the same views and slots. The
    view of all calls, which is asked for most, has frames of its own; views of ops and the like, whose cells are
    large, have smaller ones.
    """
    ours = np.array(places, dtype=np.int64)
    groups, are_users = groups_of(ours), are_of_users(ours)
    are_alike = groups == ALL_CALLS if groups[0] == ALL_CALLS else are_users == are_users[0]
    most = CELLS_PER_FRAME if are_users[0] else max(1, CELLS_PER_FRAME // LARGE_CELL)
    alike = len(ours) if are_alike.all() else int(are_alike.argmin())
    if alike <= most:
        return alike
    for of in (groups[: most + 1], ours[: most + 1] >> VIEW_BITS):
        (ends,) = (of[1:] != of[:-1]).nonzero()
        if len(ends):
            return int(ends[-1]) + 1
    return most


def frames_of(places: Collection[int]) -> Iterator[list[int]]:
    """Yield places frame by frame, as they are sealed."""
    in_order = in_sealing_order(np.fromiter(places, dtype=np.int64, count=len(places))).tolist()
    while in_order:
        of_frame = in_order[: frame_cells(in_order[: CELLS_PER_FRAME + 1])]
        del in_order[: len(of_frame)]
        yield of_frame


class Sealing:
    """The pieces of a shard that wait to be sealed, and how far the one at hand is.

    `seal_after_s`: how long a piece is left after its end, and after what came late for it; None: for ever. `moving` is
    told of what is sealed, `frames` reads what is in objects, `are_open` says whether a block of minutes has open ones.
    Methods raise what the store raises; after that nothing here is right any more.
    """

    def __init__(
        self,
        store: ShardStore,
        seal_after_s: int | None,
        read: Read,
        frames: FrameCache,
        moving: Moving,
        are_open: Callable[[Block], bool],
    ) -> None:
        self._store, self._are_open = store, are_open
        self._read, self._frames, self._moving = read, frames, moving
        [waiting] = store.read_hashes([store.keys.unsealed])
        self._waiting = WaitingToSeal(map(named_piece, waiting), lambda piece: piece.end_us, seal_after_s)
        self._at_hand: Piece | None = None
        self._places: list[int] = []
        self._frames_before = 0
        self._merging = Merging(store, "", frames_of)

    def note(self, touched: Iterable[TouchedBlock], now_us: int, write: ShardWrite) -> None:
        """Let the pieces wait that a batch changes; new ones are added to what is written."""
        if self._waiting.is_off:
            return
        for block, slots in touched:
            for piece in {piece_of(block, slot) for slot in slots}:
                if self._waiting.note(piece, now_us):
                    write.set(self._store.keys.unsealed, piece.field, b"")
                if piece == self._at_hand:
                    self._at_hand = None  # what has just come for it waits too

    def is_waiting(self, block: Block) -> bool:
        """Whether a part of a block is still to be sealed."""
        return any(piece in self._waiting for piece in (*pieces_of(block), merge_of(block)))

    def step(self, now_us: int, clock_us: int) -> dict[str, list[int]]:
        """Seal some cells that are due by `now_us`; returns their places by key, none where nothing is due.

        Where it would need a frame that cannot be read, it lets the piece wait as long as at first.
        """
        piece = self._at_hand or self._waiting.next_due(now_us)
        if piece is None:
            return {}
        if piece.is_merge and self._at_hand is None:  # all that waits of its block first
            piece = next((one for one in pieces_of(piece.block) if one in self._waiting), piece)
        key = self._store.keys.rollups(*piece.block)
        if piece.block.level is MINUTES and self._are_open(piece.block):  # who closes them looks for their cells here
            self._at_hand = None
            self._waiting.note(piece, now_us)
            return {}
        if self._at_hand is None:
            self._begin(piece, key)
        if piece.is_merge and (merged := self._merging.step()) is not None:
            return {key: merged}
        if self._places:
            try:
                return {key: self._seal_some(piece.block, key, clock_us)}
            except (ObjectStoreAway, DamagedObject, CorruptFrame) as why:
                log.warning("sealing again waits: a frame cannot be read", extra={"block": key, "why": str(why)})
                self._at_hand = None
                self._waiting.note(piece, now_us)
                return {}
        self._at_hand = None
        write = ShardWrite(deletions={self._store.keys.unsealed: [piece.field]})
        self._moving.note(piece.block, clock_us, write)
        self._note_merge(piece, key, write)
        self._store.replace(write)
        self._waiting.forget(piece)
        return {key: []}

    def _note_merge(self, piece: Piece, key: str, write: ShardWrite) -> None:
        """Let the merge of a block wait whose pieces are apart."""
        merge = merge_of(piece.block)
        [[stored]] = self._store.read_fields({key: [DIRECTORY_FIELD]}).values()
        if not piece.is_merge and are_apart(piece.block, unpack_directory(stored).in_redis):
            self._waiting.note(merge, 0)
            write.set(self._store.keys.unsealed, merge.field, b"")

    def _begin(self, piece: Piece, key: str) -> None:
        if piece.is_merge:
            self._merging = Merging(self._store, key, frames_of)
            self._at_hand, self._places = piece, []
            return
        slots = piece.slots
        places = places_among(self._store.field_names(key))
        ours = places[(places >= first_place(slots.start)) & (places < first_place(slots.stop))]
        self._at_hand, self._places = piece, in_sealing_order(ours)[::-1].tolist()
        [[stored]] = self._store.read_fields({key: [DIRECTORY_FIELD]}).values()
        self._frames_before = unpack_directory(stored).next_number

    def _seal_some(self, block: Block, key: str, clock_us: int) -> list[int]:
        [[stored]] = self._store.read_fields({key: [DIRECTORY_FIELD]}).values()
        directory = unpack_directory(stored)
        places, merged = self._next_places(directory)
        hot, fields = self._read_cells(key, places)
        cells = self._unpack_frames(key, merged) | hot
        write = ShardWrite(deletions={key: [*fields, *(one.field for one in merged)]})
        kept = [one for one in directory.ranges if one not in merged]
        number = directory.next_number
        for of_frame in frames_of(cells):
            kept.append(range_of(number, of_frame))
            write.set(key, kept[-1].field, pack_frame({place: cells[place] for place in of_frame}))
            number += 1
        drawn = secrets.token_bytes(SEAL_BYTES)
        left = SealedDirectory(drawn, number, tuple(kept))
        write.set(key, DIRECTORY_FIELD, pack_directory(left))
        self._moving.drop([name for name in directory.objects if name not in left.objects], block, clock_us, write)
        self._store.replace(write)
        return places

    def _next_places(self, directory: SealedDirectory) -> tuple[list[int], list[SealedRange]]:
        """Places for one step, taken from those that are left, and the frames that may hold some of them.

        The view of all calls, which is asked for most, has frames of its own.
        """
        # What this piece has become so far holds none of the places that are left (see `_unpack_frames`).
        before = SealedDirectory(ranges=tuple(one for one in directory.ranges if one.number < self._frames_before))
        if not before.ranges:
            taken = self._places[: -CELLS_PER_FRAME - 2 : -1]
            taken = taken[: frame_cells(taken)]
            del self._places[-len(taken) :]
            return taken, []
        places: list[int] = []
        merged: list[SealedRange] = []
        while self._places and len(places) < CELLS_PER_FRAME:
            place = self._places[-1]
            if places and view_of(places[-1]) == ALL_CALLS != view_of(place):
                break
            more = [one for one in before.of_place(place) if one not in merged]
            if places and len(merged) + len(more) > FRAMES_MERGED_MAX:
                break
            merged += more
            places.append(self._places.pop())
        return places, sorted(merged)

    def _read_cells(self, key: str, places: Sequence[int]) -> tuple[dict[int, FullCell], list[Field]]:
        """Cells that are not sealed, and all their fields."""
        fields: list[Field] = [packed_place(place) for place in places]
        [stored] = self._store.read_fields({key: fields}).values()
        found = {
            place: FullCell(CELL_CODEC.unpack(packed), {})
            for place, packed in zip(places, stored, strict=True)
            if packed is not None
        }
        full = [(place, cell) for place, (cell, _) in found.items() if cell.totals or cell.large]
        named = [(place, name) for place, cell in full for name in cell.overflow]
        beside: list[Field] = []
        for place, name in named:
            beside += (rows_field(packed_place(place), name), sketches_field(packed_place(place), name))
        if beside:
            [values] = self._store.read_fields({key: beside}).values()
            for (place, name), rows, sketches in zip(named, values[::2], values[1::2], strict=True):
                found[place].beside[name] = PackedOverflow(
                    rows or b"", SKETCHES_CODEC.unpack(sketches) if sketches else []
                )
        return found, fields + beside

    def _unpack_frames(self, key: str, ranges: Sequence[SealedRange]) -> dict[int, FullCell]:
        """The cells of frames, but for those that wait with a cell of their own: a place is in one frame at most, as
        the frames that are taken in again later are not all that may hold it.
        """
        if not ranges:
            return {}
        left = set(self._places)
        cells: dict[int, FullCell] = {}
        packed = read_frames({key: ranges}, self._read, self._frames)
        for one in ranges:
            cells |= unpack_frame(packed[key, one.number])
        return {place: cell for place, cell in cells.items() if place not in left}
