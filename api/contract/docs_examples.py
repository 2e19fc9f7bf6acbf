"""Requests that can be sent as they stand, each with the beginning of an answer: what the page at /docs teaches by."""

from typing import Any, NamedTuple


class Example(NamedTuple):
    """A request that can be sent as it stands, with the beginning of an answer to it."""

    anchor: str
    title: str
    teaches: str
    path: str
    request: dict[str, Any]
    answer: dict[str, Any]


EXAMPLES = (
    Example(
        "calls",
        "How many calls, how slow, how often failed",
        "Call metrics come in one row per bucket. <code>start</code> is inside the window, <code>end</code> is not; "
        "without <code>end</code> the window ends now. The days are those of <code>timezone</code>, "
        "23 or 25 hours long when its clock changes.",
        "/calls/stats",
        {
            "project_id": "acme/agents",
            "start": "2026-03-01T00:00:00+01:00",
            "end": "2026-03-08T00:00:00+01:00",
            "granularity": 86400,
            "timezone": "Europe/Berlin",
            "call_metrics": [
                {"metric": "latency_ms", "aggregations": ["avg", "max"], "percentiles": [50, 95, 99.9]},
                {"metric": "error_count"},
            ],
        },
        {
            "start": "2026-02-28T23:00:00Z",
            "end": "2026-03-07T23:00:00Z",
            "granularity": 86400,
            "timezone": "Europe/Berlin",
            "usage_buckets": [],
            "call_buckets": [
                {
                    "timestamp": "2026-03-01T00:00:00+01:00",
                    "avg_latency_ms": 812.4,
                    "max_latency_ms": 9120,
                    "p50_latency_ms": 640.0,
                    "p95_latency_ms": 2210.5,
                    "p99.9_latency_ms": 8450.0,
                    "sum_error_count": 3,
                    "count": 1290,
                }
            ],
        },
    ),
    Example(
        "cost",
        "Tokens and cost by model",
        "Usage metrics come in one row per bucket and model; a model without a price has <code>null</code> for a cost, "
        "never 0. The fields of a filter all apply, any value of a list will do. <code>:*</code> ends a prefix.",
        "/calls/stats",
        {
            "project_id": "acme/agents",
            "start": "2026-03-01T00:00:00Z",
            "end": "2026-03-02T00:00:00Z",
            "usage_metrics": [{"metric": "total_tokens"}, {"metric": "total_cost"}],
            "filter": {"op_names": ["weave:///acme/agents/op/answer:*"], "trace_roots_only": True},
        },
        {
            "start": "2026-03-01T00:00:00Z",
            "end": "2026-03-02T00:00:00Z",
            "granularity": 21600,
            "timezone": "UTC",
            "usage_buckets": [
                {
                    "timestamp": "2026-03-01T00:00:00+00:00",
                    "model": "gpt-4o",
                    "sum_total_tokens": 48210,
                    "sum_total_cost": 0.21733,
                    "count": 57,
                }
            ],
            "call_buckets": [],
        },
    ),
    Example(
        "subtree",
        "What one call cost, with everything below it",
        "Each requested call is answered with its own usage plus that of all its descendants, as fast for a trace of a "
        "million calls as for one of ten. An unknown id answers <code>{}</code>.",
        "/calls/usage",
        {"project_id": "acme/agents", "call_ids": ["0195-root-a", "0195-root-b"], "include_costs": True},
        {
            "call_usage": {
                "0195-root-a": {
                    "gpt-4o": {
                        "requests": 12,
                        "prompt_tokens": 5120,
                        "completion_tokens": 830,
                        "total_tokens": 5950,
                        "cache_read_input_tokens": 1024,
                        "cache_creation_input_tokens": 0,
                        "prompt_tokens_total_cost": 0.01024,
                        "completion_tokens_total_cost": 0.0083,
                        "cache_read_input_tokens_total_cost": 0.00128,
                        "cache_creation_input_tokens_total_cost": 0.0,
                    }
                },
                "0195-root-b": {},
            },
            "unfinished_call_ids": ["0195-child-7"],
        },
    ),
    Example(
        "breakdown",
        "Who fails, who is slow, who is dear",
        "One row for each op, model, user, run or class of error, ordered by any of its numbers; what is beyond "
        "<code>limit</code> is one row more. <code>compare</code> adds the window before, <code>more_starts</code> "
        "shorter windows with the same end. Instants may be relative.",
        "/calls/breakdown",
        {
            "project_id": "acme/agents",
            "start": "-1h",
            "dimension": "op_name",
            "call_metrics": [{"metric": "error_count"}],
            "limit": 1,
            "compare": "previous",
            "more_starts": ["-5m"],
        },
        {
            "start": "2026-03-01T09:00:00Z",
            "end": "2026-03-01T10:00:00Z",
            "dimension": "op_name",
            "order_by": "sum_error_count",
            "rows": [
                {
                    "value": "weave:///acme/agents/op/search:v3",
                    "sum_error_count": 17,
                    "count": 210,
                    "share": 0.85,
                    "previous": {"sum_error_count": 1, "count": 195},
                }
            ],
            "rest": {"values": 4, "sum_error_count": 3, "count": 800},
            "total": {"sum_error_count": 20, "count": 1010, "previous": {"sum_error_count": 5, "count": 990}},
            "previous_start": "2026-03-01T08:00:00Z",
            "previous_end": "2026-03-01T09:00:00Z",
            "windows": [
                {
                    "start": "2026-03-01T09:55:00Z",
                    "end": "2026-03-01T10:00:00Z",
                    "rows": [
                        {
                            "value": "weave:///acme/agents/op/search:v3",
                            "sum_error_count": 9,
                            "count": 18,
                            "share": 1.0,
                            "previous": None,
                        }
                    ],
                    "rest": {"values": 4, "sum_error_count": 0, "count": 66},
                    "total": {"sum_error_count": 9, "count": 84},
                }
            ],
        },
    ),
    Example(
        "examples",
        "Which calls",
        "The newest, failing, slowest or dearest calls of a window, with their ids and the beginning of what went "
        "wrong. Inputs and outputs are never kept.",
        "/calls/examples",
        {
            "project_id": "acme/agents",
            "start": "-1h",
            "kind": "failing",
            "filter": {"op_names": ["weave:///acme/agents/op/search:v3"]},
            "limit": 1,
        },
        {
            "start": "2026-03-01T09:00:00Z",
            "end": "2026-03-01T10:00:00Z",
            "kind": "failing",
            "calls": [
                {
                    "id": "0195-child-7",
                    "trace_id": "0195-root-a",
                    "parent_id": "0195-root-a",
                    "op_name": "weave:///acme/agents/op/search:v3",
                    "wb_user_id": "ada",
                    "wb_run_id": None,
                    "started_at": "2026-03-01T09:59:12Z",
                    "ended_at": "2026-03-01T09:59:14.25Z",
                    "latency_ms": 2250,
                    "models": ["gpt-4o"],
                    "input_tokens": 1200,
                    "output_tokens": 0,
                    "total_tokens": 1200,
                    "cost": 0.003,
                    "failed": True,
                    "error": "RateLimitError: try again in 20 s",
                    "link": None,
                }
            ],
            "complete": True,
        },
    ),
)
