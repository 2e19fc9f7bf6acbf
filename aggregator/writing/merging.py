"""Merging the frames of a block's pieces once all of them are sealed, so that who asks for a view reads few frames.

Frames of a piece hold its slots of some views; merged ones hold all slots of fewer views. A step takes the cells of the
lowest views out of all frames that have some, puts them into new ones, and deletes the frames of which nothing else is
left. Until then a cell is in two frames that say the same of it, of which the newer one counts.
"""

import logging
import secrets
from collections.abc import Callable, Collection, Iterable

import numpy as np

from aggregator.layout.sealed import (
    DIRECTORY_FIELD,
    SEAL_BYTES,
    SealedDirectory,
    SealedRange,
    pack_directory,
    range_of,
    unpack_directory,
)
from aggregator.layout.write import Field, ShardWrite
from aggregator.rollups.cell import VIEW_MASK
from aggregator.rollups.view_numbers import last_of_group
from aggregator.rollups.views import ALL_CALLS
from aggregator.segments.compression import CorruptFrame
from aggregator.segments.frame import pack_frame
from aggregator.segments.gathering import FullCell
from aggregator.segments.unpacked_frame import Frames
from aggregator.store.shard_store import ShardStore

log = logging.getLogger(__name__)


class Merging:
    """How far the frames of a block, the hash `key`, are merged. Methods raise what the store raises.

    `frames_of` says which places go into one frame.
    """

    def __init__(
        self, store: ShardStore, key: str, frames_of: Callable[[Collection[int]], Iterable[list[int]]]
    ) -> None:
        self._store, self._key, self._frames_of = store, key, frames_of
        self._first_new: int | None = None  # frames from this number on are merged
        self._first_view = 0  # those before it are merged

    def step(self) -> list[int] | None:
        """Merge the lowest views that are left, some thousand cells; returns their places, None where none is left."""
        [[stored]] = self._store.read_fields({self._key: [DIRECTORY_FIELD]}).values()
        directory = unpack_directory(stored)
        if self._first_new is None:
            self._first_new = directory.next_number
        old = [one for one in directory.in_redis if one.number < self._first_new]
        if not old:
            return None
        last_view = self._last_view(old)
        taken = [one for one in old if one.first_view <= last_view]
        try:
            cells = self._unpacked(taken, last_view)
        except CorruptFrame as why:
            log.warning("frames stay apart: one is damaged", extra={"block": self._key, "why": str(why)})
            return None
        done = [one for one in taken if one.last_view <= last_view]
        write = ShardWrite(deletions={self._key: [one.field for one in done]})
        kept = [one for one in directory.ranges if one not in done]
        number = directory.next_number
        for of_frame in self._frames_of(cells):
            kept.append(range_of(number, of_frame))
            write.set(self._key, kept[-1].field, pack_frame({place: cells[place] for place in of_frame}))
            number += 1
        left = SealedDirectory(secrets.token_bytes(SEAL_BYTES), number, tuple(kept))
        write.set(self._key, DIRECTORY_FIELD, pack_directory(left))
        self._store.replace(write)
        self._first_view = last_view + 1
        return list(cells)

    def _last_view(self, old: list[SealedRange]) -> int:
        """The last of the views that are next: so many that each piece has a frame or so of them; that of all calls,
        which is asked for most, has frames of its own.
        """
        lowest = max(self._first_view, min(one.first_view for one in old))
        if lowest == ALL_CALLS:
            return ALL_CALLS
        first_end = min(one.last_view for one in old)
        return last_of_group(max(one.last_view for one in old if one.first_view <= first_end))

    def _unpacked(self, taken: list[SealedRange], last_view: int) -> dict[int, FullCell]:
        """The cells of frames that are of the views at hand; the newest of each. Raises CorruptFrame."""
        fields: list[Field] = [one.field for one in taken]
        [packed] = self._store.read_fields({self._key: fields}).values()
        cells: dict[int, FullCell] = {}
        for one in packed:
            frame = Frames([one or b""])
            views = frame.places & VIEW_MASK
            [at] = np.nonzero((views >= self._first_view) & (views <= last_view))
            cells.update(zip(frame.places[at].tolist(), frame.full_cells(at.tolist()), strict=True))
        return cells
