"""Windows that reach far ahead: they end a day from now, for whatever is computed, and cost what that costs."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aggregator.writing.limits import ShardLimits
from tests.pipeline.in_process import Batch, InProcess
from tests.support.distinct_calls import complete

NOW = datetime(2026, 3, 4, tzinfo=UTC)
METRICS: dict[str, Any] = {
    "call_metrics": [{"metric": "call_count"}, {"metric": "latency_ms", "percentiles": [50]}],
    "usage_metrics": [{"metric": "input_tokens"}],
}
FILTERS: list[dict[str, Any]] = [
    {},
    {"thread_ids": ["a"]},
    {"call_ids": ["a"] * 1_000},
    {"input_refs": ["weave:///a:*"]},
    {"op_names": ["op:*"]},
]
# Generous: a machine that does other things; without the limit it is minutes.
ANSWER_S_MAX = 5.0


@pytest.mark.parametrize("asked", FILTERS)
@pytest.mark.parametrize("end", ["2026-03-05T00:00:01Z", "2500-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("granularity", [None, 1, 60, 86_400])
def test_ends_a_day_from_now(asked: dict[str, Any], end: str, granularity: int | None, redis_url: str) -> None:
    """A window that ends far ahead is answered like one that ends a day from now, and as soon."""
    question = {"project_id": "acme/agents", "start": "2026-03-03T10:00:00Z", "granularity": granularity, **METRICS}
    near = question | {"end": (NOW + timedelta(days=1)).isoformat(), "filter": asked}
    with InProcess(redis_url, NOW) as product:
        product.fold([[Batch([complete(1)], restart=False)]], ShardLimits())
        [expected] = product.ask([("/calls/stats", near)])
        began_s = time.perf_counter()
        [answer] = product.ask([("/calls/stats", near | {"end": end})])
        assert time.perf_counter() - began_s < ANSWER_S_MAX
    assert answer == expected
    assert (answer[0], answer[1]["end"]) == (200, "2026-03-05T00:00:00Z")


def test_a_window_that_lies_ahead(redis_url: str) -> None:
    """Is empty."""
    with InProcess(redis_url, NOW) as product:
        times = {"start": "2027-01-01T00:00:00Z", "end": "9999-01-01T00:00:00Z"}
        [(status, body)] = product.ask([("/calls/stats", {"project_id": "never/seen", **times, **METRICS})])
    assert (status, body["start"], body["end"]) == (200, times["start"], times["start"])
    assert (body["call_buckets"], body["usage_buckets"]) == ([], [])
