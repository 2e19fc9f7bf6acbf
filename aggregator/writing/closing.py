"""Closes minutes that are over: adds them to their five-minute slots and hours, some views at a time.

Each step is one fenced transaction, as sealing's are: who has read the shard before it cannot write after it.
"""

from collections.abc import Callable, Mapping
from itertools import islice

from aggregator.layout.keys import ShardKeys
from aggregator.layout.open_minutes import COARSER_LEVELS
from aggregator.layout.slots import Block, TouchedBlock
from aggregator.layout.write import ShardWrite
from aggregator.rollups.cell import first_place
from aggregator.rollups.levels import MINUTES, Retention
from aggregator.store.shard_store import ShardStore
from aggregator.writing.cell_cache import Cells, ClosedView
from aggregator.writing.changes import note_blocks
from aggregator.writing.known_expiries import KnownExpiries
from aggregator.writing.open_minutes import OpenMinutes

# Cells of minutes that one step adds up: some 20 ms of a worker.
CELLS_PER_STEP = 1_000
# Series of these that have something beside their cell, each with up to eight sketches: as long.
BESIDE_PER_STEP = 150


class Closing:
    """Closes the open minutes of a shard. After it has raised, nothing that it was given is right any more."""

    def __init__(
        self, store: ShardStore, retention: Retention, minutes: OpenMinutes, cells: Cells, expiries: KnownExpiries
    ) -> None:
        self._store, self._keys, self._retention = store, store.keys, retention
        self._minutes, self._cells, self._expiries = minutes, cells, expiries

    def step(self, until_us: int, now_us: int, note: Callable[[Mapping[str, TouchedBlock], ShardWrite], None]) -> int:
        """Add up some cells of minutes that are due; returns how many, 0 where nothing is due.

        `until_us`: how far time has come for this shard. `note` is told which blocks change.
        """
        write, touched = ShardWrite(), dict[str, TouchedBlock]()
        expiring: list[str] = []
        cells, beside_left = 0, BESIDE_PER_STEP
        for slot in self._minutes.due(until_us, now_us):
            lacking = self._minutes.lacking(slot)
            offered: list[ClosedView] = []
            for view, minutes in lacking.items():
                if cells >= CELLS_PER_STEP:
                    break
                offered.append(_closed_view(self._keys, slot.day[0], view, minutes, touched))
                cells += len(minutes)
            taken, beside = self._cells.close(offered, beside_left, write)
            beside_left -= beside
            first_left = next(islice(lacking, taken, None), None)
            self._minutes.close(slot, first_left, write)
            expiring += self._minutes.expire(slot, self._retention, write)
            if first_left is not None or cells >= CELLS_PER_STEP or beside_left <= 0:
                break
        if not write.fields and not write.deletions:
            return 0
        note_blocks(touched, self._keys, self._retention, write)
        note(touched, write)
        self._store.replace(write)
        self._expiries.note(write)
        self._expiries.forget(expiring)
        return max(1, cells)


def _closed_view(
    keys: ShardKeys, project: int, view: int, minutes: list[int], touched: dict[str, TouchedBlock]
) -> ClosedView:
    finer, coarser = [], []
    for minute in minutes:
        number, slot = MINUTES.block_and_slot(minute)
        finer.append((keys.rollups(project, MINUTES, number), first_place(slot) + view))
    for level in COARSER_LEVELS:
        number, slot = level.block_and_slot(minutes[0])
        key = keys.rollups(project, level, number)
        coarser.append((key, first_place(slot) + view))
        touched.setdefault(key, TouchedBlock(Block(project, level, number), set())).slots.add(slot)
    return ClosedView(finer, coarser)
