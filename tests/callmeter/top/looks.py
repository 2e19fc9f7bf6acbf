"""A look at an api that never was: rows, calls and trends for what draws them."""

from typing import Any

from callmeter.api_client import Fresh
from callmeter.top.asking import Shown, Trend
from callmeter.top.screen import Frame
from callmeter.top.view import View

VIEW = View("acme/agents")


def row(value: Any, calls: int, errors: int = 0, **more: Any) -> dict[str, Any]:
    """A row of a breakdown; its calls were half as many before."""
    numbers = {
        "sum_call_count": calls,
        "sum_error_count": errors,
        "avg_error_count": errors / calls,
        "p50_latency_ms": 812.0,
        "p95_latency_ms": 4_440.0,
        "sum_total_tokens": calls * 1_000,
        "sum_total_cost": calls * 0.001,
        "count": calls,
    }
    before = numbers | {"sum_call_count": calls // 2, "count": calls // 2, "sum_error_count": errors}
    return {"value": value, **numbers, "share": 0.1, "previous": before, **more}


def call(number: int, **more: Any) -> dict[str, Any]:
    """A call that failed; its id is as long as a UUID."""
    return {
        "id": f"019e6b0b-8685-7988-98bd-{number:012}",
        "op_name": "weave:///acme/agents/op/llm.chat:v1",
        "started_at": f"2026-06-10T12:30:{59 - number:02}.000Z",
        "latency_ms": 1_040,
        "models": [],
        "cost": None,
        "failed": True,
        "error": "RateLimitError: 429 from\nanthropic, try again later " * 3,
        **more,
    }


def shown(rows: int = 12, calls: int = 12, lag_s: float | None = 0.4, known: bool = True) -> Shown:
    """`rows` ops, the first with the most calls and many errors, and `calls` failed calls."""
    listed = [row(f"weave:///acme/agents/op/op-{n}:v1", 50_000 - n * 100, 5_000 if n == 0 else 10) for n in range(rows)]
    total = row(None, 72_434, 5_229)
    breakdown = {
        "dimension": "op_name",
        "start": "2026-06-10T11:31:00Z",
        "end": "2026-06-10T12:31:00Z",
        "rows": listed,
        "rest": {"values": 3},
        "total": total,
    }
    examples = {"calls": [call(number) for number in range(calls)]}
    trend = Trend([10 * n for n in range(60)], [n % 5 for n in range(60)])
    return Shown(breakdown, examples, trend, Fresh("2026-06-10T12:30:59Z", lag_s, known))


def frame(**more: Any) -> Frame:
    """A frame with all of it."""
    return Frame(VIEW, shown(), **more)
