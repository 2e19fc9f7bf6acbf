"""Reading rollups: the cells of the slots and views that an answer needs, merged into its buckets."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from aggregator.reading.cells import CellsOfBuckets, add_cells
from aggregator.rollups.accumulator import COMPACT_BYTES_MIN, Merged
from aggregator.rollups.cell import place_of, places_of
from aggregator.rollups.levels import HOURS, Level
from aggregator.rollups.views import (
    ALL_CALLS,
    NotKept,
    ViewDirectory,
    ViewFilter,
    fields_to_select,
    may_be_selected,
    select,
)
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader
from aggregator.time_units import DAY_S

# Of one stretch of buckets, or of a sum over labels: a month of hours in 1,400 views. Beyond, the calls themselves are
# looked at where there are fewer; else the answer would take more than a minute of both Redis and the api.
FIELDS_READ_MAX = 20_000_000
# More of a day is only read after a look at how many calls the day has: to find those takes as long as so many.
FEW_FIELDS_MAX = 10_000
# Read before others have their turn: some 50 ms.
FIELDS_IN_A_TURN_MAX = 20_000
# Read, and merged, between two looks at what else there is to do: some milliseconds.
FIELDS_AT_ONCE_MAX = 1_000
# Of cells and sketches that are merged for one stretch of buckets. A month of percentiles of five models, in one
# bucket, is some 90 MB.
READ_BYTES_MAX = 256 * 2**20
# Views looked through for an answer that tells their values apart, or lists them: some 2 µs each.
VIEWS_READ_MAX = 1_000_000
# The same to find those that match a filter, some at a time: a project that is full of all kinds of them, for a year.
VIEWS_COMPARED_MAX = 10_000_000
VIEWS_AT_ONCE_MAX = 10_000


class TooMuchToRead(Exception):
    """The answer would need more than a limit allows to be read for one request."""


class LevelBlock(NamedTuple):
    """A block of a level: consecutive slots that are stored together."""

    level: Level
    number: int

    @property
    def day(self) -> int:
        """The UTC day that it is of."""
        return self.number * self.level.block_s // DAY_S


class Slots(NamedTuple):
    """Consecutive slots of a block."""

    block: LevelBlock
    within: range


Wanted = Mapping[LevelBlock, Mapping[int, int]]
"""By block: which of its slots, and the bucket each belongs to."""


ShardDay = tuple[ProjectShard, int]
"""A shard, and a UTC day (since 1970)."""

GiveWay = Callable[[], Awaitable[None]]
"""Lets others have their turn."""


async def _go_on() -> None:
    """Give no way."""


async def read_rollups(
    reader: StoreReader,
    project: OpenedProject,
    wanted: Wanted,
    views: ViewFilter,
    into: Merged,
    latency_values: bool,
    usage_values: bool,
    give_way: GiveWay = _go_on,
) -> list[ShardDay]:
    """Merge the wanted slots into their buckets, but for those of the days that are returned: views that would be
    needed of these were not kept, or it takes less to look at all of their calls.

    Gives way now and then where it takes long. Raises TooMuchToRead.
    """
    selected, left = await _selected_views(reader, project, wanted, views, give_way)
    values_read = fields_read = 0
    for batch in _batches(_reads(wanted, selected)):
        values_read += await add_cells(reader, batch, into, latency_values, usage_values)
        fields_read += sum(len(fields) for _, fields, _ in batch)
        if values_read > FIELDS_READ_MAX:
            raise TooMuchToRead(f"the answer's percentiles need more than {FIELDS_READ_MAX:,} sketches")
        if into.size_bytes > COMPACT_BYTES_MIN:  # which takes a second
            await asyncio.to_thread(into.compact)
        if into.size_bytes > READ_BYTES_MAX:
            raise TooMuchToRead(f"the answer needs more than {READ_BYTES_MAX // 2**20:,} MiB of rollups at once")
        if fields_read >= FIELDS_IN_A_TURN_MAX:
            await give_way()
            fields_read = 0
    return left


class _Selected(NamedTuple):
    """The views to read of a shard and day."""

    shard: ProjectShard
    day: int
    views: list[int]


async def _selected_views(
    reader: StoreReader, project: OpenedProject, wanted: Wanted, views: ViewFilter, give_way: GiveWay
) -> tuple[list[_Selected], list[ShardDay]]:
    """Return the numbers of the views to read, by shard and day, and the days that are better read otherwise."""
    slots_of = Counter[int]()
    for block, slots in wanted.items():
        slots_of[block.day] += len(slots)
    pairs = [(shard, day) for shard in project.shards for day in sorted(slots_of)]
    if not views.dimensions:
        return [_Selected(shard, day, [ALL_CALLS]) for shard, day in pairs], []
    found: list[_Selected] = []
    left: list[ShardDay] = []
    keys = [shard.keys.views(shard.project, day) for shard, day in pairs]
    async for at, fields in _directories(reader, keys, fields_to_select(views), give_way):
        shard, day = pairs[at]
        try:
            found.append(_Selected(shard, day, select(ViewDirectory(may_be_selected(fields, views)), views)))
        except NotKept:
            left.append((shard, day))
    many = [one for one in found if slots_of[one.day] * len(one.views) > FEW_FIELDS_MAX]
    calls = await calls_of_days(reader, [(one.shard, one.day) for one in many]) if many else {}
    dearer = {(one.shard, one.day) for one in many if calls[one.shard, one.day] < slots_of[one.day] * len(one.views)}
    return [one for one in found if one[:2] not in dearer], left + sorted(dearer, key=pairs.index)


async def _directories(
    reader: StoreReader, keys: Sequence[str], fields: Sequence[bytes] | None, give_way: GiveWay
) -> AsyncIterator[tuple[int, dict[bytes, bytes]]]:
    """Yield what directories hold under these fields (None: all that they hold), each with the position of its key."""
    if fields is not None:
        for position, found in enumerate(await read_directories(reader, keys, fields)):
            yield position, found
        return
    sizes = await reader.fetch([("HLEN", key) for key in keys])
    if sum(sizes) > VIEWS_COMPARED_MAX:
        raise TooMuchToRead(f"the filter has to be compared with more than {VIEWS_COMPARED_MAX:,} views")
    at = 0
    while at < len(keys):
        until, size = at + 1, sizes[at]
        while until < len(keys) and size + sizes[until] <= VIEWS_AT_ONCE_MAX:
            size += sizes[until]
            until += 1
        if at:
            await give_way()
        for position, found in enumerate(await reader.fetch([("HGETALL", key) for key in keys[at:until]]), at):
            yield position, found
        at = until


async def calls_of_days(reader: StoreReader, days: Sequence[ShardDay]) -> dict[ShardDay, int]:
    """How many calls each of these days has, whatever their values."""
    slots = range(HOURS.block_slots)
    counted, places = Merged(len(days)), [place_of(slot, ALL_CALLS) for slot in slots]
    wanted = [
        (shard.keys.rollups(shard.project, HOURS, day), places, [at] * len(slots))
        for at, (shard, day) in enumerate(days)
    ]
    await add_cells(reader, wanted, counted, latency_values=False, usage_values=False)
    return dict(zip(days, counted.calls, strict=True))


async def read_directories(
    reader: StoreReader, keys: Sequence[str], fields: Sequence[bytes] | None
) -> list[dict[bytes, bytes]]:
    """Return what directories hold under these fields; None: all that they hold."""
    if fields is not None:
        replies = await reader.fetch([("HMGET", key, *fields) for key in keys])
        return [
            {field: value for field, value in zip(fields, values, strict=True) if value is not None}
            for values in replies
        ]
    if sum(await reader.fetch([("HLEN", key) for key in keys])) > VIEWS_READ_MAX:
        raise TooMuchToRead(f"the filter has to be compared with more than {VIEWS_READ_MAX:,} views")
    return await reader.fetch([("HGETALL", key) for key in keys])


def _reads(wanted: Wanted, selected: Sequence[_Selected]) -> Iterator[CellsOfBuckets]:
    """Keys, fields, and the bucket of each field, no more fields at once than are read in one piece.

    All views of a slot one after the other, as they lie in frames. Raises TooMuchToRead before the first of them where
    all are too many.
    """
    by_day: dict[int, list[tuple[LevelBlock, list[tuple[int, int]]]]] = {}
    for block, slots in wanted.items():
        by_day.setdefault(block.day, []).append((block, list(slots.items())))
    slots_of = {day: sum(len(slots) for _, slots in blocks) for day, blocks in by_day.items()}
    if sum(slots_of[day] * len(views) for _, day, views in selected) > FIELDS_READ_MAX:
        raise TooMuchToRead(f"the answer needs more than {FIELDS_READ_MAX:,} rollups")
    for shard, day, views in selected:
        for block, of_block in by_day[day] if views else ():
            key = shard.keys.rollups(shard.project, *block)
            slots_at_once = max(1, FIELDS_AT_ONCE_MAX // len(views))
            for at in range(0, len(of_block), slots_at_once):
                some = of_block[at : at + slots_at_once]
                for first in range(0, len(views), FIELDS_AT_ONCE_MAX):
                    of_slot = views[first : first + FIELDS_AT_ONCE_MAX]
                    places = places_of([slot for slot, _ in some], of_slot)
                    yield key, places, [bucket for _, bucket in some for _ in of_slot]


def _batches(
    reads: Iterator[CellsOfBuckets],
) -> Iterator[list[CellsOfBuckets]]:
    """Yields reads in batches, each of which is sent at once."""
    batch: list[CellsOfBuckets] = []
    fields = 0
    for one in reads:
        if batch and fields + len(one[1]) > FIELDS_AT_ONCE_MAX:
            yield batch
            batch, fields = [], 0
        batch.append(one)
        fields += len(one[1])
    if batch:
        yield batch
