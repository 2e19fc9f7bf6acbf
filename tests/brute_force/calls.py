"""The calls as the events tell them: the first start and the first end of each win (behaviour §1)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.brute_force.events import End, Event, Start
from tests.brute_force.prices import Cost, PriceList, cost_of
from tests.brute_force.subtree import Links, Place
from tests.brute_force.usage import Counts


@dataclass
class Call:
    """What is known of one call; without a start it is in no answer."""

    project_id: str
    call_id: str
    start: Start | None = None
    end: End | None = None

    @property
    def place(self) -> Place:
        """Its project, trace and id; a call whose start has no trace id is its own trace."""
        trace_id = None if self.start is None else self.start.trace_id
        return self.project_id, self.call_id if trace_id is None else trace_id, self.call_id

    @property
    def latency_ms(self) -> int | None:
        """From start to end, each cut to milliseconds; None while unfinished, or where it would be negative."""
        if self.start is None or self.end is None:
            return None
        latency_ms = self.end.ended_at_us // 1000 - self.start.started_at_us // 1000
        return None if latency_ms < 0 else latency_ms

    def used(self, prices: PriceList) -> list[tuple[str, Counts, Cost | None]]:
        """Its own usage: model, counts, and cost (None without a price)."""
        if self.start is None or self.end is None or self.end.may_roll_up:
            return []
        rows = []
        for model, counts in self.end.usage.items():
            price = prices.find(model, self.project_id, self.start.started_at_us)
            rows.append((model, counts, None if price is None or not counts.is_read else cost_of(counts, price)))
        return rows


class Calls:
    """Every call that an event has told of."""

    def __init__(self) -> None:
        self.by_identity: dict[tuple[str, str], Call] = {}
        self.links = Links()

    def add(self, event: Event) -> None:
        """Take in what the event tells that is not yet known."""
        identity = event.project_id, event.call_id
        call = self.by_identity.setdefault(identity, Call(*identity))
        if call.start is None and event.start is not None:
            call.start = event.start
            self.links.add(*call.place, event.start.parent_id)
        if call.end is None and event.end is not None:
            call.end = event.end

    def started(self, project_id: str) -> dict[str, Call]:
        """The calls of a project that have a start, by id."""
        return {
            call.call_id: call
            for call in self.by_identity.values()
            if call.project_id == project_id and call.start is not None
        }


# How each list of a filter matches one of its values against a call.
_MATCHES: dict[str, Callable[[Call, Start, str], bool]] = {
    "op_names": lambda call, start, value: _matches(start.op_name, value),
    "input_refs": lambda call, start, value: any(_matches(ref, value) for ref in start.input_refs),
    "output_refs": lambda call, start, value: (
        call.end is not None and any(_matches(ref, value) for ref in call.end.output_refs)
    ),
    "parent_ids": lambda call, start, value: start.parent_id == value,
    "trace_ids": lambda call, start, value: call.place[1] == value,
    "call_ids": lambda call, start, value: call.call_id == value,
    "thread_ids": lambda call, start, value: start.thread_id == value,
    "turn_ids": lambda call, start, value: start.turn_id == value,
    "wb_user_ids": lambda call, start, value: start.wb_user_id == value,
    "wb_run_ids": lambda call, start, value: (
        start.wb_run_id == value or ("/" not in value and start.wb_run_id == f"{call.project_id}/{value}")
    ),
}


def passes(call: Call, start: Start, filters: Mapping[str, Any]) -> bool:
    """Whether a call meets every field of the filter; an empty list or null restricts nothing."""
    if filters.get("trace_roots_only") and start.parent_id is not None:
        return False
    return all(
        any(matches(call, start, value) for value in filters[field])
        for field, matches in _MATCHES.items()
        if filters.get(field)
    )


def _matches(name: str, wanted: str) -> bool:
    """Exact, or by prefix up to and including the colon when the wanted name ends in `:*`."""
    return name.startswith(wanted[:-1]) if wanted.endswith(":*") else name == wanted
