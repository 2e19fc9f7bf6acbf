"""What `callmeter demo` says where there is no terminal: the sums of the last minutes on one line, from our api."""

import json
import urllib.request
from collections import defaultdict
from datetime import datetime
from typing import Any, NamedTuple

MINUTES_MAX = 15
ANSWER_TIMEOUT_S = 5.0
# The buckets of the question that is printed to be pasted: its answer fits a screen.
PASTED_GRANULARITY_S = 900


class Minute(NamedTuple):
    """One row; cost in USD, None where nothing had a price; latency None where nothing ended."""

    begin: datetime
    calls: int
    errors: int
    tokens: int
    cost: float | None
    p95_latency_ms: float | None


class Overview(NamedTuple):
    """The last minutes, oldest first, the sums over them, and how old what they tell is, in seconds."""

    minutes: list[Minute]
    total: Minute
    age_s: float | None


def question(project_id: str, now: datetime, minutes: int = MINUTES_MAX) -> dict[str, Any]:
    """The body of a request for the last `minutes` minutes, the current one included; `now` has a zone."""
    begin = datetime.fromtimestamp(now.timestamp() // 60 * 60 - (minutes - 1) * 60, now.tzinfo)
    return {
        "project_id": project_id,
        "start": begin.isoformat(),
        "granularity": 60,
        "call_metrics": [
            {"metric": "call_count"},
            {"metric": "error_count"},
            {"metric": "latency_ms", "aggregations": [], "percentiles": [95]},
        ],
        "usage_metrics": [{"metric": "total_tokens"}, {"metric": "total_cost"}],
    }


def pasted_question(project_id: str, now: datetime) -> dict[str, Any]:
    """The body of the request that is printed: the same in few buckets, so that its answer can be read."""
    return question(project_id, now) | {
        "granularity": PASTED_GRANULARITY_S,
        "usage_metrics": [{"metric": "total_cost"}],
    }


def curl(api_url: str, body: dict[str, Any]) -> str:
    """A command line that asks this, to be pasted."""
    return f"curl -s {api_url}/calls/stats -H 'content-type: application/json' -d '{json.dumps(body)}'"


def ask(api_url: str, body: dict[str, Any]) -> Overview:
    """Ask the api. Raises OSError when it does not answer, or not with 200."""
    request = urllib.request.Request(
        f"{api_url}/calls/stats", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=ANSWER_TIMEOUT_S) as response:
        age_s = response.headers.get("X-Data-Lag-Seconds")
        return overview(json.load(response), None if age_s is None else float(age_s))


def overview(answer: dict[str, Any], age_s: float | None) -> Overview:
    """The answer to `question` as rows: usage of all models together."""
    tokens: dict[str, int] = defaultdict(int)
    costs: dict[str, float] = {}
    for row in answer["usage_buckets"]:
        tokens[row["timestamp"]] += row["sum_total_tokens"]
        if row["sum_total_cost"] is not None:
            costs[row["timestamp"]] = costs.get(row["timestamp"], 0.0) + row["sum_total_cost"]
    minutes = [
        Minute(
            datetime.fromisoformat(at),
            row["sum_call_count"],
            row["sum_error_count"],
            tokens[at],
            costs.get(at),
            row["p95_latency_ms"],
        )
        for row in answer["call_buckets"]
        for at in [row["timestamp"]]
    ]
    total = Minute(
        datetime.fromisoformat(answer["start"]),
        sum(minute.calls for minute in minutes),
        sum(minute.errors for minute in minutes),
        sum(minute.tokens for minute in minutes),
        sum(costs.values()) if costs else None,
        None,
    )
    return Overview(minutes, total, age_s)


def plain_line(shown: Overview, lag_messages: int | None) -> str:
    """The sums, and the last full minute's latency, on one line, for where there is no terminal."""
    total, last = shown.total, shown.minutes[-2:][0] if shown.minutes else shown.total
    return (
        f"last {len(shown.minutes)} min: {total.calls} calls, {_errors(total)} errors, {total.tokens} tokens, "
        f"{_cost(total)}, p95 latency {_latency(last)}; {freshness(shown, lag_messages)}"
    )


def freshness(shown: Overview, lag_messages: int | None) -> str:
    """How far what is shown is behind."""
    lag = "unknown" if lag_messages is None else f"{lag_messages:,} messages"
    age = "" if shown.age_s is None else f", as of {shown.age_s:.1f} s ago"
    return f"lag {lag}{age}"


def _errors(minute: Minute) -> str:
    share = minute.errors / minute.calls if minute.calls else 0.0
    return f"{minute.errors:,} ({share:.1%})"


def _cost(minute: Minute) -> str:
    return "no price" if minute.cost is None else f"${minute.cost:,.2f}"


def _latency(minute: Minute) -> str:
    return "-" if minute.p95_latency_ms is None else f"{minute.p95_latency_ms / 1000:.2f} s"
