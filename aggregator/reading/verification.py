"""Recomputes rollups and subtree totals from call records and compares them with what is stored, number by number."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from aggregator.calls.call import Call
from aggregator.layout.keys import day_of
from aggregator.layout.open_minutes import COARSER_LEVELS, OPEN_FIELD, open_minutes_of
from aggregator.layout.slots import slots_of
from aggregator.reading.calls import read_calls, select_minutes
from aggregator.reading.cell_numbers import (
    recomputed_numbers,
    stored_numbers,
    totals_of,
    usage_text,
    values_in_overflow,
)
from aggregator.reading.cells import FoundCell, beside_of, read_cells
from aggregator.reading.differences import Difference, differences, sliced
from aggregator.reading.tree_verification import verify_trees
from aggregator.rollups.cell import Cell, place_of, rows_field, sketches_field
from aggregator.rollups.facets import count_facets, error_facet_of
from aggregator.rollups.levels import HOURS, LEVELS, Level, Retention
from aggregator.rollups.series import LATENCY, USAGE_METRICS, series_of, tree_series
from aggregator.rollups.tally import CallTally, PackedTally, merge_tallies
from aggregator.rollups.totals import PRICED, ROWS
from aggregator.rollups.view import View
from aggregator.rollups.views import ALL_CALLS, ViewDirectory, facet_views_of, views_of
from aggregator.store.reader import Command, OpenedProject, ProjectShard, StateLost, StoreReader
from aggregator.time_units import MINUTE_US, SECOND_US
from aggregator.timestamps import format_utc

# Calls in memory at once are those of so many minutes: at 1,000 calls a second some 300 MB.
MINUTES_PER_READ = 5
COMMANDS_PER_READ = 500
# While a shard is being written, records and rollups are read at different moments: then all is read again.
READS_MAX = 10

_NOTHING: Mapping[int, int] = {}

_MinuteView = tuple[int, int]
"""A minute (since 1970) and a view."""

_CellKey = tuple[str, bytes]
"""The key of a block of rollups, and the place of a cell in it."""


class Piece(msgspec.Struct, frozen=True):
    """Whole minutes inside one UTC hour: `[start_us, end_us)`."""

    start_us: int
    end_us: int

    @property
    def minutes(self) -> range:
        """Return the piece's minutes since 1970."""
        return range(self.start_us // MINUTE_US, self.end_us // MINUTE_US)

    def each_minute(self) -> "list[Piece]":
        """Return the piece's minutes as pieces of their own."""
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
        try:
            for shard in project.shards:
                found += await _verify_shard(reader, shard, piece, now_us, retention, tree)
        except StateLost:  # cells are being sealed
            continue
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
    for minutes in sliced(piece.minutes, MINUTES_PER_READ):
        calls = await _calls(reader, shard, minutes)
        found += _count(calls.values(), shard, directory, tallies)
        if tree:
            found += await verify_trees(reader, shard, calls, day, day_of(now_us))
    with_trees = {number for view, number in directory.numbers.items() if view.has_trees}
    expected = _by_cell(shard, tallies, with_trees, await _open_minutes(reader, shard, day))
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
        minute = call.started_us // MINUTE_US
        for facet, views in _views_by_facet(call).items():
            numbers = [] if facet else [ALL_CALLS]
            for view in views:
                number = directory.numbers.get(view)
                if number is not None:
                    numbers.append(number)
                elif view.dimensions not in directory.full:
                    yield Difference(f"{shard.keys.shard} {_view_text(view)}", "view", 0, 1)
            for number in numbers:
                _count_call(call, facet, tallies.setdefault((minute, number), CallTally()))


def _views_by_facet(call: Call) -> dict[str | None, list[View]]:
    """The views of a call, besides that of all calls, by facet; None: those of no facet."""
    values = call.op_name, call.parent is None, call.user_id, call.run_id
    facets: dict[str, CallTally] = {}
    if call.is_ended:
        count_facets(call, lambda facet: facets.setdefault(facet, CallTally()))
    return {None: views_of(*values)} | {facet: facet_views_of(*values, facet) for facet in facets}


def _count_call(call: Call, facet: str | None, tally: CallTally) -> None:
    """Count a call in a view of this facet."""
    if facet is None:
        tally.calls += 1
        if call.is_ended:
            tally.add_end(call)
    else:
        count_facets(call, lambda one: tally if one == facet else CallTally())
    if call.is_root and (facet is None or facet == error_facet_of(call)):
        tally.tree_rows.replace(tree_series, {}, call.tree_usage())


async def _open_minutes(reader: StoreReader, shard: ProjectShard, day: int) -> dict[str, dict[int, int]]:
    """The minutes that blocks of coarser levels lack, by key, with the first view that they lack of each."""
    keys = [shard.keys.rollups(shard.project, level, day) for level in COARSER_LEVELS]
    stored = await reader.fetch([("HGET", key, OPEN_FIELD) for key in keys])
    return {key: open_minutes_of(day, one) for key, one in zip(keys, stored, strict=True)}


def _by_cell(
    shard: ProjectShard,
    tallies: Mapping[_MinuteView, CallTally],
    with_trees: Container[int],
    lacking: Mapping[str, Mapping[int, int]],
) -> dict[_CellKey, PackedTally]:
    """Return what each cell of each level should count; `with_trees`: views that count trees, `lacking`: minutes that
    blocks lack from a view on.
    """
    packed_tallies: dict[_CellKey, list[PackedTally]] = {}
    for (minute, view), tally in tallies.items():
        packed = tally.packed(view in with_trees)
        for slot in slots_of(shard.project, minute, shard.keys):
            if view >= lacking.get(slot.key, _NOTHING).get(minute, view + 1):
                continue
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
    for views in sliced(names, COMMANDS_PER_READ):
        places = {place_of(slot, view): (slot, view) for view in views for slot in slots}
        fields = list(places)
        own = await read_cells(reader, [(key, fields, [0] * len(fields))], with_open_minutes=False)
        there = {found.place: found for found in own}
        cells: dict[str, FoundCell] = {}
        for place, (slot, view) in places.items():
            found_cell = there.get(place, FoundCell(key, place, 0, Cell()))
            start_us = (block * level.block_slots + slot) * level.slot_us
            label = f"{shard.keys.shard} {level.slot_s} s from {format_utc(start_us)} {names[view]}"
            recomputed = expected.get((key, place), CallTally().packed())
            found += differences(label, stored_numbers(found_cell.cell), recomputed_numbers(recomputed))
            cells[label] = found_cell
        found += await _verify_values(reader, key, cells)
    return found


async def _verify_values(reader: StoreReader, key: str, cells: Mapping[str, FoundCell]) -> list[Difference]:
    """Whether as many values are beside the cells as their totals count; which ones is for the tests of the sketch."""
    found: list[Difference] = []
    named = [(label, cell, name) for label, cell in cells.items() for name in cell.cell.overflow]
    for part in sliced(named, COMMANDS_PER_READ):
        hot = [(cell.place, name) for _, cell, name in part if cell.beside is None]
        commands: list[Command] = [
            ("HMGET", key, rows_field(place, name), sketches_field(place, name)) for place, name in hot
        ]
        replies = iter(await reader.fetch(commands))
        for label, cell, name in part:
            overflow = beside_of(*next(replies)) if cell.beside is None else cell.beside[name]
            metrics = ("latency_ms",) if name == LATENCY else USAGE_METRICS
            prefix = "" if name == LATENCY else f"{usage_text(name)} "
            stored = {
                f"{prefix}{metric} sketch values": count
                for metric, count in zip(metrics, values_in_overflow(name, overflow), strict=True)
            }
            costs_at = series_of(name).layout.costs_at
            totals = totals_of(cell.cell, name, overflow=True)
            counted = {
                f"{prefix}{metric} sketch values": totals[PRICED if at >= costs_at else ROWS]
                for at, metric in enumerate(metrics)
            }
            found += differences(label, stored, counted)
    return found


def _view_text(view: View) -> str:
    return " ".join(f"{name}={value}" for name, value in view._asdict().items() if value is not None)
