"""What a trace used is one number, whichever way it is asked, though SDKs repeat it in every parent's summary."""

import json
from datetime import UTC, datetime
from typing import Any

from aggregator.writing.limits import ShardLimits
from tests.pipeline.in_process import Batch, InProcess

NOW = datetime(2026, 3, 4, tzinfo=UTC)
LEAVES = {"leaf-1": 11, "leaf-2": 13, "leaf-3": 17}
PARENTS = {"leaf-1": "middle-1", "leaf-2": "middle-1", "leaf-3": "middle-2", "middle-1": "root", "middle-2": "root"}
CALLS = {"root": 6, "middle-1": 3, "middle-2": 2}
BELOW = {"root": list(LEAVES), "middle-1": ["leaf-1", "leaf-2"], "middle-2": ["leaf-3"]}


def usage(leaves: list[str]) -> dict[str, Any]:
    """Returns usage as OpenAI's client reports it, summed over leaves: the first half of a leaf's tokens is its
    prompt."""
    prompt = sum(LEAVES[leaf] // 2 for leaf in leaves)
    return {
        "gpt-4o": {
            "requests": len(leaves),
            "prompt_tokens": prompt,
            "completion_tokens": sum(LEAVES[leaf] for leaf in leaves) - prompt,
        }
    }


def events() -> list[bytes]:
    """Starts and ends as Weave's SDK sends them: a parent's summary holds its children's usage, and counts them."""
    messages: list[dict[str, Any]] = []
    for call_id in [*BELOW, *LEAVES]:
        summary = {
            "usage": usage(BELOW.get(call_id, [call_id])),
            "status_counts": {"success": CALLS.get(call_id, 1), "error": 0},
        }
        identity = {"project_id": "acme/agents", "id": call_id}
        start = identity | {
            "op_name": "op",
            "trace_id": "trace",
            "parent_id": PARENTS.get(call_id),
            "started_at": "2026-03-03T10:00:00Z",
        }
        messages.append({"mode": "start", "req": {"start": start}})
        messages.append(
            {"mode": "end", "req": {"end": identity | {"ended_at": "2026-03-03T10:00:01Z", "summary": summary}}}
        )
    return [json.dumps(message).encode() for message in messages]


def test_stats_roots_and_leaves_agree(redis_url: str) -> None:
    """Stats over all calls, usage of the root, and the sum of the leaves."""
    window = {"project_id": "acme/agents", "start": "2026-03-03T00:00:00Z", "end": "2026-03-04T00:00:00Z"}
    metrics = [{"metric": "total_tokens"}, {"metric": "total_cost"}]
    with InProcess(redis_url, NOW) as product:
        product.fold([[Batch([message], restart=False) for message in events()]], ShardLimits())
        (_, stats), (_, root), (_, leaves) = product.ask(
            [
                ("/calls/stats", window | {"granularity": 86400, "usage_metrics": metrics}),
                ("/calls/usage", {"project_id": "acme/agents", "call_ids": ["root"], "include_costs": True}),
                ("/calls/usage", {"project_id": "acme/agents", "call_ids": list(LEAVES), "include_costs": True}),
            ]
        )
    [row] = stats["usage_buckets"]
    of_root = root["call_usage"]["root"]["gpt-4o"]
    of_leaves = [models["gpt-4o"] for models in leaves["call_usage"].values()]
    assert row["sum_total_tokens"] == of_root["total_tokens"] == sum(one["total_tokens"] for one in of_leaves) == 41
    assert row["count"] == of_root["requests"] == 3
    # gpt-4o: 2.5 dollars a million prompt tokens, 10 a million completion tokens; 5+6+8 and 6+7+9 of them.
    assert row["sum_total_cost"] == (19 * 2.5 + 22 * 10) / 1e6
    assert sum(cost(one) for one in of_leaves) * 1e12 == cost(of_root) * 1e12 == row["sum_total_cost"] * 1e12


def cost(model: dict[str, Any]) -> float:
    """Dollars."""
    return float(round(model["prompt_tokens_total_cost"] + model["completion_tokens_total_cost"], 12))
