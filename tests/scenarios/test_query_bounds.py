"""A Prometheus query that would hold too many numbers at a time is refused before it does, and says its limit."""

import json
from datetime import datetime

import pytest

from tests.pipeline.in_process import Batch, InProcess
from tests.support.folding import ROOMY

NOW = datetime.fromisoformat("2026-06-10T12:00:00+00:00")
OPS = 200


@pytest.mark.parametrize(
    ("query", "steps", "status"),
    [
        ("rate(callmeter_calls_total[1m])", 11_000, 422),
        ("sum(max_over_time(rate(callmeter_calls_total[1m])[1m:1m]))", 11_000, 422),
        ("sum(rate(callmeter_calls_total[1m]))", 11_000, 200),
        ("sum(max_over_time(rate(callmeter_calls_total[1m])[5000m:1m]))", 1_000, 422),
        ("rate(callmeter_call_latency_seconds_bucket[1m])", 11_000, 422),
    ],
)
def test_series_of_many_steps(query: str, steps: int, status: int, redis_url: str) -> None:
    """Two hundred ops at 11,000 steps are too much where each is a series, and not where all are one."""
    at = "2026-06-10T11:30:00Z"
    calls = [
        {"project_id": "acme/many", "id": f"c{number}", "op_name": f"op-{number}", "started_at": at, "ended_at": at}
        for number in range(OPS)
    ]
    value = json.dumps({"batch": [call | {"summary": {}} for call in calls]}).encode()
    window = {"start": str(NOW.timestamp() - (steps - 1) * 60), "end": str(NOW.timestamp()), "step": "60"}
    with InProcess(redis_url, NOW) as product:
        product.fold([[Batch([value], restart=False)]], ROOMY)
        asked = [("query", query), *window.items()]
        found, body = product.get("/prometheus/api/v1/query_range", asked)
    assert (found, body["status"]) == (status, "success" if status == 200 else "error"), body
    if status != 200:
        assert "match fewer" in body["error"]
