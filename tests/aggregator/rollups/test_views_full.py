"""More distinct values than are kept: totals and filters stay exact, by the calls themselves."""

from datetime import UTC, datetime
from typing import Any

import redis

from aggregator.writing.limits import ShardLimits
from tests.pipeline.in_process import Batch, InProcess
from tests.support.distinct_calls import complete

NOW = datetime(2026, 3, 4, tzinfo=UTC)
QUESTION = {
    "project_id": "acme/agents",
    "start": "2026-03-03T00:00:00Z",
    "end": "2026-03-04T00:00:00Z",
    "granularity": 86400,
    "call_metrics": [{"metric": "call_count"}],
}
CALLS = 300
LIMITS = ShardLimits(views_max=100)


def ask(redis_url: str, filters: list[dict[str, Any]]) -> list[tuple[int, Any]]:
    """Answers under each filter, after all calls; what the status does not tell is the count, or the `loc`."""
    with InProcess(redis_url, NOW) as product:
        product.fold([[Batch([complete(number)], restart=number % 50 == 0) for number in range(CALLS)]], LIMITS)
        answers = product.ask([("/calls/stats", QUESTION | {"filter": one}) for one in filters])
    return [
        (status, body["call_buckets"][0]["count"] if status == 200 else body["detail"][0]["loc"])
        for status, body in answers
    ]


def test_every_filter_is_right(redis_url: str) -> None:
    """Values that came before the limit are told by their views, those that came after, or might have, by calls."""
    filters: list[dict[str, Any]] = [
        {},
        {"op_names": ["op-7:v1"]},
        {"op_names": ["op-7:v1", "op-99:v1"]},
        {"wb_user_ids": ["user-99"]},
        {"trace_roots_only": True},
        {"op_names": ["op-100:v1"]},
        {"op_names": ["op-7:*"]},
        {"op_names": ["op-7:v1"], "wb_user_ids": ["user-7"]},
        {"op_names": ["op-7:v1"], "wb_user_ids": ["user-8"]},
        {"op_names": [f"op-{number}:v1" for number in range(60, 300)], "wb_user_ids": ["user-70", "user-270"]},
    ]
    assert ask(redis_url, filters) == [
        (200, CALLS),
        (200, 1),
        (200, 2),
        (200, 1),
        (200, CALLS),
        (200, 1),
        (200, 1),
        (200, 1),
        (200, 0),
        (200, 2),
    ]


def test_memory_does_not_grow_with_distinct_values(redis_url: str) -> None:
    """Cells of a block stay within the limit: views of op, of user, of both with root, of root, of all calls."""
    ask(redis_url, [])
    with redis.Redis.from_url(redis_url) as client:
        blocks: Any = [client.hkeys(key) for key in client.scan_iter("*:r:*")]
    views = {field[2:5] for fields in blocks for field in fields}
    kinds = {"op": 100, "user": 100, "op, root and user": 100, "root": 1, "all calls": 1}
    assert len(views) == sum(kinds.values())
