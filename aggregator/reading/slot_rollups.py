"""Reading the rollups of a day slot by slot and view by view, each by itself, some at a time."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple

from aggregator.reading.cells import read_cells
from aggregator.reading.rollups import read_directories
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import place_of
from aggregator.rollups.levels import Level
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, Series, model_of
from aggregator.rollups.totals import Totals
from aggregator.rollups.view import ERROR, MODEL, OP, ROOT, RUN, USER, View
from aggregator.rollups.views import ALL_CALLS, ViewDirectory
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader

# Cells of one round trip and one piece: some 10 MB while they are merged.
CELLS_AT_ONCE_MAX = 8_000

SINGLE_DIMENSIONS = (0, OP, ROOT, USER, RUN, MODEL, ERROR)
"""The sets of dimensions that are read; 0: the view of all calls."""


class SlotRollup(NamedTuple):
    """What one slot counts of one view: calls, how many failed, totals of latencies (None: there is none), and by model
    totals of usage and, of views of roots, of usage with all that is below the roots.
    """

    slot: int
    view: View
    calls: int
    errors: int
    latency: Totals | None
    usage: Mapping[str, Totals]
    tree_usage: Mapping[str, Totals]


class DayViews(NamedTuple):
    """The views of a day that tell one dimension apart, with their numbers by shard; `full`: the dimensions of which
    not every value is kept that day.
    """

    numbers: Mapping[View, Mapping[ProjectShard, int]]
    full: frozenset[int]


async def day_views(reader: StoreReader, project: OpenedProject, day: int) -> DayViews:
    """Read which views a UTC day (since 1970) has. Raises TooMuchToRead."""
    keys = [shard.keys.views(shard.project, day) for shard in project.shards]
    numbers: dict[View, dict[ProjectShard, int]] = {View(): dict.fromkeys(project.shards, ALL_CALLS)}
    full: set[int] = set()
    for shard, fields in zip(project.shards, await read_directories(reader, keys, None), strict=True):
        directory = ViewDirectory(fields)
        full |= directory.full
        for view, number in directory.numbers.items():
            if view.dimensions in SINGLE_DIMENSIONS:
                numbers.setdefault(view, {})[shard] = number
    return DayViews(numbers, frozenset(full.intersection(SINGLE_DIMENSIONS)))


async def slot_rollups(
    reader: StoreReader, views: DayViews, level: Level, block: int, slots: Sequence[int]
) -> AsyncIterator[list[SlotRollup]]:
    """Yield what these slots of a block count, without those that count nothing, view by view; shards are added up.

    Raises StateLost where cells never hold still, and DamagedCells.
    """
    at_once = max(1, CELLS_AT_ONCE_MAX // max(1, len(slots)))
    ordered = list(views.numbers)
    for at in range(0, len(ordered) if slots else 0, at_once):
        some = ordered[at : at + at_once]
        merged, trees = Merged(len(some) * len(slots)), Merged(len(some) * len(slots), trees=True)
        for place in await read_cells(reader, _cells(views, level, block, slots, some)):
            merged.add_cell(place.bucket, place.cell)
            if some[place.bucket // len(slots)].has_trees:
                trees.add_cell(place.bucket, place.cell)
        yield _rows(some, slots, merged, trees)


def _cells(
    views: DayViews, level: Level, block: int, slots: Sequence[int], some: Sequence[View]
) -> list[tuple[str, list[bytes], list[int]]]:
    """The places to read, by shard, each with its bucket: slots of a view stand together."""
    by_shard: dict[ProjectShard, tuple[list[bytes], list[int]]] = {}
    for position, view in enumerate(some):
        for shard, number in views.numbers[view].items():
            places, buckets = by_shard.setdefault(shard, ([], []))
            places += [place_of(slot, number) for slot in slots]
            buckets += range(position * len(slots), (position + 1) * len(slots))
    return [(shard.keys.rollups(shard.project, level, block), *of_shard) for shard, of_shard in by_shard.items()]


def _rows(some: Sequence[View], slots: Sequence[int], merged: Merged, trees: Merged) -> list[SlotRollup]:
    latencies = _by_bucket(merged, OF_LATENCY)
    usage, tree_usage = _by_bucket(merged, OF_USAGE), _by_bucket(trees, OF_USAGE)
    return [
        SlotRollup(
            slots[bucket % len(slots)],
            some[bucket // len(slots)],
            calls,
            merged.errors[bucket],
            latencies.get(bucket, {}).get(LATENCY),
            {model_of(name): totals for name, totals in usage.get(bucket, {}).items()},
            {model_of(name): totals for name, totals in tree_usage.get(bucket, {}).items()},
        )
        for bucket, calls in enumerate(merged.calls)
        if calls
    ]


def _by_bucket(merged: Merged, series: Series) -> dict[int, dict[bytes, Totals]]:
    """The totals of a kind of series by bucket and name, without those that count nothing any more."""
    found = merged.totals(series)
    by_bucket: dict[int, dict[bytes, Totals]] = {}
    for (bucket, name), row in zip(found.keys, found.rows.tolist(), strict=True):
        totals = found.large.get((bucket, name), row)
        if totals[0]:
            by_bucket.setdefault(bucket, {})[name] = totals
    return by_bucket
