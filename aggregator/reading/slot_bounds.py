"""What the calls of a slot can be at most: when the last began, how long the slowest took, what the dearest cost.

Read from rollups, for the calls of a filter. So the slots that hold the first calls of an order are found without the
calls themselves.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aggregator.layout.keys import day_of
from aggregator.reading.batches import in_batches
from aggregator.reading.cells import CellsOfBuckets, add_cells
from aggregator.reading.rollups import LevelBlock
from aggregator.reading.value_rollups import FIELDS_PER_PIECE, DayViews, read_slots
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import place_of
from aggregator.rollups.levels import MINUTES, Level
from aggregator.rollups.orders import Order
from aggregator.rollups.series import OF_LATENCY, OF_USAGE, USAGE_METRICS
from aggregator.store.reader import ProjectShard, StoreReader
from aggregator.time_units import MINUTE_US


class Slot(NamedTuple):
    """A slot of a level, counted since 1970."""

    level: Level
    number: int

    @property
    def start_us(self) -> int:
        """Return when the slot begins (microseconds since 1970)."""
        return self.number * self.level.slot_us

    def split_into(self, finer: Level) -> "list[Slot]":
        """The slots of a finer level that it is made of."""
        parts = self.level.slot_s // finer.slot_s
        return [Slot(finer, number) for number in range(self.number * parts, (self.number + 1) * parts)]


async def read_bounds(reader: StoreReader, views: DayViews, slots: Sequence[Slot], order: Order) -> dict[Slot, int]:
    """Read a number for each slot that no call of it exceeds: microseconds since 1970, milliseconds, or pico-dollars.

    Slots without a call that has such a number are left out. Raises TooMuchToRead.
    """
    by_block: dict[LevelBlock, dict[int, int]] = {}
    for at, slot in enumerate(slots):
        block, within = divmod(slot.number, slot.level.block_slots)
        by_block.setdefault(LevelBlock(slot.level, block), {})[within] = at
    merged = Merged(len(slots))
    await read_slots(reader, views, by_block, merged)
    return {slots[at]: bound for at, bound in _bounds(merged, slots, order).items()}


ViewMinute = tuple[ProjectShard, int, int]
"""A minute (since 1970) in a shard, and a view."""


class ViewBound(NamedTuple):
    """The number that no call of a view exceeds, and how many calls there are."""

    rank: int
    calls: int


async def read_view_bounds(
    reader: StoreReader, views: DayViews, minutes: Sequence[int], order: Order
) -> dict[ViewMinute, ViewBound]:
    """Read the bounds of each view of these minutes by itself, in each shard."""
    wanted = [
        (shard, minute, numbers)
        for shard, day, numbers in views
        for minute in minutes
        if day_of(minute * MINUTE_US) == day
    ]
    places = [(shard, minute, view) for shard, minute, numbers in wanted for view in numbers]
    merged, bucket = Merged(len(places)), 0
    for some in in_batches(wanted, [len(numbers) for *_, numbers in wanted], FIELDS_PER_PIECE):
        cells: list[CellsOfBuckets] = []
        for shard, minute, numbers in some:
            block, slot = MINUTES.block_and_slot(minute)
            of_minute = [place_of(slot, view) for view in numbers]
            key = shard.keys.rollups(shard.project, MINUTES, block)
            cells.append((key, of_minute, list(range(bucket, bucket + len(of_minute)))))
            bucket += len(of_minute)
        await add_cells(reader, cells, merged, latency_values=False, usage_values=False)
        merged.condense()
    bounds = _bounds(merged, [Slot(MINUTES, minute) for _, minute, _ in places], order)
    return {places[at]: ViewBound(rank, merged.calls[at]) for at, rank in bounds.items()}


def _bounds(merged: Merged, slots: Sequence[Slot], order: Order) -> Mapping[int, int]:
    if order in (Order.NEWEST, Order.FAILING):
        counts = merged.calls if order is Order.NEWEST else merged.errors
        return {at: slots[at].start_us + slots[at].level.slot_us - 1 for at, count in enumerate(counts) if count}
    series, metric = (OF_LATENCY, 0) if order is Order.SLOWEST else (OF_USAGE, USAGE_METRICS.index("total_cost"))
    totals, layout = merged.totals(series), series.layout
    bounds: dict[int, int] = {}
    for at, key in enumerate(totals.keys):
        of_series = totals.large.get(key) or totals.rows[at].tolist()
        if of_series[layout.counts[metric]]:
            # Of cost, what the dearest calls of all models cost together: a call may have used several.
            bounds[key[0]] = bounds.get(key[0], 0) + of_series[layout.maxima + metric]
    return bounds
