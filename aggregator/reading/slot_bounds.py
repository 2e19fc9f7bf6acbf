"""What the calls of a slot can be at most: when the last began, how long the slowest took, what the dearest cost.

Read from rollups, for the calls of a filter. So the slots that hold the first calls of an order are found without the
calls themselves.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aggregator.reading.rollups import LevelBlock
from aggregator.reading.value_rollups import DayViews, read_slots
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.levels import Level
from aggregator.rollups.orders import Order
from aggregator.rollups.series import OF_LATENCY, OF_USAGE, USAGE_METRICS
from aggregator.store.reader import StoreReader


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
