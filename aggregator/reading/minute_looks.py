"""Looks into minutes for the first calls of an order: what is kept of them, and what is to be looked at beyond it."""

from collections.abc import Sequence
from typing import NamedTuple

from aggregator.layout.first_calls import Place
from aggregator.layout.keys import day_of
from aggregator.reading.calls import Selected, select_shard_minutes
from aggregator.reading.first_calls import CallsOfViews, ShardMinute, Window, read_busy_minutes
from aggregator.reading.slot_bounds import read_view_bounds
from aggregator.reading.value_rollups import DayViews
from aggregator.rollups.orders import Order
from aggregator.rollups.views import ViewFilter
from aggregator.store.reader import StoreReader
from aggregator.time_units import MINUTE_US


class Look(NamedTuple):
    """Calls of a minute in a shard that nobody has looked at: of a minute that is not busy all, in no piece; of a busy
    one those of views, where the newest are looked for those that began before an instant.

    `calls`: how many of them are of the filter, at most.
    """

    minute: ShardMinute
    views: Sequence[int]
    pieces: int
    before_us: int
    calls: int


Places = Sequence[tuple[Look, Place]]
"""Looks, each with the place that none of its calls comes before."""


class MinuteLooks:
    """Looks for the first calls of a filter in a window, by one order, and never for more than `count`."""

    def __init__(
        self, reader: StoreReader, views: DayViews, wanted: ViewFilter, window: Window, order: Order, count: int
    ) -> None:
        self._reader = reader
        self._views = views
        self._window = window
        self._order = order
        self._count = count
        self._calls = CallsOfViews(reader, wanted)

    @property
    def told(self) -> int:
        """How many calls it was read of which views they are."""
        return self._calls.told

    async def minutes(self, minutes: Sequence[int]) -> tuple[Selected, Places]:
        """Look into minutes (since 1970): calls to be shown, and further looks. Raises TooMuchToRead."""
        if not minutes:
            return {}, []
        order, end_us = self._order, self._window.end_us
        busy = await read_busy_minutes(self._reader, self._views, minutes, order)
        bounds = await read_view_bounds(self._reader, self._views, minutes, order)
        selected: Selected = {}
        found: list[tuple[Look, Place]] = []
        whole: dict[ShardMinute, tuple[int, int]] = {}
        for (shard, minute, view), (rank, calls) in bounds.items():
            kept = busy.get((shard, minute))
            first = None if kept is None else kept.first.get(view)
            if first is not None and kept is not None:
                selected.setdefault(shard, set()).update(number for *_, number in first.entries)
                if first.floor is not None:
                    place = first.floor[0], first.floor[1] + 1  # its equals may come before those found
                    found.append((Look((shard, minute), (view,), kept.pieces, min(end_us, place[1]), calls), place))
            elif kept is not None and order is not Order.NEWEST:
                found.append((Look((shard, minute), (view,), kept.pieces, end_us, calls), (rank, 0)))
            else:
                ranks, so_far = whole.get((shard, minute), (rank, 0))
                whole[shard, minute] = max(ranks, rank), so_far + calls
        of_days = {(shard, day): views for shard, day, views in self._views}
        for shard_minute, (rank, calls) in whole.items():
            views = of_days[shard_minute[0], day_of(shard_minute[1] * MINUTE_US)]
            pieces = busy[shard_minute].pieces if shard_minute in busy else 0
            found.append((Look(shard_minute, views, pieces, end_us, calls), (rank, 0)))
        return selected, found

    async def looks(self, looks: Sequence[Look]) -> tuple[Selected, Places]:
        """The calls of looks, and further looks. Raises TooMuchToRead."""
        of_pieces = [look for look in looks if look.pieces]
        plain = [look.minute for look in looks if not look.pieces]
        selected = await select_shard_minutes(self._reader, plain) if plain else {}
        further: list[tuple[Look, Place]] = []
        if of_pieces:
            await self._calls.bring({look.minute: look.pieces for look in of_pieces})
        for look in of_pieces:
            if self._order is Order.NEWEST:
                numbers, last_us = self._calls.newest(look.minute, look.views, look.before_us, self._count)
                if last_us is not None:
                    further.append((look._replace(before_us=last_us + 1), (last_us, last_us + 1)))
            else:
                numbers = self._calls.of_views(look.minute, look.views, self._window)
            selected.setdefault(look.minute[0], set()).update(numbers)
        return selected, further
