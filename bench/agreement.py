"""Whether ClickHouse answers what we answer: sums, counts and extremes equal, percentiles within our rank error."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from bench.clickhouse_sql import BOUNDS_BY_PERCENTILE, Query

RELATIVE_MAX = 1e-6  # floats of theirs against exact sums of ours

Row = Mapping[str, Any]
Columns = Sequence[Any]
Key = tuple[int, str]
"""When a bucket begins, in seconds since 1970, and the model ("" for calls)."""


class Differ(Exception):
    """Ours and theirs are not the same; the message says where."""


def check_answers(
    query: Query, ours: Mapping[str, Sequence[Row]], theirs: Sequence[Sequence[Columns]], whole: bool
) -> None:
    """Our answer against the rows of `raw_queries` or `rollup_queries`. Raises Differ.

    Not `whole`, from rollups: the first and the last bucket are left out, whose cut minutes rollups count whole, and
    the cost of what has no price is 0, not null.
    """
    agree = _equal if whole else _equal_but_null
    usage = _keyed(ours["usage_buckets"], lambda row: [row[f"sum_{metric}"] for metric in query.metrics])
    _compare(usage, {(int(row[0]), row[1]): row[2 : 2 + len(query.metrics)] for row in theirs[0]}, whole, agree)
    if query.calls:
        names = ("sum_call_count", "sum_error_count", "avg_latency_ms", "max_latency_ms")
        calls = _keyed(ours["call_buckets"], lambda row: [row[name] for name in names])
        _compare(calls, {(int(row[0]), ""): row[1:5] for row in theirs[1]}, whole, agree)


def check_percentiles(query: Query, ours: Mapping[str, Sequence[Row]], theirs: Sequence[Sequence[Columns]]) -> None:
    """Our percentiles against the rows of `bound_queries`. Raises Differ."""
    of_calls = query.calls
    rows = ours["call_buckets" if of_calls else "usage_buckets"]
    metrics = ("latency_ms",) if of_calls else query.metrics
    names = [f"p{wanted}_{metric}" for metric in metrics for wanted in query.percentiles]
    places = [list(BOUNDS_BY_PERCENTILE).index(wanted) for wanted in query.percentiles]
    bounds = {
        (int(row[0]), "" if of_calls else row[1]): [
            (quantiles[2 * place], quantiles[2 * place + 1])
            for quantiles in row[1 if of_calls else 2 :]
            for place in places
        ]
        for row in theirs[0]
    }
    _compare(_keyed(rows, lambda row: [row[name] for name in names]), bounds, True, _within)


def _keyed(rows: Iterable[Row], values: Callable[[Row], list[Any]]) -> dict[Key, list[Any]]:
    """Returns rows by bucket and model; rows that only fill the chart are left out."""
    return {
        (int(datetime.fromisoformat(row["timestamp"]).timestamp()), row.get("model", "")): values(row)
        for row in rows
        if row["count"]
    }


def _compare(
    ours: Mapping[Key, list[Any]], theirs: Mapping[Key, Columns], whole: bool, agree: Callable[[Any, Any], bool]
) -> None:
    keys = ours.keys() | theirs.keys()
    edges = set() if whole or not keys else {min(keys)[0], max(keys)[0]}
    for key in keys:
        if key[0] in edges:
            continue
        mine, others = ours.get(key, []), theirs.get(key, [])
        if len(mine) != len(others) or not all(map(agree, mine, others)):
            raise Differ(f"ours and ClickHouse differ at {key}: {mine} and {others}")


def _equal(one: float | None, other: float | str | None) -> bool:
    if one is None or other is None:
        return one is None and other is None
    return abs(one - float(other)) <= RELATIVE_MAX * max(abs(one), 1e-6)


def _equal_but_null(one: float | None, other: float | str | None) -> bool:
    return _equal(one or 0, other or 0)


def _within(one: float | None, bounds: tuple[float | None, float | None]) -> bool:
    low, high = bounds
    if one is None or low is None or high is None:
        return one is None and low is None
    slack = RELATIVE_MAX * max(abs(one), 1e-6)
    return low - slack <= one <= high + slack
