"""Asks an api over HTTP what `top` shows: totals, rows, examples and trends, each with how fresh it is."""

import json
from datetime import UTC, datetime
from http import HTTPStatus
from typing import NamedTuple

from callmeter.api_client import Answer, ApiClient, Fresh, NotAnswered
from callmeter.top.view import ORDERS_OF_MODELS, View

ROWS_MAX = 100
EXAMPLES_MAX = 50
# Seconds of the buckets of the trend: the finest that gives no more of them than a wide terminal has cells.
_BUCKETS_S = (60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 21_600, 86_400)
BUCKETS_MAX = 120
CALL_METRICS = (
    {"metric": "call_count"},
    {"metric": "error_count", "aggregations": ["sum", "avg"]},
    {"metric": "latency_ms", "aggregations": [], "percentiles": [50, 95]},
)
# Of the trend of one row, which has few cells.
ROW_BUCKETS_MAX = 24


class Trend(NamedTuple):
    """Calls and errors by the bucket, oldest first."""

    calls: list[int]
    errors: list[int]


class Shown(NamedTuple):
    """All that one look at an api brought: the answers of /calls/breakdown and /calls/examples, and the trend."""

    breakdown: Answer
    examples: Answer
    trend: Trend
    fresh: Fresh


class Api(ApiClient):
    """What a terminal looks at, asked of an api."""

    def projects(self) -> list[str]:
        """Ids of the projects that may be read, in the api's order. Raises NotAnswered."""
        return [project["project_id"] for project in self._open("/projects", None)[0]["projects"]]

    def look(self, view: View, now: datetime) -> Shown:
        """All that a terminal shows of a view. Raises NotAnswered."""
        breakdown, fresh = self._open("/calls/breakdown", breakdown_question(view, now))
        if view.dimension == "model":  # the sums over models know nothing of errors and latency
            breakdown["total"] = self._open("/calls/breakdown", totals_question(view, now))[0]["total"]
        return Shown(breakdown, self._examples(view, now), self.trend(view, now), fresh)

    def _examples(self, view: View, now: datetime) -> Answer:
        try:
            return self._open("/calls/examples", examples_question(view, now))[0]
        except NotAnswered as refused:
            if refused.status != HTTPStatus.NOT_FOUND:
                raise
            return {"calls": [], "known": False}  # an api of before there were examples has the rest

    def trend(self, view: View, now: datetime) -> Trend:
        """How calls and errors went over the window. Raises NotAnswered."""
        rows = self._open("/calls/stats", trend_question(view, now, BUCKETS_MAX))[0]["call_buckets"]
        return Trend([row["sum_call_count"] for row in rows], [row["sum_error_count"] for row in rows])

    def row_trend(self, view: View, value: str, now: datetime) -> list[float]:
        """How the calls of one row went; empty where rows of this kind cannot be filtered for. Raises NotAnswered."""
        narrowed = view.narrowed(value)
        if narrowed is None:
            return []
        rows = self._open("/calls/stats", trend_question(narrowed, now, ROW_BUCKETS_MAX))[0]["call_buckets"]
        return [float(row["sum_call_count"]) for row in rows]

    def model_trends(self, view: View, now: datetime) -> dict[str, list[float]]:
        """How the calls of each model went, all by one question. Raises NotAnswered."""
        question = trend_question(view, now, ROW_BUCKETS_MAX) | {"usage_metrics": [{"metric": "total_tokens"}]}
        trends: dict[str, list[float]] = {}
        for row in self._open("/calls/stats", question)[0]["usage_buckets"]:
            trends.setdefault(row["model"], []).append(float(row["count"]))
        return trends

    def _open(self, path: str, question: Answer | None) -> tuple[Answer, Fresh]:
        return self.ask(path, None if question is None else json.dumps(question).encode())


def totals_question(view: View, now: datetime) -> Answer:
    """The body of /calls/breakdown for the sums alone."""
    return breakdown_question(view._replace(dimension="op_name", order_by="count"), now) | {"limit": 1}


def breakdown_question(view: View, now: datetime) -> Answer:
    """The body of /calls/breakdown: the rows, their sums, and what was before."""
    of_models = view.dimension == "model"
    return {
        "project_id": view.project_id,
        "start": _begin(now, view.window_s, 60),
        "dimension": view.dimension,
        "call_metrics": CALL_METRICS[:1] if of_models else CALL_METRICS,
        "usage_metrics": [{"metric": "total_tokens"}, {"metric": "total_cost"}],
        "filter": view.filter,
        "order_by": "count" if of_models and view.order_by not in ORDERS_OF_MODELS else view.order_by,
        "order": view.order,
        "limit": ROWS_MAX,
        "compare": "previous",
    }


def examples_question(view: View, now: datetime) -> Answer:
    """The body of /calls/examples."""
    return {
        "project_id": view.project_id,
        "start": _begin(now, view.window_s, 60),
        "filter": view.filter,
        "kind": view.kind,
        "limit": EXAMPLES_MAX,
    }


def trend_question(view: View, now: datetime, buckets_max: int) -> Answer:
    """The body of /calls/stats for the trend; it begins with a whole bucket, so no single calls are read for it."""
    granularity_s = next((one for one in _BUCKETS_S if view.window_s / one <= buckets_max), _BUCKETS_S[-1])
    return {
        "project_id": view.project_id,
        "start": _begin(now, view.window_s, granularity_s),
        "granularity": granularity_s,
        "call_metrics": [{"metric": "call_count"}, {"metric": "error_count"}],
        "filter": view.filter,
    }


def _begin(now: datetime, window_s: int, whole_s: int) -> str:
    """Return when a window that ends now began, moved back to a whole slot: no single calls are read for its edge."""
    return datetime.fromtimestamp((now.timestamp() - window_s) // whole_s * whole_s, UTC).isoformat()
