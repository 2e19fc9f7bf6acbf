"""Exports a window of a project, day by day, each day of each table as one Parquet file, while workers go on."""

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import msgspec
import pyarrow as pa

from aggregator.reading.slot_rollups import day_views, slot_rollups
from aggregator.reading.verification import reach_us as calls_reach_us
from aggregator.reading.window_calls import minutes_in_pieces, started_calls
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, Level, Retention
from aggregator.store.reader import OpenedProject, StateLost, StoreReader
from aggregator.time_units import DAY_US, MINUTE_US
from aggregator.timestamps import format_utc
from callmeter.parquet import facts, rollups
from callmeter.parquet.row_file import RowFile
from callmeter.parquet.usage_lists import too_large

FACTS = "facts"
LEVELS = {"rollups-5m": FIVE_MINUTES, "rollups-1h": HOURS}
TABLES = (FACTS, *LEVELS)

# A day is read anew when Redis has lost something meanwhile, or a worker has begun anew.
READS_MAX = 5
# File systems take names of 255 bytes.
NAME_BYTES_MAX = 200


class NotExported(Exception):
    """A window cannot be exported; the message says why, in a sentence."""


class Window(NamedTuple):
    """What is exported: `[start_us, end_us)` of a project, into a directory, as of `now_us`."""

    project_id: str
    start_us: int
    end_us: int
    now_us: int
    directory: Path
    retention: Retention


class Exported(msgspec.Struct):
    """What one table came to. `too_large`: numbers that do not fit into 64 bits, and are null; `left_out`: on so many
    days a dimension had more values than are kept.
    """

    table: str
    files: int = 0
    rows: int = 0
    bytes: int = 0
    too_large: int = 0
    left_out: int = 0


class _Day(NamedTuple):
    """The part of a window that lies in one UTC day (since 1970)."""

    number: int
    start_us: int
    end_us: int


def days_of(start_us: int, end_us: int) -> Iterator[_Day]:
    """Yield the days that a window meets."""
    for number in range(start_us // DAY_US, -(-end_us // DAY_US)):
        yield _Day(number, max(start_us, number * DAY_US), min(end_us, (number + 1) * DAY_US))


async def export_table(reader: StoreReader, window: Window, table: str, done: Callable[[int], None]) -> Exported:
    """Write the files of one table; `done` is told of minutes of the window that are done.

    Raises NotExported where the window reaches further back than is kept, also where that changes meanwhile; files of
    days that were finished before stay.
    """
    exported = Exported(table)
    for day in days_of(window.start_us, window.end_us):
        for attempt in range(READS_MAX):
            try:
                await _export_day(reader, window, table, day, exported, done)
                break
            except StateLost as lost:
                if attempt == READS_MAX - 1:
                    raise NotExported(f"{lost}, again and again: try again when workers have settled") from None
    return exported


async def check_reach(reader: StoreReader, window: Window, table: str) -> OpenedProject:
    """Open the project. Raises NotExported where it is not known, or does not reach back to the window's start."""
    project = await reader.open_project(window.project_id)
    if not project.shards:
        raise NotExported(f"no call of {window.project_id} is known")
    retention = project.retention or window.retention
    if table == FACTS:
        kept_us = await calls_reach_us(reader, project, window.now_us, retention)
        reach_us, what = max(kept_us, retention.calls_reach_us(window.now_us)), "call records"
    else:
        reach_us, what = retention.level_reach_us(LEVELS[table], window.now_us), f"rollups of {table[-2:]}"
    if window.start_us < reach_us:
        raise NotExported(
            f"{what} of {window.project_id} reach back to {format_utc(reach_us)}: export {table} from there on"
        )
    return project


async def _export_day(
    reader: StoreReader, window: Window, table: str, day: _Day, exported: Exported, done: Callable[[int], None]
) -> None:
    project = await check_reach(reader, window, table)
    found = Exported(table)
    path = file_of(window.directory, table, day.number, window.project_id)
    columns = facts if table == FACTS else rollups
    told = {"callmeter.start": format_utc(day.start_us), "callmeter.end": format_utc(day.end_us)}
    with RowFile(path, columns.SCHEMA, columns.SORTED_BY, columns.FEW_VALUES, told) as file:
        if table == FACTS:
            batches = _facts(reader, project, window.project_id, day, done)
        else:
            batches = _rollups(reader, project, window.project_id, day, LEVELS[table], found)
        async for rows in batches:
            file.add(rows)
            found.too_large += sum(too_large(rows.column(name)) for name in ("usage", "tree_usage"))
        # Nothing was lost, and nothing has expired, between the first look and the last.
        await reader.fetch_of(project, [])
        await check_reach(reader, window._replace(start_us=day.start_us), table)
    if table != FACTS:
        done((day.end_us - day.start_us) // MINUTE_US)
    exported.files += 1
    exported.rows += file.rows
    exported.bytes += path.stat().st_size
    exported.too_large += found.too_large
    exported.left_out += found.left_out


async def _facts(
    reader: StoreReader, project: OpenedProject, project_id: str, day: _Day, done: Callable[[int], None]
) -> AsyncIterator[pa.RecordBatch]:
    for minutes in minutes_in_pieces(day.start_us, day.end_us):
        async for calls in started_calls(reader, project, minutes, day.start_us, day.end_us):
            if calls:
                yield facts.facts_of(project_id, calls)
        done(len(minutes))


async def _rollups(
    reader: StoreReader, project: OpenedProject, project_id: str, day: _Day, level: Level, found: Exported
) -> AsyncIterator[pa.RecordBatch]:
    views = await day_views(reader, project, day.number)
    found.left_out = int(bool(views.full))
    slots = _whole_slots(day, level)
    async for some in slot_rollups(reader, views, level, day.number, slots):
        if some:
            yield rollups.rollups_of(project_id, day.number * DAY_US, level.slot_s, some)


def _whole_slots(day: _Day, level: Level) -> Sequence[int]:
    """The slots of a day that lie wholly in the window; blocks of these levels are days."""
    begin_us = day.number * DAY_US
    return range(-(-(day.start_us - begin_us) // level.slot_us), (day.end_us - begin_us) // level.slot_us)


def file_of(directory: Path, table: str, day: int, project_id: str) -> Path:
    """Return where a day (since 1970) of a project's table is written: the same place whenever it is exported."""
    name = quote(project_id, safe="").replace(".", "%2E")
    if len(name) > NAME_BYTES_MAX:
        digest = hashlib.sha256(project_id.encode()).hexdigest()
        name = f"{name[: NAME_BYTES_MAX - len(digest)]}-{digest}"
    return directory / table / f"day={format_utc(day * DAY_US)[:10]}" / f"{name}.parquet"
