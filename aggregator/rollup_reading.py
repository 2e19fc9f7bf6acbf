"""Reading rollups and their sketches for the slots and views that an answer needs, in two round trips."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aggregator.cells import SKETCHES
from aggregator.levels import Level
from aggregator.merged import Merged
from aggregator.redis_layout import model_field, slot_field
from aggregator.rollup import ROLLUPS, Rollup
from aggregator.sketch import Packed
from aggregator.store_reader import Command, OpenedProject, ProjectShard, StoreReader
from aggregator.view import ALL_CALLS, ViewDirectory, ViewFilter, select

# A month of minutes in 23 views. Beyond, the answer would take seconds of both Redis and the api.
FIELDS_READ_MAX = 1_000_000
# Views looked through to find those that match a filter: some 2 µs each. A project that is full of them, for a month.
VIEWS_READ_MAX = 1_000_000


class TooMuchToRead(Exception):
    """The answer would need more than a limit allows to be read for one request."""


class LevelDay(NamedTuple):
    """One UTC day of a level."""

    level: Level
    day: int


class _Place(NamedTuple):
    """A rollup that was found, and the bucket it belongs to."""

    sketch_key: str
    field: bytes
    bucket: int
    rollup: Rollup


Wanted = Mapping[LevelDay, Mapping[int, int]]
"""By day of a level: which slots, and the bucket each belongs to."""


async def read_rollups(
    reader: StoreReader,
    project: OpenedProject,
    wanted: Wanted,
    views: ViewFilter,
    into: Mapping[int, Merged] | list[Merged],
    latency_sketches: bool,
    usage_sketches: bool,
) -> None:
    """Merge the wanted slots into their buckets. Raises NotKept and TooMuchToRead."""
    selected = await _selected_views(reader, project, wanted, views)
    places = await _read_totals(reader, wanted, selected, into)
    if latency_sketches or usage_sketches:
        await _read_sketches(reader, places, into, latency_sketches, usage_sketches)


async def _selected_views(
    reader: StoreReader, project: OpenedProject, wanted: Wanted, views: ViewFilter
) -> list[tuple[ProjectShard, int, list[int]]]:
    """By shard and day, the numbers of the views to read."""
    days = sorted({level_day.day for level_day in wanted})
    if not views.dimensions:
        return [(shard, day, [ALL_CALLS]) for shard in project.shards for day in days]
    pairs = [(shard, day) for shard in project.shards for day in days]
    sizes = await reader.fetch([("HLEN", shard.keys.views(shard.project, day)) for shard, day in pairs])
    if sum(sizes) > VIEWS_READ_MAX:
        raise TooMuchToRead(f"the filter has to be compared with more than {VIEWS_READ_MAX:,} views")
    stored = await reader.fetch([("HGETALL", shard.keys.views(shard.project, day)) for shard, day in pairs])
    return [
        (shard, day, select(ViewDirectory(fields), views)) for (shard, day), fields in zip(pairs, stored, strict=True)
    ]


async def _read_totals(
    reader: StoreReader,
    wanted: Wanted,
    selected: Sequence[tuple[ProjectShard, int, list[int]]],
    into: Mapping[int, Merged] | list[Merged],
) -> list[_Place]:
    by_day: dict[int, list[tuple[Level, list[bytes], list[int]]]] = {}
    for (level, day), slots in wanted.items():
        by_day.setdefault(day, []).append((level, [slot_field(slot) for slot in slots], list(slots.values())))
    commands: list[Command] = []
    sketch_keys: list[tuple[str, list[bytes], list[int]]] = []
    fields_read = 0
    for shard, day, views in selected:
        for level, fields, buckets in by_day[day]:
            fields_read += len(fields) * len(views)
            if fields_read > FIELDS_READ_MAX:
                raise TooMuchToRead(f"the answer needs more than {FIELDS_READ_MAX:,} rollups")
            for view in views:
                commands.append(("HMGET", shard.keys.rollups(shard.project, level, day, view), *fields))
                sketch_keys.append((shard.keys.sketches(shard.project, level, day, view), fields, buckets))
    places = []
    unpack = ROLLUPS.unpack
    for values, (sketch_key, fields, buckets) in zip(await reader.fetch(commands), sketch_keys, strict=True):
        for value, field, bucket in zip(values, fields, buckets, strict=True):
            if value is not None:
                rollup = unpack(value)
                into[bucket].add_rollup(rollup)
                places.append(_Place(sketch_key, field, bucket, rollup))
    return places


async def _read_sketches(
    reader: StoreReader, places: list[_Place], into: Mapping[int, Merged] | list[Merged], latency: bool, usage: bool
) -> None:
    by_key: dict[str, list[tuple[bytes, int, str | None]]] = {}
    for place in places:
        fields = by_key.setdefault(place.sketch_key, [])
        if latency and place.rollup.finished:
            fields.append((place.field, place.bucket, None))
        if usage:
            fields.extend((model_field(place.field, model), place.bucket, model) for model in place.rollup.models)
    by_key = {key: fields for key, fields in by_key.items() if fields}
    if sum(map(len, by_key.values())) > FIELDS_READ_MAX:
        raise TooMuchToRead(f"the answer's percentiles need more than {FIELDS_READ_MAX:,} sketches")
    replies = await reader.fetch([("HMGET", key, *(field[0] for field in fields)) for key, fields in by_key.items()])
    for values, fields in zip(replies, by_key.values(), strict=True):
        for value, (_, bucket, model) in zip(values, fields, strict=True):
            if value is None:
                continue
            sketches: list[Packed] = SKETCHES.unpack(value)
            if model is None:
                into[bucket].add_latencies(sketches[0])
            else:
                into[bucket].add_usage(model, sketches)
