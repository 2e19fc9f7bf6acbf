"""The whole product in memory: fold messages, then ask."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from tests.brute_force import instants
from tests.brute_force.calls import Call, Calls, Row, passes
from tests.brute_force.events import Invalid, decode
from tests.brute_force.prices import PICO_PER_USD, PriceList
from tests.brute_force.requests import USAGE_LIMIT_DEFAULT, Refused, check_trace_usage, check_usage
from tests.brute_force.stats import answer_stats

# A key of the usage answer and the field of the counts that it shows.
USAGE_COUNTS = {
    "requests": "requests",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
    "cache_read_input_tokens": "cache_read_input_tokens",
    "cache_creation_input_tokens": "cache_creation_input_tokens",
}
# A key of the usage answer and the class of cost that it shows.
USAGE_COSTS = {
    "prompt_tokens_total_cost": "uncached_input_pico",
    "completion_tokens_total_cost": "output_pico",
    "cache_read_input_tokens_total_cost": "cache_read_pico",
    "cache_creation_input_tokens_total_cost": "cache_creation_pico",
}


class Model:
    """The calls that the folded messages amount to. `dead_letters` holds what was no event, in order."""

    def __init__(self, calls: Calls, dead_letters: list[Invalid], prices: PriceList) -> None:
        self.calls = calls
        self.dead_letters = dead_letters
        self.prices = prices

    @property
    def started_calls(self) -> int:
        """How many distinct calls have a start."""
        return sum(call.start is not None for call in self.calls.by_identity.values())

    def case(self, path: str, request: Any, now: datetime) -> dict[str, Any]:
        """The request with its exact answer, in the form of a golden case (see `tests.support.answers`)."""
        case: dict[str, Any] = {"name": str(request), "path": path, "request": request, "status": 200}
        try:
            if path == "/calls/usage":
                return case | {"expected": self.usage(request)}
            if path == "/trace/usage":
                return case | {"expected": self.trace_usage(request)}
            now_us = instants.from_datetime(now)
            answer = answer_stats(self._started(request), self.prices, request, now_us)
            return case | {"expected": answer.body, "ranges": answer.ranges}
        except Refused as refused:
            return case | {"status": refused.status} | ({"loc": refused.loc} if refused.loc else {})

    def stats(self, request: Any, now: datetime) -> dict[str, Any]:
        """The exact body of the answer to `POST /calls/stats`. Raises Refused."""
        now_us = instants.from_datetime(now)
        return answer_stats(self._started(request), self.prices, request, now_us).body

    def usage(self, request: Any) -> dict[str, Any]:
        """The exact body of the answer to `POST /calls/usage`. Raises Refused."""
        check_usage(request)
        started = self.calls.started(request["project_id"])
        return self._answer({call_id: started.get(call_id) for call_id in request["call_ids"]}, request)

    def trace_usage(self, request: Any) -> dict[str, Any]:
        """The exact body of the answer to `POST /trace/usage`. Raises Refused."""
        check_trace_usage(request)
        started = self.calls.started(request["project_id"])
        filters = request.get("filter") or {}
        selected: dict[str, Call | None] = {
            call_id: call
            for call_id, call in started.items()
            if call.start is not None and passes(call, call.start, filters)
        }
        if len(selected) > request.get("limit", USAGE_LIMIT_DEFAULT):
            raise Refused(413)
        return self._answer(selected, request)

    def _answer(self, asked: dict[str, Call | None], request: Any) -> dict[str, Any]:
        call_usage, unfinished = {}, set()
        for call_id, call in asked.items():
            below = [] if call is None else self.calls.subtree(call)
            unfinished |= {one.call_id for one in below if one.end is None}
            rows = [] if call is None else self.calls.tree(call, self.prices)
            call_usage[call_id] = {row.model: _fields(row, request.get("include_costs", False)) for row in rows}
        return {"call_usage": call_usage, "unfinished_call_ids": sorted(unfinished)}

    def _started(self, request: Any) -> Iterable[Call]:
        project_id = request.get("project_id") if isinstance(request, dict) else None
        return self.calls.started(project_id).values() if isinstance(project_id, str) else []


def _fields(row: Row, include_costs: bool) -> dict[str, Any]:
    counts, costs = row.counts._asdict(), row.cost._asdict() if include_costs and row.cost is not None else {}
    return {key: counts[field] for key, field in USAGE_COUNTS.items()} | {
        key: costs[field] / PICO_PER_USD if costs else None for key, field in USAGE_COSTS.items()
    }


def fold(messages: Iterable[object], prices: PriceList, now: datetime) -> Model:
    """The model of these message values (bytes, text or parsed), in order, by a broker whose clock shows `now`."""
    calls, dead_letters = Calls(), []
    for message in messages:
        for event in decode(message, instants.from_datetime(now)):
            if isinstance(event, Invalid):
                dead_letters.append(event)
            else:
                calls.add(event)
    return Model(calls, dead_letters, prices)
