"""Folding events into records: what one batch changes, decided without any I/O or clock.

For each call the first start and the first end win. An end whose start is unknown waits in its record. A call counts in
rollups from its start; its latency, error and usage from when both are known.
"""

from collections import Counter, defaultdict

import msgspec

from aggregator.calls.call import COUNTS, UNREAD, Call, Subtree, price_by
from aggregator.calls.event import CallEnd, CallStart, Event
from aggregator.calls.packed_id import pack_id
from aggregator.calls.subtree import SubtreeChanges, closes_ring
from aggregator.layout import keys as layout
from aggregator.layout.unpriced import Unpriced
from aggregator.prices.book import PriceBook
from aggregator.rollups.levels import MINUTE_US
from aggregator.rollups.tally import CallTally
from aggregator.writing.records import Records

CallGroup = tuple[int, int, str, bool, str | None, str | None]
"""Project, minute, op name, root or not, user, run: calls that no filter on dimensions tells apart."""

ProjectDay = tuple[int, int]
"""A project and a UTC day since 1970."""

Postings = defaultdict[str, defaultdict[bytes, list[bytes]]]
"""By index and value: the calls that have it, as they stand in postings."""


class BatchChanges(msgspec.Struct):
    """What a batch changes: records by number, tallies of groups of calls, packed postings by index and value, open
    calls, counters, calls without a cost.
    """

    records: set[int] = msgspec.field(default_factory=set)
    groups: dict[CallGroup, CallTally] = msgspec.field(default_factory=dict)
    postings: dict[ProjectDay, Postings] = msgspec.field(default_factory=dict)
    open_calls: dict[tuple[int, bytes], dict[int, tuple[int | None, bytes | None] | None]] = msgspec.field(
        default_factory=dict
    )
    counters: Counter[str] = msgspec.field(default_factory=Counter)
    unpriced: Counter[Unpriced] = msgspec.field(default_factory=Counter)


