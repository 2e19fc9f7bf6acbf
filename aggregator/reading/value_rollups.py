"""Reading the rollups of a window by the values of one dimension, piece by piece, so that memory goes by values."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from aggregator.reading.batches import in_batches
from aggregator.reading.cells import CellsOfBuckets, add_cells
from aggregator.reading.rollups import (
    FEW_FIELDS_MAX,
    FIELDS_IN_A_TURN_MAX,
    VIEWS_COMPARED_MAX,
    GiveWay,
    LevelBlock,
    ShardDay,
    TooMuchToRead,
    calls_of_days,
    read_directories,
)
from aggregator.rollups.accumulator import COMPACT_BYTES_MIN, Merged
from aggregator.rollups.cell import places_of
from aggregator.rollups.view import ROOT
from aggregator.rollups.view_values import DimensionValue, views_by_value
from aggregator.rollups.views import ALL_CALLS, NotKept, ViewDirectory, ViewFilter, fields_to_select, select
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader

# Of one answer, in pieces: 2,000 values (CALLMETER_LIMITS__VIEWS) in every hour of a month are two seconds.
VALUE_FIELDS_READ_MAX = 20_000_000
# Fields of one round trip (more where one slot has more): at most 40 ms of the event loop where all of them are there.
FIELDS_PER_PIECE = 8_000
# Views of directories that are taken in at once: some 20 ms of the event loop.
VIEWS_PER_PIECE = 10_000
# Distinct values in the window; 1 KB each while the answer is made.
VALUES_READ_MAX = 50_000


TOTAL = 0
"""The bucket of all calls of the filter; those of values follow."""


class ValueRollups(NamedTuple):
    """What rollups come to by value: the bucket of a value in `merged` is 1 + its position in `values`.

    The bucket TOTAL counts all calls of the filter, each once; of every slot it is of the same state as the values.
    """

    values: Sequence[DimensionValue]
    merged: Merged


SlotsOfBlocks = Mapping[LevelBlock, Sequence[int]]
"""By block of a level: which of its slots."""


_Views = Sequence[tuple[int, int]]
"""Views of a day in a shard, each with its bucket."""


class _Piece(NamedTuple):
    """Some slots of a block in one shard, with all views that are wanted of it."""

    shard: ProjectShard
    block: LevelBlock
    slots: Sequence[int]
    views: _Views


async def read_value_rollups(
    reader: StoreReader,
    project: OpenedProject,
    parts: Sequence[SlotsOfBlocks],
    wanted: ViewFilter,
    dimension: int,
    latency_values: bool,
    usage_values: bool,
    give_way: GiveWay,
) -> tuple[list[ValueRollups], list[ShardDay]]:
    """The rollups of each part's slots by values of a dimension (OP, ROOT, USER, RUN, MODEL, ERROR), for a filter's
    calls; and days of which nothing was read, as `read_rollups` leaves them. The parts have their values in common.

    Calls without a value count in the total alone. `latency_values`, `usage_values`: whether percentiles of these are
    needed. Raises TooMuchToRead.
    """
    slots_of = Counter[int]()
    for part in parts:
        for block, within in part.items():
            slots_of[block.day] += len(within)
    pairs = [(shard, day) for shard in project.shards for day in sorted(slots_of)]
    buckets: dict[DimensionValue, int] = {}
    views = await _views(reader, pairs, wanted, dimension, buckets)
    many = [pair for pair, of_pair in views.items() if of_pair and slots_of[pair[1]] * len(of_pair) > FEW_FIELDS_MAX]
    for pair, calls in (await calls_of_days(reader, many) if many else {}).items():
        if calls < slots_of[pair[1]] * len(views[pair] or ()):
            views[pair] = None
    left = [pair for pair, of_pair in views.items() if of_pair is None]
    there = {pair: of_pair for pair, of_pair in views.items() if of_pair is not None}
    if len(buckets) > VALUES_READ_MAX:
        raise TooMuchToRead(f"the window has more than {VALUES_READ_MAX:,} values")
    _check_size(parts, there)
    found: list[ValueRollups] = []
    for part in parts:
        merged, fields_read = Merged(1 + len(buckets), wanted.roots_only), 0
        for pieces in _round_trips(part, there):
            await add_cells(reader, _cells_of(pieces), merged, latency_values, usage_values)
            merged.condense()
            if merged.size_bytes > COMPACT_BYTES_MIN:  # which takes a second
                await asyncio.to_thread(merged.compact)
            fields_read += sum(len(piece.slots) * len(piece.views) for piece in pieces)
            if fields_read > FIELDS_IN_A_TURN_MAX:
                await give_way()
                fields_read = 0
        found.append(ValueRollups(list(buckets), merged))
    return found, left


DayViews = Sequence[tuple[ProjectShard, int, Sequence[int]]]
"""By shard and day (since 1970), the numbers of views whose calls together are those of a filter, or more."""


async def views_of_days(
    reader: StoreReader, project: OpenedProject, days: Sequence[int], wanted: ViewFilter
) -> DayViews:
    """The views of a filter's calls; where not all of these are kept, the view of all calls. Raises TooMuchToRead."""
    pairs = [(shard, day) for shard in project.shards for day in days]
    found = await _views(reader, pairs, wanted, 0, {})
    all_calls = [(ALL_CALLS, TOTAL)]
    return [(*pair, [number for number, _ in (all_calls if views is None else views)]) for pair, views in found.items()]


