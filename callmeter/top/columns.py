"""The columns of the rows: which of them a width has room for, and how a row is written in them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from rich.cells import set_cell_size
from rich.text import Text

from callmeter.top.view import DIMENSIONS, ORDERS_OF_MODELS, View
from callmeter.top.words import NOTHING, change, latency, op_name, percent, short, sparkline, usd

TROUBLED_SHARE = 0.05
NAME_CELLS_MIN = 20
NAME_CELLS_MAX = 60
TREND_CELLS = (24, 12, 8)


class Column(NamedTuple):
    """A column of numbers; `rank`: the higher, the sooner it gives way in a narrow terminal."""

    key: str
    title: str
    cells: int
    written: Callable[[Any], str]
    rank: int
    bad: bool = False


COLUMNS = (
    Column("count", "CALLS", 7, short, 0),
    Column("change", "±", 6, str, 5),
    Column("sum_error_count", "ERRORS", 7, short, 0, bad=True),
    Column("avg_error_count", "RATE", 6, percent, 0, bad=True),
    Column("p50_latency_ms", "P50", 8, latency, 4),
    Column("p95_latency_ms", "P95", 8, latency, 1),
    Column("sum_total_tokens", "TOKENS", 7, short, 2),
    Column("sum_total_cost", "COST", 8, usd, 1),
)


class Layout(NamedTuple):
    """What fits: cells of the name and of the trend, and the columns."""

    name_cells: int
    trend_cells: int
    columns: tuple[Column, ...]


def columns_for(width: int, view: View) -> Layout:
    """The layout of a terminal so wide: columns give way by rank, then the trend, before a name has no room."""
    known = [one for one in COLUMNS if view.dimension != "model" or one.key in (*ORDERS_OF_MODELS, "change")]
    for rank_max in (5, 4, 3, 2, 1, 0):
        columns = tuple(column for column in known if column.rank <= rank_max)
        taken = 2 + sum(column.cells + 1 for column in columns)
        for trend_cells in TREND_CELLS:
            room = width - taken - trend_cells - 1
            if room >= NAME_CELLS_MIN:
                return Layout(min(room, NAME_CELLS_MAX), trend_cells, columns)
    columns = tuple(column for column in known if column.rank == 0)
    return Layout(max(4, width - 2 - sum(column.cells + 1 for column in columns)), 0, columns)


def heading(layout: Layout, view: View) -> Text:
    """The titles; the one that orders has an arrow."""
    line = Text(f"  {set_cell_size(DIMENSIONS[view.dimension].upper(), layout.name_cells)}", "dim")
    if layout.trend_cells:
        line.append(f" {set_cell_size('TREND', layout.trend_cells)}")
    for column in layout.columns:
        ordering = view.order_by == column.key
        title = f"{column.title}{('↓' if view.order == 'desc' else '↑') if ordering else ''}"
        line.append(f" {title:>{column.cells}}", "bold not dim" if ordering else "")
    return line


def row_line(row: dict[str, Any], layout: Layout, view: View, trend: list[float] | None, selected: bool) -> Text:
    """One row; the chosen one is marked and reversed, troubled numbers are red and have a mark."""
    troubled = bool(row.get("sum_error_count")) and (row.get("avg_error_count") or 0) >= TROUBLED_SHARE
    mark = "›" if selected else "!" if troubled else " "
    line = Text.assemble((f"{mark} ", "bold red" if troubled else "bold"))
    line.append(set_cell_size(row_name(row["value"], view), layout.name_cells), "bold" if selected else "")
    if layout.trend_cells:
        line.append(f" {sparkline(trend or [], layout.trend_cells):<{layout.trend_cells}}", "cyan")
    for column in layout.columns:
        style = "red" if column.bad and troubled else ""
        line.append(f" {_number(row, column):>{column.cells}}", style)
    if selected:
        line.stylize("reverse")
    return line


def row_name(value: object, view: View) -> str:
    """A row's value in words."""
    if value is None:
        return "(none)"
    if value == "":
        return "(empty)"
    return op_name(str(value)) if view.dimension == "op_name" else str(value)


def _number(row: dict[str, Any], column: Column) -> str:
    if column.key == "change":
        return change(row["count"], (row.get("previous") or {}).get("count")) or NOTHING
    return column.written(row.get(column.key))
