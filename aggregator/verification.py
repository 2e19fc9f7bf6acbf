"""Recomputes rollups and subtree totals from call records and compares them with what is stored, number by number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec

from aggregator.call import Call, Subtree, usage_row
from aggregator.call_reading import IndexValues, read_calls, select_by_index, select_minutes
from aggregator.cells import SKETCHES, RollupKey, ViewMinute, spread
from aggregator.levels import HOURS, LEVELS, MINUTE_US, SECOND_US, Level, Retention
from aggregator.packed_id import unpack_id
from aggregator.redis_layout import PARENT, day_of, model_field, slot_field, slot_of
from aggregator.rollup import (
    COST_METRICS,
    ROLLUPS,
    TOKEN_METRICS,
    TOTALS,
    USAGE_METRICS,
    CallTally,
    Increment,
    Rollup,
    add,
)
from aggregator.sketch import centroids
from aggregator.store_reader import Command, OpenedProject, ProjectShard, StoreReader
from aggregator.timestamps import format_utc
from aggregator.view import ALL_CALLS, View, ViewDirectory, views_of

# Calls in memory at once are those of so many minutes: at 1,000 calls a second some 300 MB.
MINUTES_PER_READ = 5
COMMANDS_PER_READ = 500
IDS_PER_READ = 1_000
# While a shard is being written, records and rollups are read at different moments: then all is read again.
READS_MAX = 10

Element = TypeVar("Element")

_TOTALS = ("sum", "min", "max", "ones", "zeros")
_USAGE = (*TOKEN_METRICS, "requests", "uncached_input_cost", "cache_read_cost", "cache_creation_cost", "output_cost")


class Difference(msgspec.Struct, frozen=True):
    """A number that is stored differently from what the call records give. `key` says of what it is."""

    key: str
    field: str
    stored: int
    recomputed: int


class Piece(msgspec.Struct, frozen=True):
    """Whole minutes inside one UTC hour: `[start_us, end_us)`."""

    start_us: int
    end_us: int

    @property
    def minutes(self) -> range:
        """Its minutes since 1970."""
        return range(self.start_us // MINUTE_US, self.end_us // MINUTE_US)

    def each_minute(self) -> "list[Piece]":
        """Its minutes as pieces of their own."""
        return [Piece(minute * MINUTE_US, (minute + 1) * MINUTE_US) for minute in self.minutes]

    def slots(self, level: Level, reach_us: int) -> list[int]:
        """The slots of the day that lie wholly inside it and begin at or after `reach_us`."""
        first_us = -(-max(self.start_us, reach_us) // level.slot_us) * level.slot_us
        return [slot_of(at, level) for at in range(first_us, self.end_us - level.slot_us + 1, level.slot_us)]


def pieces(start_us: int, end_us: int) -> Iterator[Piece]:
    """The minutes that meet a window, hour by hour. No slot of any level reaches over the edge of an hour."""
    start_us = start_us // MINUTE_US * MINUTE_US
    end_us = -(-end_us // MINUTE_US) * MINUTE_US
    while start_us < end_us:
        next_us = min((start_us // HOURS.slot_us + 1) * HOURS.slot_us, end_us)
        yield Piece(start_us, next_us)
        start_us = next_us


async def reach_us(reader: StoreReader, project: OpenedProject, now_us: int, retention: Retention) -> int:
    """The first minute of which every call record is kept (microseconds since 1970)."""
    stored = await reader.fetch([("HGET", shard.keys.shard, "dropped_before_us") for shard in project.shards])
    kept_us = max([now_us - retention.calls_s * SECOND_US, *(int(dropped_us or 0) for dropped_us in stored)])
    return -(-kept_us // MINUTE_US) * MINUTE_US


async def verify(
    reader: StoreReader, project: OpenedProject, piece: Piece, now_us: int, retention: Retention, tree: bool
) -> list[Difference] | None:
    """Every difference in the rollups of a piece and, with `tree`, in the subtree totals of its calls.

    None where its calls come so fast that records and rollups could never be read as of the same moment.
    """
    previous: list[Difference] = []
    for _ in range(READS_MAX):
        before = await _next_offsets(reader, project)
        found: list[Difference] = []
        for shard in project.shards:
            found += await _verify_shard(reader, shard, piece, now_us, retention, tree)
        # What is found twice is not of the moment: the shards are written, but nothing of this piece.
        if not found or found == previous or before == await _next_offsets(reader, project):
            return found
        previous = found
    return None


async def _next_offsets(reader: StoreReader, project: OpenedProject) -> list[Any]:
    return await reader.fetch([("GET", shard.keys.next) for shard in project.shards])


async def _verify_shard(
    reader: StoreReader, shard: ProjectShard, piece: Piece, now_us: int, retention: Retention, tree: bool
) -> list[Difference]:
    day = day_of(piece.start_us)
    [stored_views] = await reader.fetch([("HGETALL", shard.keys.views(shard.project, day))])
    directory = ViewDirectory(stored_views)
    tallies: dict[ViewMinute, CallTally] = {}
    found: list[Difference] = []
    for minutes in _sliced(piece.minutes, MINUTES_PER_READ):
        calls = await _calls(reader, shard, minutes)
        found += _count(calls.values(), shard, directory, tallies)
        if tree:
            found += await _verify_trees(reader, shard, calls, day, day_of(now_us))
    expected = spread(tallies)
    for level in LEVELS:
        slots = piece.slots(level, now_us - retention.level_s(level) * SECOND_US)
        if slots:
            found += await _verify_level(reader, shard, level, day, slots, directory, expected)
    return found


async def _calls(reader: StoreReader, shard: ProjectShard, minutes: Iterable[int]) -> dict[int, Call]:
    project = OpenedProject([shard], None)
    calls = await read_calls(reader, await select_minutes(reader, project, minutes))
    return {number: call for (_, number), call in calls.items() if call.started_us is not None}


def _count(
    calls: Iterable[Call], shard: ProjectShard, directory: ViewDirectory, tallies: dict[ViewMinute, CallTally]
) -> Iterator[Difference]:
    """Count calls into the tallies of all their views; one that is not known, though it should be, is a difference."""
    for call in calls:
        assert call.started_us is not None
        minute, numbers = call.started_us // MINUTE_US, [ALL_CALLS]
        for view in views_of(call.op_name, call.parent is None, call.user_id, call.run_id):
            number = directory.numbers.get(view)
            if number is not None:
                numbers.append(number)
            elif view.dimensions not in directory.full:
                yield Difference(f"{shard.keys.shard} {_view_text(view)}", "view", 0, 1)
        for number in numbers:
            tally = tallies.setdefault(ViewMinute(shard.project, minute, number), CallTally())
            tally.calls += 1
            latency_ms = call.latency_ms
            if latency_ms is not None:
                tally.errors += call.failed
                tally.latencies_ms.append(latency_ms)
                for model, usage in call.usage.items():
                    tally.rows.setdefault(model, []).append(usage_row(usage))


async def _verify_level(
    reader: StoreReader,
    shard: ProjectShard,
    level: Level,
    day: int,
    slots: Sequence[int],
    directory: ViewDirectory,
    expected: Mapping[RollupKey, Increment],
) -> list[Difference]:
    names = {number: _view_text(view) for view, number in directory.numbers.items()} | {ALL_CALLS: "all calls"}
    found: list[Difference] = []
    fields = [slot_field(slot) for slot in slots]
    for views in _sliced(names, COMMANDS_PER_READ):
        keys = [RollupKey(shard.project, level, day, view, 0) for view in views]
        replies = await reader.fetch([("HMGET", shard.keys.rollups(*key[:4]), *fields) for key in keys])
        filled: dict[RollupKey, Rollup] = {}
        for key, values in zip(keys, replies, strict=True):
            for slot, value in zip(slots, values, strict=True):
                place = key._replace(slot=slot)
                stored = Rollup() if value is None else ROLLUPS.unpack(value)
                rollup = Rollup()
                if place in expected:
                    add(rollup, expected[place])
                if value is not None or place in expected:
                    filled[place] = rollup
                label = _label(shard, place, names[key.view])
                found += _differences(label, _numbers(stored), _numbers(rollup))
        found += await _verify_sketches(reader, shard, filled, names)
    return found


async def _verify_sketches(
    reader: StoreReader, shard: ProjectShard, filled: Mapping[RollupKey, Rollup], names: Mapping[int, str]
) -> list[Difference]:
    """Whether the sketches hold as many values as there are; which values is for the tests of the sketch."""
    found: list[Difference] = []
    for places in _sliced(filled.items(), COMMANDS_PER_READ):
        commands: list[Command] = []
        for place, rollup in places:
            field = slot_field(place.slot)
            models = (model_field(field, model) for model in rollup.models)
            commands.append(("HMGET", shard.keys.sketches(*place[:4]), field, *models))
        for (place, rollup), (latencies, *by_model) in zip(places, await reader.fetch(commands), strict=True):
            stored = {"latency_ms sketch values": _values(latencies)[0]}
            recomputed = {"latency_ms sketch values": rollup.finished}
            for (model, usage), packed in zip(rollup.models.items(), by_model, strict=True):
                for metric, values in zip(USAGE_METRICS, _values(packed), strict=False):
                    name = f"{model} {metric} sketch values"
                    stored[name] = values
                    recomputed[name] = usage.priced if metric in COST_METRICS else usage.rows
            found += _differences(_label(shard, place, names[place.view]), stored, recomputed)
    return found


def _values(packed: bytes | None) -> list[int]:
    """How many values each of the packed sketches holds; 0 where there are none."""
    if packed is None:
        return [0] * len(USAGE_METRICS)
    return [round(float(abs(centroids([sketch])[1]).sum())) for sketch in SKETCHES.unpack(packed)]


async def _verify_trees(
    reader: StoreReader, shard: ProjectShard, calls: Mapping[int, Call], first_day: int, last_day: int
) -> list[Difference]:
    """Whether each call's total is its own usage and state with the totals of its children, which roll up to it."""
    summed = {number: call.own() for number, call in calls.items()}
    project = OpenedProject([shard], None)
    # Clocks of children may differ by some minutes, over midnight too.
    days = await _days_with_children(reader, shard, range(first_day - 1, last_day + 2))
    for ids in _sliced((unpack_id(call.packed_id) for call in calls.values()), IDS_PER_READ):
        selected = await select_by_index(reader, project, IndexValues(PARENT, ids), days)
        for child in (await read_calls(reader, selected)).values():
            parent = calls.get(-1 if child.parent_number is None else child.parent_number)
            if parent is not None and child.parent_number is not None and child.trace == parent.trace:
                summed[child.parent_number].merge(child.total())
    found: list[Difference] = []
    for number, call in calls.items():
        label = f"{shard.keys.shard} subtree of {unpack_id(call.packed_id)}"
        found += _differences(label, _tree_numbers(call.total()), _tree_numbers(summed[number]))
    return found


