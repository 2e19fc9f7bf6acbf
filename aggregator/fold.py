"""Folding events into records: what one batch changes, decided without any I/O or clock.

For each call the first start and the first end win. An end whose start is unknown waits in its record. A call counts in
rollups from its start; its latency, error and usage from when both are known.
"""

from collections import Counter

import msgspec

from aggregator import redis_layout as layout
from aggregator.call import Call, Subtree
from aggregator.call_tally import CallTally
from aggregator.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.levels import MINUTE_US
from aggregator.packed_id import pack_id
from aggregator.prices import PriceBook
from aggregator.records import Records
from aggregator.subtree import SubtreeChanges, closes_ring

CallGroup = tuple[int, int, str, bool, str | None, str | None]
"""Project, minute, op name, root or not, user, run: calls that no filter on dimensions tells apart."""

ProjectDay = tuple[int, int]
"""A project and a UTC day since 1970."""


class BatchChanges(msgspec.Struct):
    """What a batch changes: records by number, tallies of groups of calls, postings by index and value, open calls,
    counters.
    """

    records: set[int] = msgspec.field(default_factory=set)
    groups: dict[CallGroup, CallTally] = msgspec.field(default_factory=dict)
    postings: dict[ProjectDay, dict[str, dict[bytes, list[int]]]] = msgspec.field(default_factory=dict)
    open_calls: dict[tuple[int, bytes], dict[int, tuple[int | None, bytes | None] | None]] = msgspec.field(
        default_factory=dict
    )
    counters: Counter[str] = msgspec.field(default_factory=Counter)


class Fold:
    """Folds events, in order, into `records`, which must hold every record the events name, and all ancestors."""

    def __init__(self, records: Records, prices: PriceBook) -> None:
        self._records = records
        self._prices = prices
        self._subtrees = SubtreeChanges()
        self._project_ids: dict[int, str] = {}
        self.changes = BatchChanges()

    def add(self, event: Event) -> None:
        """Count one event."""
        counters = self.changes.counters
        counters["events"] += 1
        project = self._records.project(event.project_id)
        self._project_ids[project] = event.project_id
        seen_us = event.start.started_at_us if event.start else event.end.ended_at_us if event.end else 0
        records_before = self._records.next_number
        number, call = self._records.at(project, pack_id(event.call_id), seen_us)
        is_named = number < records_before  # by an event before: it may have children
        start = event.start if call.started_us is None else None
        end = event.end if call.ended_us is None else None
        if (start is None) != (event.start is None) or (end is None) != (event.end is None):
            counters["duplicates"] += 1
        if start is None and end is None:
            return
        self.changes.records.add(number)
        was_unfinished = call.unfinished
        if end is not None:
            self._end(number, call, end)
        if start is not None:
            self._start(number, call, start, is_named)
        if call.started_us is not None:
            self._count(number, call, was_unfinished)

    def finish(self) -> BatchChanges:
        """Roll subtree totals up; call once, after all events."""
        calls = self._records.calls
        for number, before in self._subtrees.roll_up(calls).items():
            self.changes.records.add(number)
            call = calls[number]
            if call.started_us is None:
                continue
            after = call.subtree.unfinished if call.subtree is not None else int(call.unfinished)
            if before or after:
                entry = (call.parent_number, call.packed_id if call.unfinished else None) if after else None
                self.changes.open_calls.setdefault((call.project, call.trace), {})[number] = entry
        return self.changes

    def _start(self, number: int, call: Call, start: CallStart, is_named: bool) -> None:
        call.started_us = call.seen_us = start.started_at_us
        call.op_name, call.user_id, call.run_id = start.op_name, start.user_id, start.run_id
        call.trace = call.packed_id if start.trace_id is None else pack_id(start.trace_id)
        post = self._postings(call)
        _post(post, number, layout.MINUTE, (start.started_at_us // MINUTE_US).to_bytes(4, "big"))
        _post(post, number, layout.TRACE, call.trace)
        if start.thread_id is not None:
            _post(post, number, layout.THREAD, start.thread_id.encode())
        if start.turn_id is not None:
            _post(post, number, layout.TURN, start.turn_id.encode())
        for ref in start.input_refs:
            _post(post, number, layout.INPUT_REF, ref.encode())
        for ref in call.waiting_output_refs or ():
            _post(post, number, layout.OUTPUT_REF, ref.encode())
        call.waiting_output_refs = None
        if start.parent_id is not None:
            call.parent = pack_id(start.parent_id)
            _post(post, number, layout.PARENT, call.parent)
            self._link(number, call, call.parent, is_named)
        if call.waiting is not None:
            brought = call.waiting.get(call.trace)
            call.waiting = None
            if brought is not None:
                self._subtrees.add_below(number, brought)

    def _link(self, number: int, call: Call, parent: bytes, is_named: bool) -> None:
        parent_number, parent_call = self._records.at(call.project, parent, call.seen_us)
        if parent_number == number or (is_named and closes_ring(self._records.calls, number, parent_number)):
            return
        call.parent_number = parent_number
        if parent_call.started_us is None:
            parent_call.seen_us = max(parent_call.seen_us, call.seen_us)
            self.changes.records.add(parent_number)

    def _end(self, number: int, call: Call, end: CallEnd) -> None:
        call.ended_us, call.failed = end.ended_at_us, end.failed
        call.usage = {model: list(counts) for model, counts in end.usage.items()}
        if not end.output_refs:
            return
        if call.started_us is None:
            call.waiting_output_refs = list(end.output_refs)
        else:
            post = self._postings(call)
            for ref in end.output_refs:
                _post(post, number, layout.OUTPUT_REF, ref.encode())

    def _count(self, number: int, call: Call, was_unfinished: bool) -> None:
        """Count a started call: when it starts, when it ends, or both at once."""
        assert call.started_us is not None
        group = (
            call.project,
            call.started_us // MINUTE_US,
            call.op_name,
            call.parent is None,
            call.user_id,
            call.run_id,
        )
        tally = self.changes.groups.get(group)
        if tally is None:
            tally = self.changes.groups[group] = CallTally()
        if not was_unfinished:
            tally.calls += 1
            self.changes.counters["calls"] += 1
        if call.ended_us is not None:
            if call.usage:
                self._price(call)
            tally.add_end(call, call.ended_us // 1000 - call.started_us // 1000)
        unfinished = (call.ended_us is None) - was_unfinished
        if unfinished or call.usage:
            self._subtrees.add_own(number, Subtree(call.usage, unfinished))

    def _price(self, call: Call) -> None:
        assert call.started_us is not None
        project_id = self._project_ids[call.project]
        unpriced = False
        for model, numbers in call.usage.items():
            price = self._prices.price(project_id, model, call.started_us)
            if price is None:
                unpriced = True
            else:
                numbers.extend(price.cost(UsageCounts(*numbers)))
        self.changes.counters["unpriced"] += unpriced

    def _postings(self, call: Call) -> dict[str, dict[bytes, list[int]]]:
        """Postings of the call's day, by index and value."""
        day = (call.project, layout.day_of(call.seen_us))
        postings = self.changes.postings.get(day)
        if postings is None:
            postings = self.changes.postings[day] = {}
        return postings


def _post(postings: dict[str, dict[bytes, list[int]]], number: int, index: str, value: bytes) -> None:
    postings.setdefault(index, {}).setdefault(value, []).append(number)
