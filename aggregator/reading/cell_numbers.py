"""The numbers that a cell holds and those it should hold, each under a name, so that two cells can be compared."""

from collections.abc import Mapping, Sequence

from aggregator.rollups.cell import Cell
from aggregator.rollups.series import LATENCY, USAGE_METRICS, is_of_trees, model_of, series_of
from aggregator.rollups.sketch import centroids
from aggregator.rollups.tally import PackedTally
from aggregator.rollups.totals import PRICED, ROWS, Totals
from aggregator.segments.gathering import PackedOverflow


def values_in_overflow(name: bytes, overflow: PackedOverflow) -> list[int]:
    """How many values of each metric are beside a cell."""
    series = series_of(name)
    totals = series.layout.of_values(series.unpack(overflow.rows))
    costs_at, metrics = series.layout.costs_at, series.layout.metrics
    counts = [totals[PRICED if metric >= costs_at else ROWS] for metric in range(metrics)]
    for metric, sketch in enumerate(overflow.sketches):
        counts[metric] += round(float(abs(centroids([sketch])[1]).sum()))
    return counts


def totals_of(cell: Cell, name: bytes, overflow: bool = False) -> Totals:
    """All that a cell says of a series, in one; `overflow`: without the rows in the cell."""
    series = series_of(name)
    layout = series.layout
    totals = layout.none() if overflow else layout.of_values(series.unpack(cell.rows.get(name, b"")))
    if name in cell.totals:
        layout.merge(totals, layout.unpack(cell.totals[name])[0].tolist())
    if name in cell.large:
        layout.merge(totals, cell.large[name])
    return totals


def stored_numbers(cell: Cell) -> dict[str, int]:
    names = dict.fromkeys([*cell.rows, *cell.totals, *cell.large])
    return _numbers(cell.calls, cell.errors, {name: totals_of(cell, name) for name in names})


def recomputed_numbers(packed: PackedTally) -> dict[str, int]:
    totals: dict[bytes, Totals] = {}
    for name in dict.fromkeys([*packed.rows, *packed.large]):
        series = series_of(name)
        rows = series.unpack(packed.rows.get(name, b""))
        totals[name] = series.layout.of_values([*rows, *packed.large.get(name, ())])
    return _numbers(packed.calls, packed.errors, totals)


def _numbers(calls: int, errors: int, totals: Mapping[bytes, Totals]) -> dict[str, int]:
    numbers = {"calls": calls, "errors": errors}
    for name, of_series in totals.items():
        layout = series_of(name).layout
        if name == LATENCY:
            metrics: Sequence[str] = ("latency_ms",)
            numbers["finished"] = of_series[ROWS]
        else:
            model = usage_text(name)
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


def usage_text(name: bytes) -> str:
    return f"{model_of(name)} of whole trees" if is_of_trees(name) else model_of(name)
