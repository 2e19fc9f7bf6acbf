"""The cells a writer has at hand, and how a batch changes them."""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain, groupby
from typing import NamedTuple

from aggregator.layout.keys import ShardKeys
from aggregator.layout.sealed import DIRECTORY_FIELD
from aggregator.layout.slots import ProjectMinute, Slot, TouchedBlock
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.objects.frame_cache import FrameCache
from aggregator.rollups.cell import (
    CELL_CODEC,
    SKETCHES_CODEC,
    first_place,
    pack_cell,
    packed_place,
    rows_field,
    sketches_field,
)
from aggregator.rollups.levels import MINUTES
from aggregator.rollups.series import OF_LATENCY, OF_USAGE, series_of
from aggregator.rollups.tally import PackedTally
from aggregator.writing.cached_cell import CachedCell, Gain, add_large, count, grow, take, take_beside
from aggregator.writing.cell_sums import add_beside, sum_cells
from aggregator.writing.overflow import Overflow
from aggregator.writing.slot_gains import Gains, gains_by_slot
from aggregator.writing.unsealing import Read, Stored, sealed_cells

# Of the cells that may be at hand, those that are kept when there are more.
KEPT_OF_TEN = 9


class ClosedView(NamedTuple):
    """A view of a slot whose minutes are added to coarser levels: its cells there, and its coarser ones, by key and
    place.
    """

    minutes: Sequence[tuple[str, int]]
    coarser: Sequence[tuple[str, int]]


