"""Recomputes rollups and subtree totals from call records and compares them with what is stored, number by number."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec

from aggregator.calls.call import Call, Subtree
from aggregator.calls.packed_id import unpack_id
from aggregator.layout.keys import PARENT, day_of
from aggregator.layout.slots import slots_of
from aggregator.reading.calls import IndexValues, read_calls, select_by_index, select_minutes
from aggregator.rollups.cell import CELL_CODEC, SKETCHES_CODEC, Cell, place_of, rows_field, sketches_field
from aggregator.rollups.levels import HOURS, LEVELS, MINUTE_US, SECOND_US, Level, Retention
from aggregator.rollups.series import LATENCY, TOKEN_METRICS, USAGE_METRICS, model_of, series_of
from aggregator.rollups.sketch import centroids
from aggregator.rollups.tally import CallTally, PackedTally, merge_tallies
from aggregator.rollups.totals import PRICED, ROWS, Totals
from aggregator.rollups.views import ALL_CALLS, View, ViewDirectory, views_of
from aggregator.store.reader import Command, OpenedProject, ProjectShard, StoreReader
from aggregator.timestamps import format_utc

# Calls in memory at once are those of so many minutes: at 1,000 calls a second some 300 MB.
MINUTES_PER_READ = 5
COMMANDS_PER_READ = 500
IDS_PER_READ = 1_000
# While a shard is being written, records and rollups are read at different moments: then all is read again.
READS_MAX = 10

Element = TypeVar("Element")

_MinuteView = tuple[int, int]
"""A minute (since 1970) and a view."""

_CellKey = tuple[str, bytes]
"""The key of a block of rollups, and the place of a cell in it."""

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
        """The slots, all of one block, that lie wholly inside it and begin at or after `reach_us`."""
        first_us = -(-max(self.start_us, reach_us) // level.slot_us) * level.slot_us
        begins = range(first_us, self.end_us - level.slot_us + 1, level.slot_us)
        return [level.block_and_slot(at // MINUTE_US)[1] for at in begins]


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
    tallies: dict[_MinuteView, CallTally] = {}
    found: list[Difference] = []
    for minutes in _sliced(piece.minutes, MINUTES_PER_READ):
        calls = await _calls(reader, shard, minutes)
        found += _count(calls.values(), shard, directory, tallies)
        if tree:
            found += await _verify_trees(reader, shard, calls, day, day_of(now_us))
    expected = _by_cell(shard, tallies)
    names = {number: _view_text(view) for view, number in directory.numbers.items()} | {ALL_CALLS: "all calls"}
    for level in LEVELS:
        slots = piece.slots(level, now_us - retention.level_s(level) * SECOND_US)
        if slots:
            block, _ = level.block_and_slot(piece.start_us // MINUTE_US)
            found += await _verify_block(reader, shard, level, block, slots, names, expected)
    return found


async def _calls(reader: StoreReader, shard: ProjectShard, minutes: Iterable[int]) -> dict[int, Call]:
    project = OpenedProject([shard], None)
    calls = await read_calls(reader, await select_minutes(reader, project, minutes))
    return {number: call for (_, number), call in calls.items() if call.started_us is not None}


def _count(
    calls: Iterable[Call], shard: ProjectShard, directory: ViewDirectory, tallies: dict[_MinuteView, CallTally]
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
            tally = tallies.setdefault((minute, number), CallTally())
            tally.calls += 1
            if call.is_ended:
                tally.add_end(call, call.latency_ms)


def _by_cell(shard: ProjectShard, tallies: Mapping[_MinuteView, CallTally]) -> dict[_CellKey, PackedTally]:
    """What each cell of each level should count."""
    packed_tallies: dict[_CellKey, list[PackedTally]] = {}
    for (minute, view), tally in tallies.items():
        packed = tally.packed()
        for slot in slots_of(shard.project, minute, shard.keys):
            packed_tallies.setdefault((slot.key, place_of(slot.number, view)), []).append(packed)
    return {cell_key: merge_tallies(of_cell) for cell_key, of_cell in packed_tallies.items()}


async def _verify_block(
    reader: StoreReader,
    shard: ProjectShard,
    level: Level,
    block: int,
    slots: Sequence[int],
    names: Mapping[int, str],
    expected: Mapping[_CellKey, PackedTally],
) -> list[Difference]:
    """The cells of some slots of a block, in all views; `names` say what a view is."""
    found: list[Difference] = []
    key = shard.keys.rollups(shard.project, level, block)
    for views in _sliced(names, COMMANDS_PER_READ):
        places = {place_of(slot, view): (slot, view) for view in views for slot in slots}
        [values] = await reader.fetch([("HMGET", key, *places)])
        cells: dict[str, tuple[bytes, Cell]] = {}
        for (place, (slot, view)), packed in zip(places.items(), values, strict=True):
            stored = Cell() if packed is None else CELL_CODEC.unpack(packed)
            start_us = (block * level.block_slots + slot) * level.slot_us
            label = f"{shard.keys.shard} {level.slot_s} s from {format_utc(start_us)} {names[view]}"
            recomputed = expected.get((key, place), CallTally().packed())
            found += _differences(label, _stored_numbers(stored), _recomputed_numbers(recomputed))
            cells[label] = place, stored
        found += await _verify_values(reader, key, cells)
    return found


async def _verify_values(reader: StoreReader, key: str, cells: Mapping[str, tuple[bytes, Cell]]) -> list[Difference]:
    """Whether as many values are beside the cells as their totals count; which ones is for the tests of the sketch."""
    found: list[Difference] = []
    named = [(label, place, cell, name) for label, (place, cell) in cells.items() for name in cell.overflow]
    for part in _sliced(named, COMMANDS_PER_READ):
        commands: list[Command] = [
            ("HMGET", key, rows_field(place, name), sketches_field(place, name)) for _, place, _, name in part
        ]
        for (label, _, cell, name), overflow in zip(part, await reader.fetch(commands), strict=True):
            metrics = ("latency_ms",) if name == LATENCY else USAGE_METRICS
            prefix = "" if name == LATENCY else f"{model_of(name)} "
            stored = {
                f"{prefix}{metric} sketch values": count
                for metric, count in zip(metrics, _values_in_overflow(name, *overflow), strict=True)
            }
            costs_at = series_of(name).layout.costs_at
            totals = _totals_of(cell, name, overflow=True)
            counted = {
                f"{prefix}{metric} sketch values": totals[PRICED if at >= costs_at else ROWS]
                for at, metric in enumerate(metrics)
            }
            found += _differences(label, stored, counted)
    return found


def _values_in_overflow(name: bytes, rows: bytes | None, sketches: bytes | None) -> list[int]:
    """How many values of each metric are beside a cell."""
    series = series_of(name)
    totals = series.layout.of_values(series.unpack(rows or b""))
    costs_at, metrics = series.layout.costs_at, series.layout.metrics
    counts = [totals[PRICED if metric >= costs_at else ROWS] for metric in range(metrics)]
    for metric, sketch in enumerate(SKETCHES_CODEC.unpack(sketches) if sketches else []):
        counts[metric] += round(float(abs(centroids([sketch])[1]).sum()))
    return counts


def _totals_of(cell: Cell, name: bytes, overflow: bool = False) -> Totals:
    """All that a cell says of a series, in one; `beside`: without the rows in the cell."""
    series = series_of(name)
    layout = series.layout
    totals = layout.none() if overflow else layout.of_values(series.unpack(cell.rows.get(name, b"")))
    if name in cell.totals:
        layout.merge(totals, layout.unpack(cell.totals[name])[0].tolist())
    if name in cell.large:
        layout.merge(totals, cell.large[name])
    return totals


def _stored_numbers(cell: Cell) -> dict[str, int]:
    names = dict.fromkeys([*cell.rows, *cell.totals, *cell.large])
    return _numbers(cell.calls, cell.errors, {name: _totals_of(cell, name) for name in names})


def _recomputed_numbers(packed: PackedTally) -> dict[str, int]:
    totals: dict[bytes, Totals] = {}
    for name in dict.fromkeys([*packed.rows, *packed.large]):
        series = series_of(name)
        rows = series.unpack(packed.rows.get(name, b""))
        totals[name] = series.layout.of_values([*rows, *packed.large.get(name, ())])
    return _numbers(packed.calls, packed.errors, totals)


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


def _numbers(calls: int, errors: int, totals: Mapping[bytes, Totals]) -> dict[str, int]:
    numbers = {"calls": calls, "errors": errors}
    for name, of_series in totals.items():
        layout = series_of(name).layout
        if name == LATENCY:
            metrics: Sequence[str] = ("latency_ms",)
            numbers["finished"] = of_series[ROWS]
        else:
            model = model_of(name)
            metrics = [f"{model} {metric}" for metric in USAGE_METRICS]
            numbers |= {f"{model} rows": of_series[ROWS], f"{model} priced": of_series[PRICED]}
        for at, metric in enumerate(metrics):
            if of_series[PRICED if at >= layout.costs_at else ROWS]:
                numbers[f"{metric} sum"] = layout.sum(of_series, at)
                numbers[f"{metric} min"] = of_series[layout.minima + at]
                numbers[f"{metric} max"] = of_series[layout.maxima + at]
                numbers[f"{metric} ones"] = of_series[layout.ones + at]
                numbers[f"{metric} zeros"] = of_series[layout.zeros + at]
    return numbers


def _tree_numbers(subtree: Subtree) -> dict[str, int]:
    numbers = {"unfinished": subtree.unfinished}
    for model, usage in subtree.usage.items():
        numbers |= {f"{model} {name}": number for name, number in zip(_USAGE, usage, strict=False)}
    return numbers


def _view_text(view: View) -> str:
    return " ".join(f"{name}={value}" for name, value in view._asdict().items() if value is not None)
