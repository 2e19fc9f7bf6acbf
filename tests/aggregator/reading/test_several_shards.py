"""A project over several shards: a call is one call, though other shards know its id as a parent."""

import json
from datetime import UTC, datetime
from typing import Any

from aggregator.writing.limits import ShardLimits
from tests.pipeline.in_process import Batch, InProcess

NOW = datetime(2026, 3, 4, tzinfo=UTC)
WINDOW = {"project_id": "acme/agents", "start": "2026-03-03T00:00:00Z", "end": "2026-03-04T00:00:00Z"}


def complete(call_id: str, trace_id: str, parent_id: str | None) -> bytes:
    """A call of one second and ten tokens."""
    call = {
        "project_id": "acme/agents",
        "id": call_id,
        "op_name": "op",
        "trace_id": trace_id,
        "parent_id": parent_id,
        "started_at": "2026-03-03T10:00:00Z",
        "ended_at": "2026-03-03T10:00:01Z",
        "summary": {"usage": {"m": {"input_tokens": 10}}},
    }
    return json.dumps({"complete": call}).encode()


def answers(redis_url: str, shards: list[list[bytes]]) -> list[tuple[int, Any]]:
    """Usage of both calls; stats of the parent alone."""
    with InProcess(redis_url, NOW) as product:
        product.fold([[Batch(values, restart=False)] for values in shards], ShardLimits())
        stats = WINDOW | {"granularity": 86400, "call_metrics": [{"metric": "call_count"}]}
        return product.ask(
            [
                ("/calls/usage", {"project_id": "acme/agents", "call_ids": ["parent", "child"]}),
                ("/calls/stats", stats | {"filter": {"call_ids": ["parent"]}}),
            ]
        )


def test_a_parent_of_another_trace_keeps_its_usage(redis_url: str) -> None:
    """Whichever of the two shards is asked first, the id that only names a parent there does not hide the call."""
    parent, child = complete("parent", "one", None), complete("child", "two", "parent")
    for shards in ([[parent], [child]], [[child], [parent]]):
        (_, usage), (_, stats) = answers(redis_url, shards)
        tokens = {call_id: models["m"]["total_tokens"] for call_id, models in usage["call_usage"].items()}
        assert tokens == {"parent": 10, "child": 10}
        assert [row["count"] for row in stats["call_buckets"]] == [1]
