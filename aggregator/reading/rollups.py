"""Reading rollups: the cells of the slots and views that an answer needs, merged into its buckets."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from aggregator.reading.cells import CellsOfBuckets, add_cells
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import place_of
from aggregator.rollups.levels import Level
from aggregator.rollups.views import ALL_CALLS, ViewDirectory, ViewFilter, fields_to_select, may_be_selected, select
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader
from aggregator.time_units import DAY_S

# A month of minutes in 23 views. Beyond, the answer would take seconds of both Redis and the api.
FIELDS_READ_MAX = 1_000_000
# Read, and merged, between two looks at what else there is to do: some milliseconds.
FIELDS_AT_ONCE_MAX = 1_000
# Of cells and sketches that are merged for one stretch of buckets. A month of percentiles of five models, in one
# bucket, is some 90 MB.
READ_BYTES_MAX = 256 * 2**20
# Views looked through to find those that match a filter: some 2 µs each. A project that is full of them, for a month.
VIEWS_READ_MAX = 1_000_000


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


async def read_rollups(
    reader: StoreReader,
    project: OpenedProject,
    wanted: Wanted,
    views: ViewFilter,
    into: Merged,
    latency_values: bool,
    usage_values: bool,
) -> None:
    """Merge the wanted slots into their buckets. Raises NotKept and TooMuchToRead."""
    selected = await _selected_views(reader, project, wanted, views)
    values_read = 0
    for batch in _batches(_reads(wanted, selected)):
        values_read += await add_cells(reader, batch, into, latency_values, usage_values)
        if values_read > FIELDS_READ_MAX:
            raise TooMuchToRead(f"the answer's percentiles need more than {FIELDS_READ_MAX:,} sketches")
        if into.size_bytes > READ_BYTES_MAX:
            raise TooMuchToRead(f"the answer needs more than {READ_BYTES_MAX // 2**20:,} MiB of rollups at once")


async def _selected_views(
    reader: StoreReader, project: OpenedProject, wanted: Wanted, views: ViewFilter
) -> list[tuple[ProjectShard, int, list[int]]]:
    """Return the numbers of the views to read, by shard and day."""
    days = sorted({block.day for block in wanted})
    if not views.dimensions:
        return [(shard, day, [ALL_CALLS]) for shard in project.shards for day in days]
    pairs = [(shard, day) for shard in project.shards for day in days]
    keys = [shard.keys.views(shard.project, day) for shard, day in pairs]
    stored = await read_directories(reader, keys, fields_to_select(views))
    return [
        (shard, day, select(ViewDirectory(may_be_selected(fields, views)), views))
        for (shard, day), fields in zip(pairs, stored, strict=True)
    ]


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


def _reads(wanted: Wanted, selected: Sequence[tuple[ProjectShard, int, list[int]]]) -> Iterator[CellsOfBuckets]:
    """Keys, fields, and the bucket of each field, no more fields at once than are read in one piece.

    Raises TooMuchToRead before the first of them where all are too many.
    """
    by_day: dict[int, list[tuple[LevelBlock, Mapping[int, int]]]] = {}
    for block, slots in wanted.items():
        by_day.setdefault(block.day, []).append((block, slots))
    slots_of = {day: sum(len(slots) for _, slots in blocks) for day, blocks in by_day.items()}
    if sum(slots_of[day] * len(views) for _, day, views in selected) > FIELDS_READ_MAX:
        raise TooMuchToRead(f"the answer needs more than {FIELDS_READ_MAX:,} rollups")
    for shard, day, views in selected:
        for block, slots in by_day[day] if views else ():
            key, buckets = shard.keys.rollups(shard.project, *block), list(slots.values())
            views_at_once = max(1, FIELDS_AT_ONCE_MAX // len(slots))
            for at in range(0, len(views), views_at_once):
                some = views[at : at + views_at_once]
                yield key, [place_of(slot, view) for view in some for slot in slots], buckets * len(some)


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
