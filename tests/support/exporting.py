"""Exported Parquet, summed up by DuckDB, in the form in which answers of `/calls/stats` are put here too."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from aggregator.rollups.series import USAGE_METRICS
from tests.pipeline.in_process import InProcess

Json = dict[str, Any]
Sums = Mapping[tuple[datetime, str | None], tuple[Any, ...]]
"""By the hour and the model (None: of calls) the numbers, in the order of CALLS or USAGE."""

CALLS = ("sum_call_count", "sum_error_count", "sum_latency_ms", "count_latency_ms", "min_latency_ms", "max_latency_ms")
USAGE = ("count", *(f"sum_{metric}" for metric in USAGE_METRICS))


def request(project: str, start: datetime, end: datetime, **asked: Any) -> Json:
    """A question to `/calls/stats` about all of it, by the hour; `asked`: the filter."""
    latency = {"metric": "latency_ms", "aggregations": ["sum", "count", "min", "max"]}
    return {
        "project_id": project,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "granularity": 3_600,
        "filter": asked,
        "call_metrics": [{"metric": "call_count"}, {"metric": "error_count"}, latency],
        "usage_metrics": [{"metric": metric} for metric in USAGE_METRICS],
    }


def of_answer(body: Mapping[str, Any]) -> Sums:
    """The buckets of an answer that count anything."""
    found: dict[tuple[datetime, str | None], tuple[Any, ...]] = {}
    for buckets, names in ((body["call_buckets"], CALLS), (body["usage_buckets"], USAGE)):
        for bucket in buckets:
            if bucket["count"]:
                at = datetime.fromisoformat(bucket["timestamp"]).astimezone(UTC)
                found[at, bucket.get("model")] = tuple(bucket[name] for name in names)
    return found


def asked(product: InProcess, question: Json) -> Sums:
    """Ask the api."""
    [(status, body)] = product.ask([("/calls/stats", question)])
    assert status == 200, body
    return of_answer(body)


def of_facts(files: Path, usage: str = "usage", where: str = "true") -> Sums:
    """The facts of all files, by the hour."""
    source = f"FROM '{files}/facts/*/*.parquet' WHERE {where}"
    return _sums(
        "SELECT date_trunc('hour', started_at), count(*), count_if(failed), coalesce(sum(latency_ms), 0), "
        f"count(latency_ms), min(latency_ms), max(latency_ms) {source} GROUP BY 1",
        f"SELECT date_trunc('hour', started_at), u.model, count(*), {_metrics('u')} "
        f"FROM (SELECT started_at, unnest({usage}) AS u {source}) GROUP BY 1, 2",
    )


def of_rollups(files: Path, table: str, by: str, value: str = "true", usage: str = "usage") -> Sums:
    """The rollups of all files with one value of a dimension, by the hour."""
    source = f"FROM '{files}/{table}/*/*.parquet' WHERE \"by\" = '{by}' AND {value}"
    return _sums(
        "SELECT date_trunc('hour', slot_start), sum(calls), sum(errors), sum(latency_ms_sum), sum(latency_ms_count), "
        f"min(latency_ms_min), max(latency_ms_max) {source} GROUP BY 1",
        f"SELECT date_trunc('hour', slot_start), u.model, sum(u.calls), {_metrics('u')} "
        f"FROM (SELECT slot_start, unnest({usage}) AS u {source}) GROUP BY 1, 2",
    )


def _metrics(usage: str) -> str:
    return ", ".join(f"sum({usage}.{metric})" for metric in USAGE_METRICS)


def _sums(of_calls: str, of_usage: str) -> Sums:
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        found: dict[tuple[datetime, str | None], tuple[Any, ...]] = {
            (at.astimezone(UTC), None): tuple(numbers) for at, *numbers in database.execute(of_calls).fetchall()
        }
        for at, model, *numbers in database.execute(of_usage).fetchall():
            found[at.astimezone(UTC), model] = tuple(map(_as_answered, numbers))
        return found


def _as_answered(number: Any) -> Any:
    """Decimals as the nearest floats, as JSON has them."""
    return number if number is None or isinstance(number, int) else float(number)
