"""How large an answer of /calls/stats may be: as many rows and values as the limits, and no more."""

from datetime import UTC, datetime
from typing import Any

import pytest

from aggregator.writing.limits import ShardLimits
from api.query import rows_json as bucket_json
from tests.pipeline.in_process import Batch, InProcess
from tests.support.distinct_calls import complete

NOW = datetime(2026, 3, 4, tzinfo=UTC)
QUESTION: dict[str, Any] = {
    "project_id": "acme/agents",
    "start": "2026-03-03T10:00:00Z",
    "end": "2026-03-03T10:04:00Z",
    "granularity": 60,
    "call_metrics": [{"metric": "call_count"}, {"metric": "latency_ms", "aggregations": ["min"], "percentiles": [50]}],
    "usage_metrics": [{"metric": "input_tokens", "aggregations": ["sum", "max"]}],
}
BUCKETS, MODELS, CALL_KEYS, USAGE_KEYS = 4, 2, 3, 2


def asked(redis_url: str) -> tuple[int, Any]:
    """Status and body, of two calls with a model each."""
    with InProcess(redis_url, NOW) as product:
        calls = [
            complete(number).replace(b'"summary": {}', b'"summary": {"usage": {"m%d": {"requests": 1}}}' % number)
            for number in range(MODELS)
        ]
        product.fold([[Batch(calls, restart=False)]], ShardLimits())
        [answer] = product.ask([("/calls/stats", QUESTION)])
        return answer


@pytest.mark.parametrize(
    ("limit", "edge"),
    [("ROWS_MAX", BUCKETS * MODELS), ("VALUES_MAX", BUCKETS * (MODELS * USAGE_KEYS + CALL_KEYS))],
)
def test_the_largest_answer(limit: str, edge: int, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer at the limit is given; with a limit one lower it is refused, and the refusal says what to ask for
    instead."""
    monkeypatch.setattr(bucket_json, limit, edge)
    status, body = asked(redis_url)
    assert (status, len(body["usage_buckets"]), len(body["call_buckets"])) == (200, BUCKETS * MODELS, BUCKETS)
    monkeypatch.setattr(bucket_json, limit, edge - 1)
    status, body = asked(redis_url)
    assert (status, body["detail"][0]["loc"]) == (422, ["body", "granularity"])
    assert body["detail"][0]["msg"].endswith("ask for larger buckets")


def test_the_largest_answer_that_was_kept(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that was given before, and is kept row by row, is held to the same limit."""
    with InProcess(redis_url, NOW) as product:
        product.fold([[Batch([complete(1)], restart=False)]], ShardLimits())
        assert [status for status, _ in product.ask([("/calls/stats", QUESTION)] * 2)] == [200, 200]
        monkeypatch.setattr(bucket_json, "VALUES_MAX", BUCKETS * CALL_KEYS - 1)
        assert [status for status, _ in product.ask([("/calls/stats", QUESTION)])] == [422]
