"""Questions to the api over HTTP, and how long the answers take."""

import http.client
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from aggregator.rollups.series import USAGE_METRICS
from bench.scale import tell

TIMEOUT_S = 120.0


class Asker:
    """One client with a connection that is kept."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)

    def ask(self, path: str, body: bytes) -> bytes:
        """The answer's body. Raises RuntimeError for any status but 200."""
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} answered {response.status}: {answer[:300]!r}")
        return answer

    def time_ms(self, path: str, body: bytes) -> float:
        """Milliseconds until the whole answer is here."""
        begun_s = time.perf_counter()
        self.ask(path, body)
        return (time.perf_counter() - begun_s) * 1000

    def close(self) -> None:
        self._connection.close()


def stats_body(project: str, end: datetime, back: timedelta, **more: Any) -> bytes:
    """A request to /calls/stats for what began in the time before `end`."""
    return msgspec.json.encode(
        {"project_id": project, "start": (end - back).isoformat(), "end": end.isoformat(), **more}
    )


def dashboard_metrics(latency_percentiles: Sequence[float] = ()) -> dict[str, Any]:
    """Calls, errors and latency; tokens and cost by model."""
    latency: dict[str, Any] = {"metric": "latency_ms", "aggregations": ["avg", "max"]}
    if latency_percentiles:
        latency["percentiles"] = latency_percentiles
    return {
        "call_metrics": [{"metric": "call_count"}, {"metric": "error_count"}, latency],
        "usage_metrics": [{"metric": "total_tokens"}, {"metric": "total_cost"}],
    }


def dashboard_questions(project: str, end: datetime) -> dict[str, bytes]:
    """The five questions that all answers are measured by: bodies of /calls/stats by what they ask."""
    sums = [{"metric": metric, "aggregations": ["sum"]} for metric in USAGE_METRICS]
    percentiles = [{**metric, "percentiles": [50, 95, 99]} for metric in sums]
    day, new_york = 86_400, {"timezone": "America/New_York"}
    hours = {name: timedelta(hours=count) for name, count in (("1 h", 1), ("1 d", 24), ("7 d", 168), ("30 d", 720))}
    return {
        "last hour auto": stats_body(project, end, hours["1 h"], **dashboard_metrics()),
        "24 h at 5 min": stats_body(project, end, hours["1 d"], granularity=300, **dashboard_metrics()),
        "7 d at 1 h, p95 latency": stats_body(project, end, hours["7 d"], granularity=3600, **dashboard_metrics([95])),
        "30 d sums": stats_body(project, end, hours["30 d"], granularity=day, usage_metrics=sums, **new_york),
        "30 d p50/p95/p99": stats_body(
            project, end, hours["30 d"], granularity=day, usage_metrics=percentiles, **new_york
        ),
    }


def time_single(address: str, path: str, bodies: Mapping[str, bytes], rounds: int, each: int) -> dict[str, list[float]]:
    """Milliseconds of every request, by question: a single client asks all questions in turn, round by round."""
    tell(f"asking {len(bodies)} questions of {path}, {rounds} rounds of {each}")
    asker = Asker(address)
    taken: dict[str, list[float]] = {name: [] for name in bodies}
    for body in bodies.values():
        asker.ask(path, body)
    for _ in range(rounds):
        for name, body in bodies.items():
            taken[name] += [asker.time_ms(path, body) for _ in range(each)]
    asker.close()
    return taken
