"""What happened in the project that the page is looked at with: agents' traces of the last hour, and single calls."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from random import Random
from typing import Any

from callmeter.local.agent_traces import agent_traces
from tests.pipeline.feed import Line

PROJECT = "acme/agents"
PAST_S = 3_600
CALLS_PER_SECOND = 3.0
SEED = 14


def past(now: datetime, calls_per_second: float = CALLS_PER_SECOND, past_s: int = PAST_S) -> Iterator[Line]:
    """Messages of traces of the last hour, in order; each time the same but for the time."""
    now_us = int(now.timestamp() * 1_000_000)
    stream = agent_traces(Random(SEED), PROJECT, now_us - past_s * 1_000_000, calls_per_second)
    for one in takewhile(lambda timed: timed.at_us <= now_us, stream):
        ((_, call),) = one.event.items()
        yield Line(call["trace_id"], json.dumps(one.event).encode())


def call(name: str, at: datetime, error: str | None = None, **more: Any) -> Line:
    """One call that has ended, of an op of that name."""
    complete: dict[str, Any] = {
        "project_id": PROJECT,
        "id": f"{name}-{at.timestamp():.6f}",
        "op_name": f"weave:///{PROJECT}/op/{name}:v1",
        "started_at": at.isoformat(),
        "ended_at": (at + timedelta(milliseconds=250)).isoformat(),
        "summary": {"usage": {"gpt-4o": {"prompt_tokens": 1_000, "completion_tokens": 100}}},
        "exception": error,
    }
    return Line(name, json.dumps({"complete": complete | more}).encode())


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)
