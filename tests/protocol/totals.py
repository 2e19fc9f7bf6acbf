"""What must be the same however messages were read, applied, lost and read again; and its fold by brute force."""

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from aggregator.rollups.levels import LEVELS
from aggregator.rollups.view import View
from aggregator.rollups.views import error_facet, facet_views_of, model_facet, views_of
from aggregator.time_units import MINUTE_US, SECOND_US
from tests.protocol.sent import BEGAN, FAILURE, End, Sent, Start, Told

BEGAN_US = int(BEGAN.timestamp()) * SECOND_US

CallName = tuple[str, str]
"""Project id, call id."""


class Slot(NamedTuple):
    """A slot's project, level and view, and when it begins (microseconds since 1970)."""

    project_id: str
    level: str
    view: View
    begins_us: int


@dataclass
class Counted:
    """The counts of one slot; the sum of latencies is kept apart from the latencies of its sketch."""

    calls: int = 0
    errors: int = 0
    finished: int = 0
    latency_ms_sum: int = 0
    latencies_ms: list[int] = field(default_factory=list)
    rows: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)

    def add(self, more: "Counted") -> None:
        """Adds what another slot counts."""
        self.calls += more.calls
        self.errors += more.errors
        self.finished += more.finished
        self.latency_ms_sum += more.latency_ms_sum
        self.latencies_ms = sorted(self.latencies_ms + more.latencies_ms)
        self.rows.update(more.rows)
        self.tokens.update(more.tokens)


@dataclass
class Totals:
    """Totals of one shard: `numbers` of records by call, `posted` numbers by project and minute, tokens of subtrees by
    model with how many calls in them have no end, and the calls listed as unfinished."""

    counters: Counter[str] = field(default_factory=Counter)
    registered: set[str] = field(default_factory=set)
    numbers: dict[CallName, int] = field(default_factory=dict)
    slots: dict[Slot, Counted] = field(default_factory=dict)
    posted: dict[tuple[str, int], list[int]] = field(default_factory=dict)
    subtrees: dict[CallName, tuple[Counter[str], int]] = field(default_factory=dict)
    open_calls: set[CallName] = field(default_factory=set)


def fold(messages: Iterable[Sent]) -> Totals:
    """First what every call is, then what all calls come to."""
    totals = Totals()
    starts: dict[CallName, Start] = {}
    ends: dict[CallName, End] = {}
    for sent in messages:
        totals.counters.update(messages=1, dead_letters=not sent.events, events=len(sent.events))
        for told in sent.events:
            _tell(told, starts, ends, totals)
    for name, start in starts.items():
        _count(name, start, ends.get(name), totals)
        below = [other for other in starts if name in _lineage(other, starts)]
        tokens: Counter[str] = Counter()
        for other in below:
            if other in ends:
                tokens[ends[other].model] += ends[other].input_tokens
        totals.subtrees[name] = tokens, sum(other not in ends for other in below)
    totals.open_calls = starts.keys() - ends.keys()
    for counted in totals.slots.values():
        counted.latencies_ms.sort()
    return totals


def _tell(told: Told, starts: dict[CallName, Start], ends: dict[CallName, End], totals: Totals) -> None:
    """The first start and the first end win. Records are numbered as calls and parents come up."""
    name = told.project_id, told.call_id
    totals.registered.add(told.project_id)
    totals.numbers.setdefault(name, len(totals.numbers))
    again = (told.start is not None and name in starts) or (told.end is not None and name in ends)
    totals.counters.update(duplicates=again)
    if told.end is not None:
        ends.setdefault(name, told.end)
    if told.start is not None and name not in starts:
        starts[name] = told.start
        totals.counters.update(calls=1)
        if told.start.parent_id is not None:
            totals.numbers.setdefault((told.project_id, told.start.parent_id), len(totals.numbers))


def _lineage(name: CallName, starts: dict[CallName, Start]) -> Iterator[CallName]:
    """The call, its parent, its parent's parent, as long as they have started."""
    while name in starts:
        yield name
        name = name[0], starts[name].parent_id or ""


def _count(name: CallName, start: Start, end: End | None, totals: Totals) -> None:
    began_us = BEGAN_US + start.minute * MINUTE_US
    latency_ms = 0 if end is None else end.second * 1000 - start.minute * 60_000
    values = start.op_name, start.parent_id is None, None, None
    views: dict[View, bool] = dict.fromkeys((View(), *views_of(*values)), True)  # and whether they count usage
    if end is not None:
        views |= dict.fromkeys(facet_views_of(*values, model_facet(end.model)), False)
        if end.failed:
            views |= dict.fromkeys(facet_views_of(*values, error_facet(FAILURE)), True)
    for level in LEVELS:
        for view, counts_usage in views.items():
            slot = Slot(name[0], level.letter, view, began_us // level.slot_us * level.slot_us)
            counted = totals.slots.setdefault(slot, Counted())
            counted.calls += 1
            if end is not None:
                counted.errors += end.failed
                counted.finished += 1
                counted.latency_ms_sum += latency_ms
                counted.latencies_ms.append(latency_ms)
                if counts_usage:
                    counted.rows[end.model] += 1
                    counted.tokens[end.model] += end.input_tokens
    insort(totals.posted.setdefault((name[0], began_us // MINUTE_US), []), totals.numbers[name])
