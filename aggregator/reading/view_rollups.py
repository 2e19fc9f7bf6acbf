"""Reading the rollups of every view of some dimensions, each by itself: what labelled series are made of."""

from collections.abc import Mapping
from typing import NamedTuple

from aggregator.reading.cells import CellsOfBuckets, add_cells
from aggregator.reading.rollups import TooMuchToRead, Wanted, read_directories
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import place_of
from aggregator.rollups.view import MODEL, OP, RUN, USER, View
from aggregator.rollups.views import ALL_CALLS, FACETS, NotKept, ViewDirectory, covers
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader

# Series of one answer, before labels are added up: some KB each for every hundred steps.
VIEWS_AT_ONCE_MAX = 5_000
# Numbers of one answer, before labels are added up: series x intervals, 16 bytes each and what is counted in them.
BUCKETS_AT_ONCE_MAX = 2_000_000
FIELDS_PER_ROUND_TRIP = 20_000
# A month of minutes in 23 views. Beyond, the answer would take seconds of both Redis and the api.
FIELDS_READ_MAX = 1_000_000

ALL = View()
_SINGLE = {OP, USER, RUN}


class ViewRollups(NamedTuple):
    """What was read: the bucket of the view `views[at]` in interval `i` is `at * intervals + i` of `merged`."""

    views: list[View]
    intervals: int
    merged: Merged


async def read_view_rollups(
    reader: StoreReader,
    project: OpenedProject,
    wanted: Wanted,
    intervals: int,
    dimensions: int,
    latency_values: bool,
    usage_values: bool,
    of_models: bool = False,
    views_max: int = VIEWS_AT_ONCE_MAX,
    buckets_max: int = BUCKETS_AT_ONCE_MAX,
) -> ViewRollups:
    """Read the slots of `wanted` (by block: slot to interval) for all views that tell these dimensions apart.

    No dimension: the view of all calls. One: its values, and all calls. Several: every combination, and every op.
    `of_models`: instead the views of each model, or of each combination of a model and all dimensions. Raises NotKept
    where a day has more values than are kept, and TooMuchToRead.
    """
    days = sorted({block.day for block in wanted})
    pairs = [(shard, day) for shard in project.shards for day in days]
    numbers: dict[View, int] = {}
    chosen: dict[tuple[ProjectShard, int], list[tuple[int, int]]] = {}
    is_all = not dimensions and not of_models
    directories = [ViewDirectory() for _ in pairs] if is_all else await _directories(reader, pairs)
    choose = views_by_model if of_models else views_by_combination
    for pair, directory in zip(pairs, directories, strict=True):
        of_day = choose(directory, dimensions)
        chosen[pair] = [(number, numbers.setdefault(view, len(numbers))) for view, number in of_day.items()]
    if len(numbers) > views_max:
        raise TooMuchToRead(f"the query needs {len(numbers):,} series, more than {views_max:,}")
    if len(numbers) * intervals > buckets_max:
        raise TooMuchToRead(
            f"the query needs {len(numbers):,} series at {intervals:,} steps, more than {buckets_max:,} "
            "values: match fewer, or ask for a larger step"
        )
    merged = Merged(max(1, len(numbers) * intervals))
    await _read(reader, wanted, chosen, intervals, merged, latency_values, usage_values)
    return ViewRollups(list(numbers), intervals, merged)


async def _directories(reader: StoreReader, pairs: list[tuple[ProjectShard, int]]) -> list[ViewDirectory]:
    keys = [shard.keys.views(shard.project, day) for shard, day in pairs]
    return [ViewDirectory(fields) for fields in await read_directories(reader, keys, None)]


def views_by_combination(directory: ViewDirectory, dimensions: int) -> dict[View, int]:
    """Numbers of the views that together count each call once, told apart by these dimensions. Raises NotKept."""
    if not dimensions:
        return {ALL: ALL_CALLS}
    is_single = dimensions & (dimensions - 1) == 0
    kept_full = {full for full in directory.full if not full & FACETS}
    needed = {dimensions} if is_single else {full for full in kept_full if full & (full - 1) or full == OP}
    if needed & directory.full:
        raise NotKept
    found = {ALL: ALL_CALLS} if is_single and dimensions in {*_SINGLE, 2} - {OP} else {}
    for view, number in directory.numbers.items():
        kept = view.dimensions
        if kept & FACETS:  # counts a part of the calls of another view
            continue
        if kept == dimensions if is_single else (kept == OP or kept & (kept - 1)):
            found[view] = number
    return found


def views_by_model(directory: ViewDirectory, dimensions: int) -> dict[View, int]:
    """Numbers of the views that together count each call once for each of its models. Raises NotKept."""
    needed = MODEL if not dimensions else MODEL | OP  # every combination has an op
    if any(covers(full, needed) for full in directory.full):
        raise NotKept
    return {view: number for view, number in directory.numbers.items() if covers(view.dimensions, needed)}


async def _read(
    reader: StoreReader,
    wanted: Wanted,
    chosen: Mapping[tuple[ProjectShard, int], list[tuple[int, int]]],
    intervals: int,
    merged: Merged,
    latency_values: bool,
    usage_values: bool,
) -> None:
    pieces = []
    for (shard, day), views in chosen.items():
        for block, slots in wanted.items():
            if block.day == day:
                pieces += [(shard.keys.rollups(shard.project, *block), slots, view) for view in views]
    if sum(len(slots) for _, slots, _ in pieces) > FIELDS_READ_MAX:
        raise TooMuchToRead(
            f"the query needs more than {FIELDS_READ_MAX:,} rollups: ask for a shorter range or fewer labels"
        )
    at = 0
    while at < len(pieces):
        asked: list[CellsOfBuckets] = []
        fields = 0
        while at < len(pieces) and (not fields or fields + len(pieces[at][1]) <= FIELDS_PER_ROUND_TRIP):
            key, slots, (number, position) = pieces[at]
            places = [place_of(slot, number) for slot in slots]
            asked.append((key, places, [position * intervals + interval for interval in slots.values()]))
            fields += len(places)
            at += 1
        await add_cells(reader, asked, merged, latency_values, usage_values)
