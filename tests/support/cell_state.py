"""The cells of a block in a form that two ways of counting the same calls must agree on."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aggregator.rollups.cell import CELL_CODEC, SKETCHES_CODEC, Cell
from aggregator.rollups.series import series_of
from aggregator.rollups.sketch import centroids
from aggregator.rollups.totals import Totals

Json = dict[str, Any]
NOTHING: Json = {"calls": 0, "errors": 0, "totals": {}}


def cells_of(fields: Mapping[bytes, bytes], views: Mapping[int, Any]) -> dict[tuple[int, Any], Json]:
    """Returns by slot and view the counts, and by series totals and how many values are kept, be it as rows or in
    sketches."""
    found: dict[tuple[int, Any], Json] = {}
    for field, packed in fields.items():
        place, beside = field[:5], field[5:]
        of_cell = found.setdefault((int.from_bytes(place[:2], "big"), views[int.from_bytes(place[2:], "big")]), {})
        if not beside:
            cell = CELL_CODEC.unpack(packed)
            of_cell |= {"calls": cell.calls, "errors": cell.errors, "totals": {}}
            for series in {*cell.rows, *cell.totals, *cell.large}:
                of_cell["totals"][series] = totals_of(cell, series)
            for series, rows in cell.rows.items():
                counts = of_cell.setdefault("values", {}).setdefault(series, Counter())
                for row in series_of(series).unpack(rows):
                    counts.update(range(len(row)))
        elif beside[:1] == b"r":
            counts = of_cell.setdefault("values", {}).setdefault(beside[1:], Counter())
            for row in series_of(beside[1:]).unpack(packed):
                counts.update(range(len(row)))
        else:
            counts = of_cell.setdefault("values", {}).setdefault(beside[1:], Counter())
            for metric, sketch in enumerate(SKETCHES_CODEC.unpack(packed)):
                if sketch:
                    counts[metric] += round(float(sum(abs(weight) for weight in centroids([sketch])[1])))
    return {place: cell for place, cell in found.items() if cell != NOTHING}


def totals_of(cell: Cell, name: bytes) -> Totals:
    """All that a cell counts of a series."""
    layout = series_of(name).layout
    totals = layout.of_values(series_of(name).unpack(cell.rows.get(name, b"")))
    if name in cell.totals:
        layout.merge(totals, layout.unpack(cell.totals[name])[0].tolist())
    layout.merge(totals, cell.large.get(name, layout.none()))
    return totals
