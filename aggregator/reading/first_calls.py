"""Reading what shards keep of busy minutes: the first calls of views, and which calls are of a view.

So of the calls of a filter few are read, however many a minute has.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aggregator.layout.first_calls import (
    FirstCalls,
    minute_field,
    unpack_first_calls,
    view_field,
)
from aggregator.layout.keys import day_of
from aggregator.layout.minute_calls import OP_ALONE, UNKNOWN, MinuteCalls, piece_field, unpack_minute_calls
from aggregator.layout.moved_minutes import MovedMinute, unpack_minute, unpack_place
from aggregator.objects.frame_cache import DamagedObject, Located
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.reading.cells import DamagedCells
from aggregator.reading.rollups import read_directories
from aggregator.reading.value_rollups import DayViews
from aggregator.rollups.orders import ORDERS, Order
from aggregator.rollups.view import OP, ROOT, RUN, USER, View
from aggregator.rollups.views import ALL_CALLS, ViewDirectory, ViewFilter, may_be_selected
from aggregator.segments.compression import CorruptFrame
from aggregator.store.reader import ProjectShard, StoreReader
from aggregator.time_units import MINUTE_US

# Of minutes whose calls are at hand while one question is answered: 2.4 MB each where there are 100,000.
MINUTES_AT_HAND_MAX = 8

_MINUTE_MS = MINUTE_US // 1_000
_PLACES = {OP: 0, ROOT: 1, USER: 2, RUN: 3}
"""Where a view has its value of a dimension."""

ShardMinute = tuple[ProjectShard, int]
"""A minute (since 1970) in a shard."""


class Window(NamedTuple):
    """A stretch of time, in microseconds since 1970: from `start_us` on, before `end_us`."""

    start_us: int
    end_us: int


class BusyMinute(NamedTuple):
    """What is kept of a busy minute: in how many pieces its calls are, and the first calls of some views."""

    pieces: int
    first: Mapping[int, FirstCalls]


async def read_busy_minutes(
    reader: StoreReader, views: DayViews, minutes: Sequence[int], order: Order
) -> dict[ShardMinute, BusyMinute]:
    """Return what is kept of these minutes (since 1970) for the views of a filter; of the newest, of all calls alone.

    Minutes that are not there are not busy. Raises DamagedCells.
    """
    wanted = [
        (shard, minute, [view for view in numbers if view == ALL_CALLS or order is not Order.NEWEST])
        for shard, day, numbers in views
        for minute in minutes
        if day_of(minute * MINUTE_US) == day
    ]
    replies = await reader.fetch(
        [
            (
                "HMGET",
                shard.keys.busy_minutes(shard.project, day_of(minute * MINUTE_US)),
                *(view_field(minute, view) for view in numbers),
                minute_field(minute),  # last, as a long command is cut into pieces: what it says to be here was read
            )
            for shard, minute, numbers in wanted
        ]
    )
    moved = await _read_moved(
        reader, [(shard, minute, said) for (*_, said), (shard, minute, _) in zip(replies, wanted, strict=True)]
    )
    found: dict[ShardMinute, BusyMinute] = {}
    for (*stored, said), (shard, minute, numbers) in zip(replies, wanted, strict=True):
        if said is None:
            continue
        in_object = moved.get((shard, minute))
        if in_object is not None:
            stored = [in_object.first.get(view) for view in numbers]
        first = {
            view: unpack_first_calls(packed)[ORDERS.index(order)]
            for view, packed in zip(numbers, stored, strict=True)
            if packed is not None
        }
        found[shard, minute] = BusyMinute(int(said) if in_object is None else 1, first)
    return found


async def _read_moved(
    reader: StoreReader, minutes: Iterable[tuple[ProjectShard, int, bytes | None]]
) -> dict[ShardMinute, MovedMinute]:
    """Return what is kept of those minutes whose fields say that they have moved. Raises DamagedCells."""
    places: dict[ShardMinute, Located] = {}
    for shard, minute, said in minutes:
        if (place := unpack_place(said)) is not None:
            places[shard, minute] = place.located(shard.keys.shard)
    try:
        sections = await reader.frames.read_aside(list(places.values())) if places else {}
        return {minute: unpack_minute(sections[place]) for minute, place in places.items()}
    except (ObjectStoreAway, DamagedObject, CorruptFrame) as why:
        raise DamagedCells(str(why)) from why


class CallsOfViews:
    """Which calls of busy minutes are of which views of a filter, read as they are asked for."""

    def __init__(self, reader: StoreReader, wanted: ViewFilter) -> None:
        self._reader = reader
        self._wanted = wanted
        self._directories: dict[tuple[ProjectShard, int], Mapping[int, View]] = {}
        self._minutes: dict[ShardMinute, MinuteCalls] = {}
        self.told = 0
        """Of how many calls pieces were read."""

    async def bring(self, minutes: Mapping[ShardMinute, int]) -> None:
        """Have these minutes at hand, each of so many pieces. Raises DamagedCells, and TooMuchToRead."""
        absent = {minute: pieces for minute, pieces in minutes.items() if minute not in self._minutes}
        for minute in list(self._minutes)[: max(0, len(self._minutes) + len(absent) - MINUTES_AT_HAND_MAX)]:
            if minute not in minutes:
                del self._minutes[minute]
        keys = [shard.keys.busy_minutes(shard.project, day_of(minute * MINUTE_US)) for shard, minute in absent]
        replies = await self._reader.fetch(
            [
                ("HMGET", key, *(piece_field(minute, piece) for piece in range(pieces)), minute_field(minute))
                for key, ((_, minute), pieces) in zip(keys, absent.items(), strict=True)
            ]
        )
        moved = await _read_moved(self._reader, [(*one, said) for one, (*_, said) in zip(absent, replies, strict=True)])
        for key, shard_minute, (*stored, _) in zip(keys, absent, replies, strict=True):
            if shard_minute in moved:
                stored = [moved[shard_minute].calls]
            try:  # what has expired meanwhile is not there any more, nor are its calls
                calls = unpack_minute_calls([piece for piece in stored if piece is not None])
            except CorruptFrame as why:
                raise DamagedCells(f"a piece of {key} is damaged: {why}") from why
            self._minutes[shard_minute] = calls
            self.told += len(calls.numbers)
            await asyncio.sleep(0)  # others' answers
        if self._wanted.dimensions:
            await self._bring_directories({(shard, day_of(minute * MINUTE_US)) for shard, minute in minutes})

    async def _bring_directories(self, days: Iterable[tuple[ProjectShard, int]]) -> None:
        absent = [day for day in days if day not in self._directories]
        keys = [shard.keys.views(shard.project, day) for shard, day in absent]
        stored = await read_directories(self._reader, keys, None) if keys else []
        for day, fields in zip(absent, stored, strict=True):
            numbers = ViewDirectory(may_be_selected(fields, self._wanted)).numbers
            self._directories[day] = {
                number: view
                for view, number in numbers.items()
                if view.facet is None and self._wanted.matches(*view[:4])
            }

    def of_views(self, minute: ShardMinute, views: Sequence[int], window: Window) -> list[int]:
        """The record numbers of calls of a minute at hand that may be of these views and began in a window: all that
        are, and where it is not told some that are not.
        """
        calls, first_ms = self._minutes[minute], minute[1] * _MINUTE_MS
        are_of = self._are_of(minute, views)
        are_of &= calls.starts_ms >= window.start_us // 1_000 - first_ms
        are_of &= calls.starts_ms <= window.end_us // 1_000 - first_ms
        found: list[int] = calls.numbers[are_of].tolist()
        return found

    def newest(
        self, minute: ShardMinute, views: Sequence[int], before_us: int, count: int
    ) -> tuple[list[int], int | None]:
        """The newest `count` of such calls that began before an instant, and some more; none of the others began after
        the instant that is returned (None: there are none).
        """
        calls, first_ms = self._minutes[minute], minute[1] * _MINUTE_MS
        last_ms = before_us // 1_000 - first_ms
        are_of = self._are_of(minute, views) & (calls.starts_ms <= last_ms)
        numbers, starts_ms = calls.numbers[are_of], calls.starts_ms[are_of]
        # Of its last millisecond some began later.
        count += int(np.count_nonzero(starts_ms == last_ms))
        others = len(numbers) - count
        if others <= 0:
            return numbers.tolist(), None
        # With all that began in the same millisecond as the last of them.
        since_ms = int(np.partition(starts_ms, others)[others])
        earlier_ms = starts_ms[starts_ms < since_ms]
        until_us = (first_ms + int(earlier_ms.max())) * 1_000 + 999 if len(earlier_ms) else None
        return numbers[starts_ms >= since_ms].tolist(), until_us

    def _are_of(self, minute: ShardMinute, views: Sequence[int]) -> NDArray[np.bool_]:
        """Tell of each call of a minute at hand whether it is of these views, or may be."""
        dimensions, named = self._wanted.dimensions, self._minutes[minute].views
        if not dimensions:
            return np.ones(len(named), dtype=np.bool_)
        of_day = self._directories[minute[0], day_of(minute[1] * MINUTE_US)]
        if ALL_CALLS in views:  # those of the filter are not kept: what of its combinations has been admitted is told
            held = list(of_day)
        elif dimensions not in _PLACES:
            held = list(views)
        else:
            at = _PLACES[dimensions]
            values = {of_day[view][at] for view in views if view in of_day}
            held = [number for number, view in of_day.items() if view[at] in values]
        is_told = named != UNKNOWN
        if dimensions == OP:
            held += [number + OP_ALONE for number in (of_day if ALL_CALLS in views else views)]
        else:
            is_told &= named < OP_ALONE
        are_of: NDArray[np.bool_] = np.isin(named, held) | ~is_told
        return are_of