async def read_slots(
    reader: StoreReader, views: DayViews, slots: Mapping[LevelBlock, Mapping[int, int]], into: Merged
) -> None:
    """Merge the cells of these views, each slot into its bucket, but no values of percentiles. Raises TooMuchToRead."""
    wanted = {block: list(within) for block, within in slots.items()}
    of_total = {(shard, day): [(number, TOTAL) for number in numbers] for shard, day, numbers in views}
    _check_size([wanted], of_total)
    for pieces in _round_trips(wanted, of_total):
        await add_cells(reader, _cells_of(pieces, slots), into, latency_values=False, usage_values=False)
        into.condense()


async def _views(
    reader: StoreReader,
    pairs: Sequence[ShardDay],
    wanted: ViewFilter,
    dimension: int,
    buckets: dict[DimensionValue, int],
) -> dict[ShardDay, _Views | None]:
    """Return the views to read of each of the days, None where not all of them are kept; values that are new get the
    next bucket.
    """
    if not dimension and not wanted.dimensions:
        return {pair: [(ALL_CALLS, TOTAL)] for pair in pairs}
    keys = [shard.keys.views(shard.project, day) for shard, day in pairs]
    found: list[_Views | None] = []
    if dimension == ROOT and not wanted.dimensions:  # one view, whatever else a directory holds
        stored = await read_directories(reader, keys, fields_to_select(ViewFilter(roots_only=True)))
        found = [_views_of(ViewDirectory(fields), wanted, dimension, buckets) for fields in stored]
        return dict(zip(pairs, found, strict=True))
    sizes = await reader.fetch([("HLEN", key) for key in keys])
    if sum(sizes) > VIEWS_COMPARED_MAX:
        raise TooMuchToRead(f"the window has more than {VIEWS_COMPARED_MAX:,} views to look through")
    for some in in_batches(keys, sizes, VIEWS_PER_PIECE):
        for fields in await reader.fetch([("HGETALL", key) for key in some]):
            found.append(_views_of(ViewDirectory(fields), wanted, dimension, buckets))
        await asyncio.sleep(0)  # others' answers
    return dict(zip(pairs, found, strict=True))


def _views_of(
    directory: ViewDirectory, wanted: ViewFilter, dimension: int, buckets: dict[DimensionValue, int]
) -> _Views | None:
    try:
        views = [(number, TOTAL) for number in select(directory, wanted)]
        by_value = views_by_value(directory, wanted, dimension) if dimension else {}
    except NotKept:
        return None
    for value, numbers in by_value.items():
        bucket = buckets.setdefault(value, 1 + len(buckets))
        views += [(number, bucket) for number in numbers]
    return views


def _check_size(parts: Sequence[SlotsOfBlocks], found: Mapping[ShardDay, _Views]) -> None:
    """Raises TooMuchToRead where all parts together are."""
    slots_of_days = Counter[int]()
    for part in parts:
        for block, within in part.items():
            slots_of_days[block.day] += len(within)
    if sum(slots_of_days[day] * len(views) for (_, day), views in found.items()) > VALUE_FIELDS_READ_MAX:
        raise TooMuchToRead(f"the answer needs more than {VALUE_FIELDS_READ_MAX:,} rollups")


def _round_trips(slots: SlotsOfBlocks, found: Mapping[ShardDay, _Views]) -> Iterator[list[_Piece]]:
    """Yield what is read at once."""
    pieces = [
        _Piece(shard, block, within[at : at + at_once], views)
        for (shard, day), views in found.items()
        if views
        for at_once in [max(1, FIELDS_PER_PIECE // len(views))]
        for block, within in slots.items()
        if block.day == day
        for at in range(0, len(within), at_once)
    ]
    yield from in_batches(pieces, [len(piece.slots) * len(piece.views) for piece in pieces], FIELDS_PER_PIECE)


def _cells_of(
    pieces: Sequence[_Piece], slot_buckets: Mapping[LevelBlock, Mapping[int, int]] | None = None
) -> list[CellsOfBuckets]:
    """Return what to read, each place with the bucket of its view, or of its slot where slots have buckets."""
    wanted: list[CellsOfBuckets] = []
    for shard, block, slots, views in pieces:
        buckets = [bucket for _, bucket in views] * len(slots)
        if slot_buckets is not None:
            buckets = [slot_buckets[block][slot] for slot in slots for _ in views]
        places = places_of(slots, [view for view, _ in views])
        wanted.append((shard.keys.rollups(shard.project, *block), places, buckets))
    return wanted
