"""Facts as Parquet: one row for each call, with what it counts and the values that it is filtered by."""

from collections.abc import Sequence

import pyarrow as pa

from aggregator.calls.call import Call
from aggregator.calls.error_text import error_class
from aggregator.calls.packed_id import unpack_id
from aggregator.calls.usage_vector import (
    CACHE_CREATION_COST,
    CACHE_READ_COST,
    COSTS,
    OUTPUT_COST,
    PRICED_ROWS,
    REQUESTS,
    TOKENS,
    UNCACHED_COST,
    Usage,
)
from aggregator.rollups.series import COST_METRICS, TOKEN_METRICS
from callmeter.parquet.usage_lists import Row, UsageLists, usd, whole

_USAGE = UsageLists((*TOKEN_METRICS, "requests"), COST_METRICS)
_INSTANT = pa.timestamp("us", "UTC")

SCHEMA = pa.schema(
    [
        ("project_id", pa.string()),
        ("call_id", pa.string()),
        ("trace_id", pa.string()),
        ("parent_id", pa.string()),
        ("is_root", pa.bool_()),
        ("op_name", pa.string()),
        ("user_id", pa.string()),
        ("run_id", pa.string()),
        ("started_at", _INSTANT),
        ("ended_at", _INSTANT),
        ("latency_ms", pa.int64()),
        ("failed", pa.bool_()),
        ("error_class", pa.string()),
        ("error", pa.string()),
        ("models", pa.list_(pa.string())),
        ("usage", _USAGE.type),
        ("tree_usage", _USAGE.type),
    ]
)
SORTED_BY = "started_at"
FEW_VALUES = ["project_id", "op_name", "user_id", "run_id", "error_class", "models.list.element"]
"""Columns in which values repeat: those are worth a dictionary."""


def facts_of(project_id: str, calls: Sequence[Call]) -> pa.RecordBatch:
    """The rows of calls that have started."""
    ended = [call.is_ended for call in calls]
    columns: list[Sequence[object]] = [
        [project_id] * len(calls),
        [unpack_id(call.packed_id) for call in calls],
        [unpack_id(call.trace) for call in calls],
        [None if call.parent is None else unpack_id(call.parent) for call in calls],
        [call.is_root for call in calls],
        [call.op_name for call in calls],
        [call.user_id for call in calls],
        [call.run_id for call in calls],
        [call.started_us for call in calls],
        [call.ended_us for call in calls],
        [call.latency_ms for call in calls],
        [call.failed and is_ended for call, is_ended in zip(calls, ended, strict=True)],
        [error_class(call.error) for call in calls],
        [call.error for call in calls],
        [call.models if is_ended else [] for call, is_ended in zip(calls, ended, strict=True)],
    ]
    arrays = [pa.array(column, SCHEMA.field(at).type) for at, column in enumerate(columns)]
    usage = [_rows(call.usage) if is_ended else [] for call, is_ended in zip(calls, ended, strict=True)]
    trees = [_rows(call.tree_usage()) if call.is_root and call.is_ended else None for call in calls]
    return pa.record_batch([*arrays, _USAGE.array(usage), _USAGE.array(trees)], schema=SCHEMA)


def _rows(usage: Usage) -> list[Row]:
    return [
        (model, *map(whole, vector[TOKENS]), whole(vector[REQUESTS]), *_costs(vector))
        for model, vector in usage.items()
    ]


def _costs(vector: Sequence[int]) -> Row:
    """Input, output and total cost; unknown, and not 0, without a price."""
    if not vector[PRICED_ROWS]:
        return (None,) * len(COST_METRICS)
    input_pico = vector[UNCACHED_COST] + vector[CACHE_READ_COST] + vector[CACHE_CREATION_COST]
    return usd(input_pico), usd(vector[OUTPUT_COST]), usd(sum(vector[COSTS]))
