"""Some hours of agent traces, and the questions that dashboards ask about them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from random import Random
from typing import Any

from callmeter.local.agent_traces import agent_traces
from tests.support.strategies import (
    AGGREGATIONS,
    BUCKETS_MAX,
    CALL_METRICS,
    GRANULARITIES_LONG_S,
    GRANULARITIES_S,
    PERCENTILES,
    USAGE_METRICS,
    ZONES,
)

Json = dict[str, Any]
Question = tuple[str, Json]

PROJECT = "acme/agents"
BEGIN = datetime(2026, 5, 11, 10, 40, tzinfo=UTC)  # a new price of acme-dated, and Kathmandu's midnight, lie ahead
CALLS_PER_SECOND = 0.1
FILTER_FIELDS = {
    "op_names": "op_name",
    "parent_ids": "parent_id",
    "trace_ids": "trace_id",
    "call_ids": "id",
    "thread_ids": "thread_id",
    "turn_ids": "turn_id",
    "wb_user_ids": "wb_user_id",
    "wb_run_ids": "wb_run_id",
}


def lifelike_events(rng: Random, count: int) -> list[Json]:
    """The first events of a project, in the order of time."""
    begin_us = int(BEGIN.timestamp()) * 1_000_000
    return [timed.event for timed in islice(agent_traces(rng, PROJECT, begin_us, CALLS_PER_SECOND), count)]


def lifelike_questions(rng: Random, events: Sequence[Json], count: int) -> list[Question]:
    """Questions about these events, one in four about usage."""
    starts = [event["start"] for event in events if "start" in event]
    return [
        ("/calls/usage", _usage(rng, starts)) if rng.random() < 0.25 else ("/calls/stats", _stats(rng, starts))
        for _ in range(count)
    ]


def _usage(rng: Random, starts: Sequence[Json]) -> Json:
    call_ids = [start["id"] for start in rng.sample(starts, rng.randint(1, 20))]
    return {"project_id": PROJECT, "call_ids": call_ids, "include_costs": rng.random() < 0.7}


def _stats(rng: Random, starts: Sequence[Json]) -> Json:
    begin, end = _window(rng, starts)
    range_s = (end - begin).total_seconds()
    fitting = [g for g in (*GRANULARITIES_S, *GRANULARITIES_LONG_S) if range_s / g <= BUCKETS_MAX]
    request: Json = {"project_id": PROJECT, "start": begin.isoformat(), "end": end.isoformat()}
    request["granularity"] = rng.choice([None, *fitting])
    request["timezone"] = rng.choice(ZONES)
    request["filter"] = _filter(rng, starts) if rng.random() < 0.6 else None
    request["call_metrics"] = [_spec(rng, CALL_METRICS) for _ in range(rng.randint(0, 3))]
    request["usage_metrics"] = [_spec(rng, USAGE_METRICS) for _ in range(rng.randint(0, 3))]
    return request


def _window(rng: Random, starts: Sequence[Json]) -> tuple[datetime, datetime]:
    """Returns a window from one call to another, to the microsecond; or whole hours around all of them."""
    if rng.random() < 0.3:
        hour = BEGIN.replace(minute=0)
        return hour - timedelta(hours=rng.choice([0, 1, 24])), hour + timedelta(hours=rng.choice([1, 6, 24, 72]))
    moments = sorted(datetime.fromisoformat(start["started_at"]) for start in rng.sample(starts, 2))
    return moments[0], moments[1] + timedelta(microseconds=rng.choice([0, 1, 60_000_000]))


def _spec(rng: Random, metrics: Sequence[str]) -> Json:
    return {
        "metric": rng.choice(metrics),
        "aggregations": rng.sample(AGGREGATIONS, rng.randint(0, 3)),
        "percentiles": rng.sample(PERCENTILES, rng.randint(1, 4)),
    }


def _filter(rng: Random, starts: Sequence[Json]) -> Json:
    """Returns a filter of one or two fields, with values of some calls: often such as occur together."""
    pattern = rng.choice(starts)
    chosen: Json = {}
    for field in rng.sample([*FILTER_FIELDS, "trace_roots_only", "input_refs"], rng.randint(1, 2)):
        if field == "trace_roots_only":
            chosen[field] = True
        elif field == "input_refs":
            chosen[field] = [f"weave:///{PROJECT}/object/support:*", "weave:///nowhere/object/x:v1"]
        else:
            others = [start[FILTER_FIELDS[field]] for start in rng.sample(starts, rng.choice([0, 1, 30]))]
            chosen[field] = [value for value in (pattern[FILTER_FIELDS[field]], *others) if value is not None]
    return chosen
