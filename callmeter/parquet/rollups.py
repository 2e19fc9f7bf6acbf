"""Rollups as Parquet: one row for each slot, and in it for all calls and for each value of each dimension."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from aggregator.reading.slot_rollups import SlotRollup
from aggregator.rollups.series import COST_METRICS, OF_LATENCY, OF_USAGE, TOKEN_METRICS
from aggregator.rollups.totals import PRICED, ROWS, Totals
from aggregator.rollups.view import ERROR, MODEL, OP, ROOT, RUN, USER, View
from aggregator.rollups.views import facet_value
from callmeter.parquet.usage_lists import Row, UsageLists, usd, whole

_USAGE = UsageLists(("calls", "priced_calls", *TOKEN_METRICS), COST_METRICS)

SCHEMA = pa.schema(
    [
        ("project_id", pa.string()),
        ("slot_start", pa.timestamp("us", "UTC")),
        ("slot_seconds", pa.int32()),
        ("by", pa.string()),
        ("value", pa.string()),
        ("calls", pa.int64()),
        ("errors", pa.int64()),
        ("latency_ms_count", pa.int64()),
        ("latency_ms_sum", pa.int64()),
        ("latency_ms_min", pa.int64()),
        ("latency_ms_max", pa.int64()),
        ("usage", _USAGE.type),
        ("tree_usage", _USAGE.type),
    ]
)
SORTED_BY = "slot_start"
FEW_VALUES = ["project_id", "by", "value", "usage.list.element.model"]

BY = {0: "all", OP: "op_name", ROOT: "root", USER: "user_id", RUN: "run_id", MODEL: "model", ERROR: "error_class"}
"""What the column `by` says, by the dimension that a row's value is of."""


def rollups_of(project_id: str, block_us: int, slot_s: int, rollups: Sequence[SlotRollup]) -> pa.RecordBatch:
    """The rows of slots of a block that begins at `block_us` (microseconds since 1970)."""
    latencies = [_latency(rollup.latency) for rollup in rollups]
    columns: list[Sequence[object]] = [
        [project_id] * len(rollups),
        [block_us + rollup.slot * slot_s * 1_000_000 for rollup in rollups],
        [slot_s] * len(rollups),
        [BY[rollup.view.dimensions] for rollup in rollups],
        [_value(rollup.view) for rollup in rollups],
        [rollup.calls for rollup in rollups],
        [rollup.errors for rollup in rollups],
        *([latency[at] for latency in latencies] for at in range(4)),
    ]
    arrays = [pa.array(column, SCHEMA.field(at).type) for at, column in enumerate(columns)]
    usage = [_rows(rollup.usage) for rollup in rollups]
    trees = [_rows(rollup.tree_usage) if rollup.view.has_trees else None for rollup in rollups]
    return pa.record_batch([*arrays, _USAGE.array(usage), _USAGE.array(trees)], schema=SCHEMA)


def _value(view: View) -> str | None:
    """The value that a view's calls have; None where it is of all calls, or of roots."""
    if view.facet is not None:
        return facet_value(view.facet)
    return next((value for value in (view.op_name, view.user_id, view.run_id) if value is not None), None)


def _latency(totals: Totals | None) -> Row:
    """How many calls have a latency, and the sum, the least and the most of them."""
    if totals is None:
        return 0, 0, None, None
    layout = OF_LATENCY.layout
    return totals[ROWS], whole(layout.sum(totals, 0)), whole(totals[layout.minima]), whole(totals[layout.maxima])


def _rows(usage: Mapping[str, Totals]) -> list[Row]:
    layout, tokens = OF_USAGE.layout, len(TOKEN_METRICS)
    rows: list[Row] = []
    for model, totals in usage.items():
        sums = [layout.sum(totals, metric) for metric in range(layout.metrics)]
        costs = map(usd, sums[tokens:]) if totals[PRICED] else (None,) * len(COST_METRICS)
        rows.append((model, totals[ROWS], totals[PRICED], *map(whole, sums[:tokens]), *costs))
    return rows
