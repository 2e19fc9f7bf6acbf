"""The calls as the events tell them: the first start and the first end of each win; what they count (behaviour §1)."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.brute_force.events import End, Event, Start
from tests.brute_force.prices import Cost, PriceList, cost_of
from tests.brute_force.subtree import Links, Place
from tests.brute_force.usage import COUNTED, Counts


@dataclass
class Call:
    """All that is known of one call; without a start it is in no answer."""

    known: "Calls" = field(compare=False, repr=False)
    project_id: str
    call_id: str
    start: Start | None = None
    end: End | None = None

    @property
    def place(self) -> Place:
        """The call's project, trace and id; a call whose start has no trace id is its own trace."""
        trace_id = None if self.start is None else self.start.trace_id
        return self.project_id, self.call_id if trace_id is None else trace_id, self.call_id

    @property
    def latency_ms(self) -> int | None:
        """The time from start to end, each cut to milliseconds; None while unfinished, and where the clocks ran
        backwards."""
        if self.start is None or self.end is None:
            return None
        latency_ms = self.end.ended_at_us // 1000 - self.start.started_at_us // 1000
        return None if latency_ms < 0 else latency_ms

    @property
    def may_roll_up(self) -> bool:
        """Whether what it states may repeat what is below it, as its start or its end shows."""
        return (self.start is not None and self.start.may_roll_up) or (self.end is not None and self.end.may_roll_up)

    def models(self, prices: PriceList) -> list[str]:
        """The models that the call itself used; if it failed and states no usage, the one its start names."""
        if self.start is None or self.end is None:
            return []
        if self.end.failed and not self.end.usage and self.start.model is not None:
            return [self.start.model]
        return [row.model for row in self.known.own(self, prices)]

    @property
    def error_class(self) -> str | None:
        """The word that what it says of its failure begins with; None where that is none."""
        if self.end is None or not self.end.error:
            return None
        word = re.split(r"[:\n(]", self.end.error)[0].strip()
        return word if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.$<>\[\]-]{0,99}", word) else None

    def used(self, prices: PriceList, roots_only: bool = False) -> "list[Row]":
        """Returns what usage metrics count of the call: its own usage; where roots are asked for, once it has ended,
        its tree's."""
        if not roots_only:
            return self.known.own(self, prices)
        return [] if self.end is None else self.known.tree(self, prices)


class Row(NamedTuple):
    """The usage that a call, or a root with all below it, has of one model; the cost is None without a price."""

    model: str
    counts: Counts
    cost: Cost | None


class Calls:
    """Every call that an event has told of."""

    def __init__(self) -> None:
        self.by_identity: dict[tuple[str, str], Call] = {}
        self.links = Links()
        # What was worked out since the last event: of roll-ups in roll-ups it would be worked out again and again.
        self._own: dict[tuple[Place, int], list[Row]] = {}
        self._placed: dict[Place, Call] = {}

    def add(self, event: Event) -> None:
        """Take in what the event tells that is not yet known."""
        self._own.clear()
        self._placed.clear()
        identity = event.project_id, event.call_id
        call = self.by_identity.setdefault(identity, Call(self, *identity))
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

    def subtree(self, call: Call) -> list[Call]:
        """A call and all below it that have a start."""
        if not self._placed:
            self._placed = {other.place: other for other in self.by_identity.values() if other.start is not None}
        return [self._placed[place] for place in self.links.subtree(call.place) if place in self._placed]

    def own(self, call: Call, prices: PriceList) -> list[Row]:
        """Returns what a call counts itself: of a roll-up what it states less what the calls below it count, never
        below 0."""
        known = self._own.get((call.place, id(prices)))
        if known is None:
            known = self._own[call.place, id(prices)] = self._work_out_own(call, prices)
        return known

    def _work_out_own(self, call: Call, prices: PriceList) -> list[Row]:
        if call.start is None or call.end is None:
            return []
        below: dict[str, list[int]] = {}
        if call.may_roll_up:
            for other in self.subtree(call):
                for row in self.own(other, prices) if other is not call else []:
                    counted = below.setdefault(row.model, [0] * COUNTED)
                    below[row.model] = [one + more for one, more in zip(counted, row.counts, strict=False)]
        rows = []
        for model, stated in call.end.usage.items():
            own = stated
            if call.may_roll_up:
                own = stated.less(below.get(model, [0] * COUNTED))
                if not any(own[:6]):
                    continue
            price = prices.find(model, call.project_id, call.start.started_at_us) if stated.is_read else None
            rows.append(Row(model, own, None if price is None else cost_of(own, stated, price)))
        return rows

    def tree(self, call: Call, prices: PriceList) -> list[Row]:
        """Returns what a call and all below it count, by model; models of which nothing was used are left out."""
        counts: dict[str, list[int]] = {}
        costs: dict[str, list[int]] = {}
        for other in self.subtree(call):
            for row in self.own(other, prices):
                known = counts.get(row.model, [0] * 6)
                counts[row.model] = [one + more for one, more in zip(known, row.counts[:6], strict=True)]
                if row.cost is not None:
                    known = costs.get(row.model, [0] * 4)
                    costs[row.model] = [one + more for one, more in zip(known, row.cost, strict=True)]
        return [
            Row(model, Counts._make([*numbers, 0, True]), Cost(*costs[model]) if model in costs else None)
            for model, numbers in counts.items()
            if any(numbers)
        ]


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
