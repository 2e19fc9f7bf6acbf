"""The cells of a coarser block as they would be if the minutes that it lacks were added to it."""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from aggregator.layout.open_minutes import OPEN_FIELD, open_minutes_of
from aggregator.rollups.levels import MINUTES, Level
from aggregator.rollups.series import series_of
from tests.support.cell_state import NOTHING, cells_of

Json = dict[str, Any]
Place = tuple[int, Any]


def whole_cells(
    kept: Mapping[bytes, bytes],
    level: Level,
    block: int,
    views: Mapping[int, Any],
    unsealed: Callable[[Mapping[bytes, bytes]], Mapping[bytes, bytes]],
    minutes: Callable[[int], Mapping[bytes, bytes]],
) -> dict[Place, Json]:
    """Returns what `cells_of` says of a block and the minutes that it lacks; `minutes`: what a block of them holds."""
    found = cells_of(unsealed(kept), views)
    for minute, first_view in open_minutes_of(block, kept.get(OPEN_FIELD)).items():
        hour, within = MINUTES.block_and_slot(minute)
        _, slot = level.block_and_slot(minute)
        lacking = {view: name for view, name in views.items() if view >= first_view}
        fields = unsealed(minutes(hour))
        ours = {
            field: value
            for field, value in fields.items()
            if int.from_bytes(field[:2], "big") == within and int.from_bytes(field[2:5], "big") in lacking
        }
        for (_, view), cell in cells_of(ours, views).items():
            _add(found.setdefault((slot, view), {"calls": 0, "errors": 0, "totals": {}}), cell)
    return {place: cell for place, cell in found.items() if cell != NOTHING}


def _add(into: Json, cell: Json) -> None:
    into["calls"] += cell["calls"]
    into["errors"] += cell["errors"]
    for name, totals in cell["totals"].items():
        layout = series_of(name).layout
        layout.merge(into["totals"].setdefault(name, layout.none()), totals)
    for name, counts in cell.get("values", {}).items():
        into.setdefault("values", {}).setdefault(name, Counter()).update(counts)