class Fold:
    """Folds events, in order, into `records`, which must hold every record the events name, and all ancestors."""

    def __init__(self, records: Records, prices: PriceBook) -> None:
        self._records = records
        self._prices = prices
        # Of each call that events changed: whether it was unfinished before, the tally that counts it, and whether it
        # is counted with its end now.
        self._was_unfinished: dict[int, bool] = {}
        self._tallies: dict[int, CallTally] = {}
        self._ended: set[int] = set()
        self._subtrees = SubtreeChanges()
        self._events = self._duplicates = self._unpriced = self._negative_latencies = 0
        self.changes = BatchChanges()

    def add(self, event: Event, field: bytes) -> None:
        """Count one event, of the call with this id field."""
        self._events += 1
        start, end, records = event.start, event.end, self._records
        number = records.numbers.get(field)
        is_named = number is not None  # by an event before: it may have children
        if number is None:
            seen_us = start.started_at_us if start is not None else end.ended_at_us if end is not None else 0
            number, call = records.at(field, seen_us)
        else:
            call = records.calls[number]
            if (start is not None and call.started_us is not None) or (end is not None and call.ended_us is not None):
                self._duplicates += 1
                start = None if call.started_us is not None else start
                end = None if call.ended_us is not None else end
            if start is None and end is None:
                return
        if number not in self._was_unfinished:
            self._was_unfinished[number] = call.started_us is not None and call.ended_us is None
        if end is not None:
            self._end(number, call, end)
        if start is not None:
            self._start(number, call, start, is_named)
        if call.started_us is not None:
            self._count(number, call, start is not None, event.project_id)

    def finish(self) -> BatchChanges:
        """Roll subtree totals up; call once, after all events."""
        changes, calls, subtrees = self.changes, self._records.calls, self._subtrees
        changes.records.update(self._was_unfinished)
        for number, was_unfinished in self._was_unfinished.items():
            call = calls[number]
            unfinished = (call.started_us is not None and call.ended_us is None) - was_unfinished
            usage = call.usage if number in self._ended else {}
            if unfinished or usage:
                subtrees.own[number] = Subtree(usage, unfinished)
        for number, before in subtrees.roll_up(calls).items():
            changes.records.add(number)
            call = calls[number]
            if call.started_us is None:
                continue
            after = call.subtree.unfinished if call.subtree is not None else int(call.unfinished)
            if before or after:
                entry = (call.parent_number, call.packed_id if call.unfinished else None) if after else None
                changes.open_calls.setdefault((call.project, call.trace), {})[number] = entry
        counted = sum(tally.calls for tally in changes.groups.values())
        changes.counters.update(
            events=self._events,
            calls=counted,
            duplicates=self._duplicates,
            unpriced=self._unpriced,
            negative_latencies=self._negative_latencies,
        )
        return changes

    def _start(self, number: int, call: Call, start: CallStart, is_named: bool) -> None:
        call.started_us = call.seen_us = start.started_at_us
        call.op_name, call.user_id, call.run_id = start.op_name, start.user_id, start.run_id
        trace_id, parent_id = start.trace_id, start.parent_id
        trace = call.trace = call.packed_id if trace_id is None else pack_id(trace_id)
        post, posting = self._postings(call), layout.posting(number)
        post[layout.MINUTE][(start.started_at_us // MINUTE_US).to_bytes(4, "big")].append(posting)
        post[layout.TRACE][trace].append(posting)
        if start.thread_id is not None:
            post[layout.THREAD][start.thread_id.encode()].append(posting)
        if start.turn_id is not None:
            post[layout.TURN][start.turn_id.encode()].append(posting)
        for ref in start.input_refs:
            post[layout.INPUT_REF][ref.encode()].append(posting)
        if call.waiting_output_refs is not None:
            for ref in call.waiting_output_refs:
                post[layout.OUTPUT_REF][ref.encode()].append(posting)
            call.waiting_output_refs = None
        if parent_id is not None:
            parent = call.parent = pack_id(parent_id)
            post[layout.PARENT][parent].append(posting)
            self._link(number, call, parent, is_named)
        if call.waiting is not None:
            brought = call.waiting.get(trace)
            call.waiting = None
            if brought is not None:
                self._subtrees.add_below(number, brought)

    def _link(self, number: int, call: Call, parent: bytes, is_named: bool) -> None:
        parent_number, parent_call = self._records.at(layout.id_field(call.project, parent), call.seen_us)
        if parent_number == number or (is_named and closes_ring(self._records.calls, number, parent_number)):
            return
        call.parent_number = parent_number
        if parent_call.started_us is None:
            parent_call.seen_us = max(parent_call.seen_us, call.seen_us)
            self.changes.records.add(parent_number)

    def _end(self, number: int, call: Call, end: CallEnd) -> None:
        call.ended_us, call.failed = end.ended_at_us, end.failed
        if end.usage and not end.may_roll_up:
            call.usage = {model: list(counts[:COUNTS]) for model, counts in end.usage.items()}
            call.price_by = price_by(end.usage)
        if not end.output_refs:
            return
        if call.started_us is None:
            call.waiting_output_refs = list(end.output_refs)
        else:
            post, posting = self._postings(call), layout.posting(number)
            for ref in end.output_refs:
                post[layout.OUTPUT_REF][ref.encode()].append(posting)

    def _count(self, number: int, call: Call, is_new: bool, project_id: str) -> None:
        """Count a started call: when it starts, when it ends, or both at once."""
        assert call.started_us is not None
        tally = self._tallies.get(number)
        if tally is None:
            minute = call.started_us // MINUTE_US
            group = (call.project, minute, call.op_name, call.parent is None, call.user_id, call.run_id)
            tally = self.changes.groups.get(group)
            if tally is None:
                tally = self.changes.groups[group] = CallTally()
            self._tallies[number] = tally
        if is_new:
            tally.calls += 1
        if call.ended_us is not None:
            self._ended.add(number)
            if call.usage:
                self._price(call, project_id)
            latency_ms = call.latency_ms
            self._negative_latencies += latency_ms is None
            tally.add_end(call, latency_ms)

    def _price(self, call: Call, project_id: str) -> None:
        assert call.started_us is not None
        unpriced = False
        price_by = call.price_by or {}
        for model, numbers in call.usage.items():
            kept_1h = price_by.get(model, 0)
            price = self._prices.price(project_id, model, call.started_us) if kept_1h != UNREAD else None
            if price is None:
                unpriced = True
                self.changes.unpriced[Unpriced(call.project, model, kept_1h == UNREAD)] += 1
            else:
                numbers.extend(price.cost(numbers, kept_1h))
        self._unpriced += unpriced

    def _postings(self, call: Call) -> Postings:
        """Postings of the call's day."""
        day = (call.project, layout.day_of(call.seen_us))
        postings = self.changes.postings.get(day)
        if postings is None:
            postings = self.changes.postings[day] = defaultdict(lambda: defaultdict(list))
        return postings