class Cells:
    """A bounded cache of cells. What is beside a cell is loaded only when a batch first needs it.

    `read` gives what is there of fields by key, `frames` what is in objects. After one of them has raised, or what was
    to be stored is not, nothing here is right any more.
    """

    def __init__(self, keys: ShardKeys, read: Read, frames: FrameCache) -> None:
        self._keys = keys
        self._read = read
        self._frames = frames
        self._blocks: dict[str, dict[int, CachedCell]] = {}
        self._batches = 0
        self.rows_still_shown = 0
        """Rows that were replaced after they had been compressed: minimum, maximum, percentiles may still show them."""

    def add(
        self,
        gained: Mapping[ProjectMinute, Mapping[int, PackedTally]],
        more: Mapping[Key, list[Field]],
        write: ShardWrite,
        open_views: Mapping[ProjectMinute, int],
    ) -> tuple[dict[str, TouchedBlock], Stored]:
        """Count what a batch brings to each view, in all levels, and note what to store; returns the blocks by key.

        `open_views`: of open minutes, from which view on they are counted in minutes alone. Returns also what there is
        of these `more` fields: they are read together with the cells.
        """
        self._batches += 1
        blocks: dict[str, TouchedBlock] = {}
        gains: list[Gain] = []
        for slot, of_slot in gains_by_slot(gained, self._keys, open_views):
            blocks.setdefault(slot.key, TouchedBlock(slot.block, set())).slots.add(slot.number)
            self._find(slot, of_slot, gains)
        stored = self._load([cached for cached, _ in gains if not cached.batch], more, write)
        losses = [loss for cached, gain in gains if gain.lost or gain.lost_large for loss in take(cached, gain)]
        growths, large = count(gains)
        self._load_overflow(
            [
                *((cached, name) for cached, name, _, _ in losses),
                *((cached, name) for cached, name, _ in growths),
                *((cached, name) for cached, name, _ in large),
            ]
        )
        for loss in losses:
            self.rows_still_shown += take_beside(loss, write)
        for cached, name, rows in large:
            add_large(cached, name, rows, write)
        for series in (OF_LATENCY, OF_USAGE):
            grow([growth for growth in growths if series_of(growth.name) is series], series, write)
        self._write([cached for cached, _ in gains], write)
        return blocks, stored

    def close(self, views: Sequence[ClosedView], beside_max: int, write: ShardWrite) -> tuple[int, int]:
        """Add minutes to the coarser cells of the first of these views, at least one, and note what to store.

        Returns of how many, and how many series have something beside the cells of these minutes: no more than
        `beside_max`, but for a view that has more by itself.
        """
        self._batches += 1
        finer = [[self._at(*place) for place in view.minutes] for view in views]
        self._load([one for one in chain.from_iterable(finer) if not one.batch], {}, write)
        for one in chain.from_iterable(finer):
            one.batch = one.batch or self._batches
        beside = list(accumulate(sum(len(one.cell.overflow) for one in of_view) for of_view in finer))
        taken = max(1, bisect_right(beside, beside_max)) if views else 0
        del finer[taken:]
        coarser = [[self._at(*place) for place in view.coarser] for view in views[:taken]]
        minutes = list(chain.from_iterable(finer))
        self._load([one for one in chain.from_iterable(coarser) if not one.batch], {}, write)
        self._load_overflow((one, name) for one in minutes for name in one.cell.overflow)
        sums = sum_cells(finer)
        gains = [
            (one, PackedTally(total.cell.calls, total.cell.errors, total.cell.rows, {}))
            for total, of_view in zip(sums, coarser, strict=True)
            for one in of_view
        ]
        growths, _ = count(gains)
        added = [
            (one, total, name)
            for total, of_view in zip(sums, coarser, strict=True)
            for name in total.overflow
            for one in of_view
        ]
        self._load_overflow(chain(((one.cached, one.name) for one in growths), ((one, name) for one, _, name in added)))
        for series in (OF_LATENCY, OF_USAGE):
            add_beside(series, [one for one in added if series_of(one[2]) is series], write)
            grow([growth for growth in growths if series_of(growth.name) is series], series, write)
        self._write(chain.from_iterable(coarser), write)
        return taken, beside[taken - 1] if taken else 0

    def _write(self, changed: Iterable[CachedCell], write: ShardWrite) -> None:
        for key, of_key in groupby(changed, lambda one: one.key):
            fields = write.fields.setdefault(key, {})
            for cached in of_key:
                cached.batch = self._batches
                fields[cached.place] = pack_cell(cached.cell)

    def _at(self, key: str, place: int) -> CachedCell:
        block = self._blocks.setdefault(key, {})
        cached = block.get(place)
        if cached is None:
            cached = block[place] = CachedCell(key, packed_place(place))
        return cached

    def _find(self, slot: Slot, of_slot: Gains, gains: list[Gain]) -> None:
        """Add the cells of a slot that gain anything to `gains`, each with what it gains."""
        block, first = self._blocks.setdefault(slot.key, {}), first_place(slot.number)
        for view, packed in of_slot.items():
            place = first + view
            cached = block.get(place)
            if cached is None:
                cached = block[place] = CachedCell(slot.key, packed_place(place))
            gains.append((cached, packed))

    def _load(self, unknown: Sequence[CachedCell], more: Mapping[Key, list[Field]], write: ShardWrite) -> Stored:
        wanted = dict(more)
        for cached in unknown:
            wanted.setdefault(cached.key, [DIRECTORY_FIELD]).append(cached.place)
        if not wanted:
            return {}
        stored = self._read(wanted)
        absent: dict[str, dict[int, CachedCell]] = {}
        for cached in unknown:
            packed = stored.get((cached.key, cached.place))
            if packed is not None:
                cached.cell = CELL_CODEC.unpack(packed)
            else:
                absent.setdefault(cached.key, {})[int.from_bytes(cached.place, "big")] = cached
        for (key, place), (cell, beside) in sealed_cells(absent, stored, self._read, self._frames).items():
            absent[key][place].take_over(cell, beside, write)
        return stored

    def calls_of(self, minute: ProjectMinute, views: Iterable[int]) -> list[int]:
        """How many calls there are of each of these views of a minute, of those that are at hand; 0 of others."""
        block, slot = MINUTES.block_and_slot(minute[1])
        of_block, first = self._blocks.get(self._keys.rollups(minute[0], MINUTES, block), {}), first_place(slot)
        return [0 if (one := of_block.get(first + view)) is None else one.cell.calls for view in views]

    def forget(self, key: str, places: Iterable[int]) -> None:
        """Drop cells that have been sealed, if they are at hand."""
        block = self._blocks.get(key, {})
        for place in places:
            block.pop(place, None)

    def _load_overflow(self, needed: Iterable[tuple[CachedCell, bytes]]) -> None:
        """Load what is beside cells, of series that have something there and are not at hand yet."""
        unknown = {
            (cached.key, cached.place, name): cached
            for cached, name in needed
            if name not in cached.overflow and (name in cached.cell.totals or name in cached.cell.large)
        }
        wanted: dict[Key, list[Field]] = {}
        for key, place, name in unknown:
            wanted.setdefault(key, []).extend((rows_field(place, name), sketches_field(place, name)))
        if wanted:
            stored = self._read(wanted)
            for (key, place, name), cached in unknown.items():
                sketches = stored.get((key, sketches_field(place, name)))
                cached.overflow[name] = Overflow(
                    stored.get((key, rows_field(place, name)), b""),
                    SKETCHES_CODEC.unpack(sketches) if sketches else None,
                )

    def trim(self, cells_max: int) -> None:
        """Keep the cells used last, `cells_max` at most (more where the last batch has more)."""
        cached = sum(map(len, self._blocks.values()))
        if cached <= cells_max:
            return
        # One time in many, since all must be looked at: what is dropped makes room for some batches.
        used = sorted(one.batch for block in self._blocks.values() for one in block.values())
        last_dropped = used[cached - cells_max * KEPT_OF_TEN // 10 - 1]
        first_kept = min(last_dropped + 1, self._batches)
        for key, block in list(self._blocks.items()):
            kept = {place: one for place, one in block.items() if one.batch >= first_kept}
            self._blocks[key] = kept
            if not kept:
                del self._blocks[key]
