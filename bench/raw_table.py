"""Calls as ClickHouse keeps them smallest: one table of columns, each with the codec that suits it, no rollups.

It holds what ours can be asked about: ids and tree, op, user, run, thread, turn, refs, instants, errors and usage as it
was stated. Ids are sorted by time only as far as they say it themselves.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from aggregator.calls.event import Event
from aggregator.rollups.series import TOKEN_METRICS
from bench.clickhouse import ClickHouse, prices_in_dollars
from bench.clickhouse_sql import (
    LATENCY,
    QUANTILES,
    TABLES,
    Query,
    bucket_of,
    priced_rows,
    prices_insert,
    window_of,
)

NO_PARENT = str(UUID(int=0))

COLUMNS = (
    ("project_id", "LowCardinality(String)", "ZSTD(6)"),
    ("id", "UUID", "ZSTD(6)"),
    ("trace_id", "UUID", "ZSTD(6)"),
    ("parent_id", "UUID", "ZSTD(6)"),
    ("op_name", "LowCardinality(String)", "ZSTD(6)"),
    ("wb_user_id", "LowCardinality(String)", "ZSTD(6)"),
    ("wb_run_id", "LowCardinality(String)", "ZSTD(6)"),
    ("thread_id", "LowCardinality(String)", "ZSTD(6)"),
    ("turn_id", "UUID", "ZSTD(6)"),
    ("started_at", "DateTime64(6, 'UTC')", "Delta, ZSTD(6)"),
    ("ended_at", "DateTime64(6, 'UTC')", "Delta, ZSTD(6)"),
    ("exception", "LowCardinality(String)", "ZSTD(6)"),
    ("may_roll_up", "UInt8", "ZSTD(6)"),
    ("input_refs", "Array(LowCardinality(String))", "ZSTD(6)"),
    ("output_refs", "Array(LowCardinality(String))", "ZSTD(6)"),
    ("models", "Array(LowCardinality(String))", "ZSTD(6)"),
    *((f"used_{name}", "Array(UInt32)", "ZSTD(6)") for name in (*TOKEN_METRICS, "requests")),
)
CREATE = (
    f"CREATE TABLE calls ({', '.join(f'{name} {kind} CODEC({codec})' for name, kind, codec in COLUMNS)}) "
    "ENGINE = MergeTree ORDER BY (project_id, started_at)"
)


def load(theirs: ClickHouse, path: Path, events: Iterable[Event], end: datetime) -> int:
    """Loads the calls of these events, merged to one part; returns the bytes that the table takes."""
    with path.open("wb") as rows:
        for row in _rows(events):
            rows.write(msgspec.json.encode(row) + b"\n")
    kinds = ", ".join(f"{name} {kind}" for name, kind, _ in COLUMNS).replace("'", "\\'")
    theirs.ask(
        CREATE,
        TABLES[1],
        prices_insert(prices_in_dollars(end)),
        f"INSERT INTO calls SELECT * FROM file('{path}', JSONEachRow, '{kinds}') "
        "SETTINGS date_time_input_format = 'best_effort'",
        "OPTIMIZE TABLE calls FINAL",
    )
    path.unlink()
    [[[size]]] = theirs.ask("SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'calls'")[1]
    return int(size)


def _rows(events: Iterable[Event]) -> Iterator[dict[str, Any]]:
    """Yields starts and ends joined to calls."""
    started: dict[str, Event] = {}
    for event in events:
        if event.start is not None:
            started[event.call_id] = event
            continue
        start, end = started.pop(event.call_id).start, event.end
        assert start is not None
        assert end is not None
        row = {
            "project_id": event.project_id,
            "id": event.call_id,
            "trace_id": start.trace_id,
            "parent_id": start.parent_id or NO_PARENT,
            "op_name": start.op_name,
            "wb_user_id": start.user_id or "",
            "wb_run_id": start.run_id or "",
            "thread_id": start.thread_id or "",
            "turn_id": start.turn_id or NO_PARENT,
            "started_at": _instant(start.started_at_us),
            "ended_at": _instant(end.ended_at_us),
            "exception": (end.error or "error") if end.failed else "",
            "may_roll_up": int(start.may_roll_up or end.may_roll_up),
            "input_refs": start.input_refs,
            "output_refs": end.output_refs,
            "models": list(end.usage),
        }
        used = end.usage.values()
        yield row | {
            f"used_{name}": [getattr(counts, name) for counts in used] for name in (*TOKEN_METRICS, "requests")
        }


def _instant(at_us: int) -> str:
    return f"{at_us // 1_000_000}.{at_us % 1_000_000:06d}"


def usage_of(where: str) -> str:
    """Returns a query of a row for each call and model with the eight metrics, without parents' sums of children."""
    columns = ", ".join(f"used_{name} AS one_{name}" for name in TOKEN_METRICS)
    named = ", ".join(f"toInt64(one_{name}) AS {name}" for name in TOKEN_METRICS)
    return priced_rows(
        f"SELECT started_at, trace_id, model, {named} FROM calls ARRAY JOIN models AS model, {columns} "
        f"WHERE {where} AND NOT may_roll_up"
    )


def queries(query: Query, project: str, end: datetime, more: str = "1") -> list[str]:
    """Returns queries of usage by bucket and model, and calls by bucket where asked; `more`: a filter."""
    bucket = bucket_of(query, "started_at")
    where = f"{window_of(project, 'started_at', end - query.back, end)} AND {more}"
    columns = [f"sum({metric})" for metric in query.metrics]
    if query.percentiles:
        columns += [f"quantiles({QUANTILES})({metric})" for metric in query.metrics]
    usage = (
        f"SELECT {bucket} AS bucket, model, {', '.join(columns)} FROM ({usage_of(where)}) "
        "GROUP BY bucket, model ORDER BY bucket, model"
    )
    calls = (
        f"SELECT {bucket} AS bucket, count(), countIf(exception != ''), avg({LATENCY}), max({LATENCY}), "
        f"quantile(0.95)({LATENCY}) FROM calls WHERE {where} GROUP BY bucket ORDER BY bucket"
    )
    return [usage, calls] if query.calls else [usage]


def trees_query(traces: Iterable[str]) -> str:
    """Returns a query of what each of these traces used of each model."""
    wanted = ", ".join(f"'{trace}'" for trace in traces)
    sums = ", ".join(f"sum({metric})" for metric in (*TOKEN_METRICS, "total_cost"))
    return f"SELECT trace_id, model, {sums} FROM ({usage_of(f'trace_id IN ({wanted})')}) GROUP BY trace_id, model"