async def _days_with_children(reader: StoreReader, shard: ProjectShard, days: Sequence[int]) -> list[int]:
    there = await reader.fetch([("EXISTS", shard.keys.postings(shard.project, PARENT, day)) for day in days])
    return [day for day, is_there in zip(days, there, strict=True) if is_there]


def _sliced(elements: Iterable[Element], size: int) -> Iterator[tuple[Element, ...]]:
    left = iter(elements)
    while part := tuple(islice(left, size)):
        yield part


def _differences(label: str, stored: Mapping[str, int], recomputed: Mapping[str, int]) -> Iterator[Difference]:
    for name in dict.fromkeys([*stored, *recomputed]):
        if stored.get(name, 0) != recomputed.get(name, 0):
            yield Difference(label, name, stored.get(name, 0), recomputed.get(name, 0))


def _numbers(rollup: Rollup) -> dict[str, int]:
    numbers = {"calls": rollup.calls, "errors": rollup.errors, "finished": rollup.finished}
    numbers |= _named(("latency_ms",), rollup.latency, "")
    for model, usage in rollup.models.items():
        numbers |= {f"{model} rows": usage.rows, f"{model} priced": usage.priced}
        numbers |= _named(USAGE_METRICS, usage.totals, f"{model} ")
    return numbers


def _named(metrics: Sequence[str], totals: Sequence[int], prefix: str) -> dict[str, int]:
    return {f"{prefix}{metrics[at // TOTALS]} {_TOTALS[at % TOTALS]}": number for at, number in enumerate(totals)}


def _tree_numbers(subtree: Subtree) -> dict[str, int]:
    numbers = {"unfinished": subtree.unfinished}
    for model, usage in subtree.usage.items():
        numbers |= {f"{model} {name}": number for name, number in zip(_USAGE, usage, strict=False)}
    return numbers


def _label(shard: ProjectShard, place: RollupKey, view: str) -> str:
    start_us = place.day * 86_400 * SECOND_US + place.slot * place.level.slot_us
    return f"{shard.keys.shard} {place.level.slot_s} s from {format_utc(start_us)} {view}"


def _view_text(view: View) -> str:
    return " ".join(f"{name}={value}" for name, value in view._asdict().items() if value is not None)
