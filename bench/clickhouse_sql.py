"""ClickHouse's tables and queries: raw calls with a JSON summary, asked as an analyst would, and rollups by minute."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from aggregator.rollups.series import TOKEN_METRICS, USAGE_METRICS

QUANTILES = "0.5, 0.95, 0.99"
# Between which quantiles of all values ours lies: our sketch's rank error (aggregator/rollups/sketch.py).
BOUNDS_BY_PERCENTILE = {50: (0.495, 0.505), 95: (0.948, 0.952), 99: (0.988, 0.992)}

TABLES = (
    """CREATE TABLE calls (project_id LowCardinality(String), id String, trace_id String, parent_id Nullable(String),
    op_name LowCardinality(String), wb_user_id LowCardinality(String), started_at DateTime64(6, 'UTC'),
    ended_at DateTime64(6, 'UTC'), exception Nullable(String), summary_dump String)
    ENGINE = MergeTree ORDER BY (project_id, started_at, id)""",
    """CREATE TABLE prices (model String, input Float64, cache_read Float64, cache_creation Float64, output Float64)
    ENGINE = MergeTree ORDER BY model""",
    f"""CREATE TABLE usage_minutes (project_id LowCardinality(String), minute DateTime('UTC'),
    model LowCardinality(String), entries SimpleAggregateFunction(sum, UInt64),
    {", ".join(f"sum_{metric} SimpleAggregateFunction(sum, Float64)" for metric in USAGE_METRICS)},
    {", ".join(f"q_{metric} AggregateFunction(quantilesTDigest({QUANTILES}), Float64)" for metric in USAGE_METRICS)})
    ENGINE = AggregatingMergeTree ORDER BY (project_id, minute, model)""",
    f"""CREATE TABLE call_minutes (project_id LowCardinality(String), minute DateTime('UTC'),
    calls SimpleAggregateFunction(sum, UInt64), errors SimpleAggregateFunction(sum, UInt64),
    latency_sum SimpleAggregateFunction(sum, Int64), latency_max SimpleAggregateFunction(max, Int64),
    q_latency AggregateFunction(quantilesTDigest({QUANTILES}), Float64))
    ENGINE = AggregatingMergeTree ORDER BY (project_id, minute)""",
)

INSERT_CALLS = """INSERT INTO calls SELECT * FROM file('{path}', JSONEachRow, 'project_id String, id String,
    trace_id String, parent_id Nullable(String), op_name String, wb_user_id String, started_at DateTime64(6, \\'UTC\\'),
    ended_at DateTime64(6, \\'UTC\\'), exception Nullable(String), summary_dump String')
    SETTINGS date_time_input_format = 'best_effort'"""

LATENCY = "toUnixTimestamp64Milli(ended_at) - toUnixTimestamp64Milli(started_at)"


@dataclass(frozen=True)
class Query:
    """One of our questions as it is asked of ClickHouse; the keys of a row in the order of its columns."""

    back: timedelta
    granularity_s: int
    timezone: str
    metrics: tuple[str, ...]
    percentiles: tuple[int, ...]
    calls: bool


QUERIES: Mapping[str, Query] = {
    "last hour auto": Query(timedelta(hours=1), 300, "UTC", ("total_tokens", "total_cost"), (), True),
    "24 h at 5 min": Query(timedelta(days=1), 300, "UTC", ("total_tokens", "total_cost"), (), True),
    "7 d at 1 h, p95 latency": Query(timedelta(days=7), 3600, "UTC", ("total_tokens", "total_cost"), (95,), True),
    "30 d sums": Query(timedelta(days=30), 86_400, "America/New_York", USAGE_METRICS, (), False),
    "30 d p50/p95/p99": Query(timedelta(days=30), 86_400, "America/New_York", USAGE_METRICS, (50, 95, 99), False),
}


def raw_queries(query: Query, project: str, end: datetime) -> list[str]:
    """Usage by bucket and model, and calls by bucket where asked, from raw calls."""
    bucket = bucket_of(query, "started_at")
    where = window_of(project, "started_at", end - query.back, end)
    columns = [f"sum({metric})" for metric in query.metrics]
    if query.percentiles:
        columns += [f"quantiles({QUANTILES})({metric})" for metric in query.metrics]
    usage = (
        f"SELECT {bucket} AS bucket, model, {', '.join(columns)} FROM ({usage_rows(where)}) "
        "GROUP BY bucket, model ORDER BY bucket, model"
    )
    calls = (
        f"SELECT {bucket} AS bucket, count(), countIf(exception != ''), avg({LATENCY}), max({LATENCY}), "
        f"quantile(0.95)({LATENCY}) FROM calls WHERE {where} GROUP BY bucket ORDER BY bucket"
    )
    return [usage, calls] if query.calls else [usage]


def rollup_queries(query: Query, project: str, end: datetime) -> list[str]:
    """Returns the queries from rollups by minute; the cut minutes at the window's ends are counted whole."""
    bucket = bucket_of(query, "minute")
    where = window_of(project, "minute", end - query.back, end)
    columns = [f"sum(sum_{metric})" for metric in query.metrics]
    if query.percentiles:
        columns += [f"quantilesTDigestMerge({QUANTILES})(q_{metric})" for metric in query.metrics]
    usage = (
        f"SELECT {bucket} AS bucket, model, {', '.join(columns)} FROM usage_minutes WHERE {where} "
        "GROUP BY bucket, model ORDER BY bucket, model"
    )
    calls = (
        f"SELECT {bucket} AS bucket, sum(calls), sum(errors), sum(latency_sum) / sum(calls), max(latency_max), "
        f"quantilesTDigestMerge({QUANTILES})(q_latency)[2] FROM call_minutes WHERE {where} "
        "GROUP BY bucket ORDER BY bucket"
    )
    return [usage, calls] if query.calls else [usage]


def bound_queries(query: Query, project: str, end: datetime) -> list[str]:
    """Exact quantiles of raw calls, of latency where calls are asked for, else of the metrics by model: the bounds of
    all of BOUNDS_BY_PERCENTILE in turn.
    """
    bucket, where = bucket_of(query, "started_at"), window_of(project, "started_at", end - query.back, end)
    wanted = ", ".join(str(bound) for bounds in BOUNDS_BY_PERCENTILE.values() for bound in bounds)
    if query.calls:
        return [
            f"SELECT {bucket} AS bucket, quantilesExactInclusive({wanted})({LATENCY}) FROM calls WHERE {where} "
            "GROUP BY bucket"
        ]
    columns = ", ".join(f"quantilesExactInclusive({wanted})({metric})" for metric in query.metrics)
    return [f"SELECT {bucket} AS bucket, model, {columns} FROM ({usage_rows(where)}) GROUP BY bucket, model"]


def rollup_inserts(project: str, begin: datetime, until: datetime) -> list[str]:
    """Returns the inserts that feed the rollups of that time: one row for each minute, and each model in it."""
    where = window_of(project, "started_at", begin, until)
    sums = [f"sum({metric})" if metric in TOKEN_METRICS else f"sum(coalesce({metric}, 0))" for metric in USAGE_METRICS]
    states = [f"quantilesTDigestState({QUANTILES})(toFloat64(coalesce({metric}, 0)))" for metric in USAGE_METRICS]
    minute = "toStartOfMinute(started_at)"
    return [
        f"INSERT INTO usage_minutes SELECT '{project}', {minute} AS minute, model, count(), "
        f"{', '.join(sums + states)} FROM ({usage_rows(where)}) GROUP BY minute, model",
        f"INSERT INTO call_minutes SELECT '{project}', {minute} AS minute, count(), countIf(exception != ''), "
        f"sum({LATENCY}), max({LATENCY}), quantilesTDigestState({QUANTILES})(toFloat64({LATENCY})) "
        f"FROM calls WHERE {where} GROUP BY minute",
    ]


def prices_insert(prices: Mapping[str, Sequence[float]]) -> str:
    """USD per token by model: input, cache read, cache creation, output."""
    return "INSERT INTO prices VALUES " + ", ".join(
        f"('{model}', {', '.join(map(repr, rates))})" for model, rates in prices.items()
    )


def usage_rows(where: str) -> str:
    """Returns a query of a row for each call and model with the eight metrics, without parents' sums of children."""
    return priced_rows(f"""
                SELECT started_at, u.1 AS model, u.2 AS used,
                    JSONExtractInt(used, 'prompt_tokens') + JSONExtractInt(used, 'input_tokens') AS input_tokens,
                    JSONExtractInt(used, 'completion_tokens') + JSONExtractInt(used, 'output_tokens') AS output_tokens,
                    if(JSONExtractInt(used, 'total_tokens') > 0, JSONExtractInt(used, 'total_tokens'),
                        input_tokens + output_tokens) AS total_tokens,
                    greatest(JSONExtractInt(used, 'cache_read_input_tokens'),
                        JSONExtractInt(used, 'prompt_tokens_details', 'cached_tokens'),
                        JSONExtractInt(used, 'input_tokens_details', 'cached_tokens')) AS cache_read_input_tokens,
                    greatest(JSONExtractInt(used, 'cache_creation_input_tokens'),
                        JSONExtractInt(used, 'prompt_tokens_details', 'cache_write_tokens')
                        ) AS cache_creation_input_tokens
                FROM calls ARRAY JOIN JSONExtractKeysAndValuesRaw(summary_dump, 'usage') AS u
                WHERE {where} AND JSONExtractInt(summary_dump, 'status_counts', 'success')
                    + JSONExtractInt(summary_dump, 'status_counts', 'error') <= 1""")


def priced_rows(rows: str) -> str:
    """Returns a query of the rows of another that has `model` and the five counts of tokens, with the three costs."""
    return f"""
        SELECT *, input_cost + output_cost AS total_cost FROM (
            SELECT *, if(p.model = '', NULL, uncached * p.input + cache_read_input_tokens * p.cache_read
                   + cache_creation_input_tokens * p.cache_creation) AS input_cost,
                   if(p.model = '', NULL, output_tokens * p.output) AS output_cost
            FROM (
                SELECT *, if(input_tokens >= cache_read_input_tokens + cache_creation_input_tokens,
                        input_tokens - cache_read_input_tokens - cache_creation_input_tokens, input_tokens) AS uncached
                FROM ({rows})
            ) AS r LEFT JOIN prices AS p ON r.model = p.model
        )"""


def bucket_of(query: Query, column: str) -> str:
    """Returns when the bucket of an instant in a column begins, in seconds since 1970."""
    if query.granularity_s == 86_400:
        return f"toUnixTimestamp(toStartOfDay({column}, '{query.timezone}'))"
    return f"toUnixTimestamp(toStartOfInterval({column}, INTERVAL {query.granularity_s} SECOND, 'UTC'))"


def window_of(project: str, column: str, begin: datetime, until: datetime) -> str:
    """Returns the condition of a project and a window."""
    instants = [f"toDateTime64('{at:%Y-%m-%d %H:%M:%S.%f}', 6, 'UTC')" for at in (begin, until)]
    return f"project_id = '{project}' AND {column} >= {instants[0]} AND {column} < {instants[1]}"
