"""A thousand calls, written in every dialect and encoding, give the same answers of both endpoints, byte for byte."""

import json
from datetime import UTC, datetime
from typing import Any

from aggregator.writing.limits import ShardLimits
from tests.pipeline.in_process import Batch, InProcess
from tests.support.dialects import PROJECT, calls, messages

CALLS = 1_000
EVERYTHING = ["sum", "avg", "min", "max", "count"]
WINDOW = {"project_id": PROJECT, "start": "2026-06-10T09:00:00Z", "end": "2026-06-10T12:00:00Z", "granularity": 300}
STATS: list[dict[str, Any]] = [
    {
        **WINDOW,
        "call_metrics": [
            {"metric": "call_count"},
            {"metric": "error_count"},
            {"metric": "latency_ms", "aggregations": EVERYTHING, "percentiles": [50, 99]},
        ],
        "usage_metrics": [
            {"metric": metric, "aggregations": EVERYTHING, "percentiles": [50]}
            for metric in ("input_tokens", "output_tokens", "total_tokens", "total_cost")
        ],
        "filter": given,
    }
    for given in (
        {},
        {"trace_roots_only": True},
        {"op_names": ["chat"], "wb_user_ids": ["user-1"]},
        {"thread_ids": ["talk-3"]},
    )
]


def test_one_answer_in_every_dialect(redis_url: str) -> None:
    """Nineteen ways to say a thousand calls; the first is our own, and its totals are those that were given."""
    given = calls(CALLS)
    roots = [call.id for call in given if not call.parent]
    usage = {"project_id": PROJECT, "call_ids": roots[:50], "include_costs": True}
    requests = [("/calls/stats", stats) for stats in STATS] + [("/calls/usage", usage)]
    answers: dict[str, str] = {}
    with InProcess(redis_url, datetime(2026, 6, 10, 12, tzinfo=UTC)) as product:
        for dialect, values in messages(given):
            product.fold([[Batch(values, restart=False)]], ShardLimits())
            answers[dialect] = json.dumps(product.ask(requests))
    first, *others = answers.items()
    assert len(others) >= 9
    assert [dialect for dialect, answer in others if answer != first[1]] == []
    stats = json.loads(first[1])[0][1]
    assert sum(row["sum_call_count"] for row in stats["call_buckets"]) == CALLS
    assert sum(row["sum_error_count"] for row in stats["call_buckets"]) == sum(call.failed for call in given)
    tokens = sum(sum(call.counts[:2]) for call in given if call.counts)
    assert sum(row["sum_total_tokens"] for row in stats["usage_buckets"]) == tokens
