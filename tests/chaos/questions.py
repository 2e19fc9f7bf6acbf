"""What is asked in the end: coarse and fine, filtered in every way, with costs and percentiles, and whole subtrees."""

import random
from typing import Any

from tests.brute_force import Model
from tests.brute_force.calls import Call
from tests.brute_force.events import Start

ROOTS = 60
CALLS = 20
Question = tuple[str, dict[str, Any]]

BEGIN = "2025-03-25T00:00:00Z"
EDGES = {"start": "2025-03-28T11:22:33.456789Z", "end": "2025-03-30T22:33:44.987654Z"}
DAY = {"start": "2025-03-29T12:00:00Z", "end": "2025-03-30T12:00:00Z"}
SECONDS = {"start": "2025-03-29T12:00:01.5Z", "end": "2025-03-29T14:00:00Z"}

ALL = ["sum", "avg", "min", "max", "count", "count_true"]
CALL_METRICS = [
    {"metric": "latency_ms", "aggregations": ALL, "percentiles": [0, 50, 95, 100]},
    {"metric": "error_count", "aggregations": ["sum", "count"]},
    {"metric": "call_count", "aggregations": ["sum"]},
]
USAGE_METRICS = [
    {"metric": "input_tokens", "aggregations": ["sum", "min", "max"], "percentiles": [50]},
    {"metric": "total_tokens", "aggregations": ["sum"]},
    {"metric": "cache_read_input_tokens", "aggregations": ["sum", "max"]},
    {"metric": "total_cost", "aggregations": ["sum", "count"]},
]
BOTH = {"call_metrics": CALL_METRICS, "usage_metrics": USAGE_METRICS}
SUMS = {
    "call_metrics": [{"metric": "latency_ms", "aggregations": ["sum", "min", "max", "count"]}, CALL_METRICS[1]],
    "usage_metrics": [{"metric": "total_tokens"}, {"metric": "output_cost"}],
}


def questions(model: Model, rng: random.Random, until: str) -> list[Question]:
    """Path and request of each question, about every project there is; most end with the day before `until`."""
    projects = sorted({project_id for project_id, _ in model.calls.by_identity})
    return [question for project_id in projects for question in _of_project(model, project_id, rng, until)]


def _of_project(model: Model, project_id: str, rng: random.Random, until: str) -> list[Question]:
    started = [(call, call.start) for call in model.calls.started(project_id).values() if call.start is not None]
    whole = {"start": BEGIN, "end": f"{until}T00:00:00Z"}
    stats = [
        {**whole, **BOTH, "granularity": 86_400},
        {**whole, **BOTH, "granularity": 3_600, "timezone": "Europe/Berlin"},
        {**EDGES, **BOTH, "granularity": 21_600, "timezone": "Asia/Kolkata"},
        {**DAY, **SUMS, "granularity": 60},
        {**SECONDS, **SUMS, "granularity": 7},
        *({**whole, **SUMS, "granularity": 86_400, "filter": chosen} for chosen in _filters(project_id, started, rng)),
    ]
    usage = {"call_ids": _ids(started, rng), "include_costs": True}
    asked = [("/calls/stats", request) for request in stats] + [("/calls/usage", usage)]
    return [(path, {"project_id": project_id, **request}) for path, request in asked]


def _filters(project_id: str, started: list[tuple[Call, Start]], rng: random.Random) -> list[dict[str, Any]]:
    some = [start for _, start in rng.sample(started, min(5, len(started)))]
    user = some[0].wb_user_id
    return [
        {"trace_roots_only": True},
        {"op_names": [f"weave:///{project_id}/op/llm.op-1:*", some[0].op_name]},
        {"wb_user_ids": [user], "trace_roots_only": True},
        {"wb_user_ids": [user, "user-3"], "op_names": [f"weave:///{project_id}/op/llm.op-0:v1"]},
        {"trace_ids": [start.trace_id for start in some]},
        {"thread_ids": [start.thread_id for start in some]},
        {"parent_ids": [start.parent_id for start in some if start.parent_id is not None]},
        {"input_refs": [f"weave:///{project_id}/object/Agent:v1"]},
    ]


def _ids(started: list[tuple[Call, Start]], rng: random.Random) -> list[str]:
    """Roots, calls below them, and one that is not known."""
    roots = [call.call_id for call, start in started if start.parent_id is None]
    below = [call.call_id for call, start in started if start.parent_id is not None]
    return [*rng.sample(roots, min(ROOTS, len(roots))), *rng.sample(below, min(CALLS, len(below))), "unknown"]
