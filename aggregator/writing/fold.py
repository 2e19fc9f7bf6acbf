"""Folding events into records: what one batch changes, decided without any I/O or clock.

For each call the first start and the first end win. An end whose start is unknown waits in its record. A call counts in
rollups from its start; its latency, error and usage from when both are known. What a batch adds to a tree may change
what calls above it count, that were counted before: their rows are replaced.
"""

from collections import defaultdict

from aggregator.calls.call import Call, Subtree
from aggregator.calls.error_text import ERROR_BYTES_MAX, cut, error_class
from aggregator.calls.event import CallEnd, CallStart, Event
from aggregator.calls.packed_id import pack_id
from aggregator.calls.subtree import SubtreeChanges, closes_ring
from aggregator.calls.usage_vector import (
    PRICED_ROWS,
    UNREAD_ROWS,
    Usage,
    stated_vector,
)
from aggregator.layout.keys import INPUT_REF, MINUTE, OUTPUT_REF, PARENT, THREAD, TRACE, TURN, day_of, id_field
from aggregator.layout.open_calls import OpenCall
from aggregator.layout.postings import posting
from aggregator.layout.unpriced import Unpriced
from aggregator.prices.book import PriceBook
from aggregator.rollups.facets import count_facets, error_facet_of
from aggregator.rollups.series import model_series, tree_series
from aggregator.rollups.tally import CallTally
from aggregator.rollups.views import MORE_MODELS_FACET, model_facet
from aggregator.time_units import MINUTE_US
from aggregator.writing.batch_changes import BatchChanges, Postings
from aggregator.writing.costing import priced_usage, repriced_usage
from aggregator.writing.records import Records


class Fold:
    """Folds events, in order, into `records`, which must hold every record the events name, and all ancestors."""

    def __init__(self, records: Records, prices: PriceBook, error_bytes_max: int = ERROR_BYTES_MAX) -> None:
        self._records = records
        self._prices = prices
        self._error_bytes_max = error_bytes_max
        # Of each call that events changed: whether it was unfinished before, and the tally that counts it.
        self._was_unfinished: dict[int, bool] = {}
        self._tallies: dict[int, CallTally] = {}
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
            number, call = records.new(field, seen_us)
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
            self._count(number, call, start is not None)

    def reprice(self, number: int) -> bool:
        """Give a call that has ended the cost that its usage has by the prices of now; returns whether it differs."""
        call = self._records.calls[number]
        usage = repriced_usage(call, self._records.project_id(call.project), self._prices)
        if usage == call.usage:
            return False
        self._subtrees.reprice(number, call, usage)
        return True

    def finish(self) -> BatchChanges:
        """Roll subtree totals up; call once, after all events."""
        changes, calls, subtrees = self.changes, self._records.calls, self._subtrees
        changes.records.update(self._was_unfinished)
        for number, was_unfinished in self._was_unfinished.items():
            call = calls[number]
            unfinished = (call.started_us is not None and call.ended_us is None) - was_unfinished
            is_ended = number in subtrees.finished
            usage = call.usage if is_ended else {}
            if unfinished or usage or (is_ended and call.stated is not None):
                subtrees.own[number] = Subtree(usage, unfinished)
        for number, before in subtrees.roll_up(calls, self._priced).items():
            changes.records.add(number)
            call = calls[number]
            if call.started_us is None:
                self._note_waiting(number, call)
                continue
            after = call.subtree.unfinished if call.subtree is not None else int(call.unfinished)
            if before or after:
                entry = OpenCall(call.parent_number, call.packed_id if call.unfinished else None) if after else None
                changes.open_calls.setdefault((call.project, call.trace), {})[number] = entry
        self._replace_rows()
        counted = sum(tally.calls for tally in changes.groups.values())
        changes.counters.update(
            events=self._events,
            calls=counted,
            duplicates=self._duplicates,
            unpriced=self._unpriced,
            negative_latencies=self._negative_latencies,
            rollups_short=len(subtrees.stating_less),
        )
        if subtrees.stating_less:
            changes.short_rollup = calls[subtrees.stating_less[-1]]
        return changes

    def _replace_rows(self) -> None:
        """Count roll-ups, and the trees of roots, as they are now instead of as they were before the batch."""
        calls, replaced = self._records.calls, self._subtrees.replaced
        for number, before in replaced.own.items():
            call = calls[number]
            tally = self._tally(number, call)
            tally.rows.replace(model_series, before, call.usage)
            self._count_unpriced(call, before, -1)
            self._count_unpriced(call, call.usage, 1)
            _replace_models(tally, call, before)
            if (error := error_facet_of(call)) is not None:
                tally.facet(error).rows.replace(model_series, before, call.usage)
        for number, before in replaced.trees.items():
            call = calls[number]
            after = call.tree_usage()
            if after != before:
                tally = self._tally(number, call)
                tally.tree_rows.replace(tree_series, before, after)
                if (error := error_facet_of(call)) is not None:
                    tally.facet(error).tree_rows.replace(tree_series, before, after)

    def _note_waiting(self, number: int, call: Call) -> None:
        """Traces of which something waits for a parent that has not started here: others may hold the rest of them."""
        for trace, brought in (call.waiting or {}).items():
            entry = OpenCall(None, None) if brought.usage or brought.unfinished else None
            self.changes.open_calls.setdefault((call.project, trace), {})[number] = entry

    def _start(self, number: int, call: Call, start: CallStart, is_named: bool) -> None:
        call.started_us = call.seen_us = start.started_at_us
        call.op_name, call.user_id, call.run_id = start.op_name, start.user_id, start.run_id
        call.may_roll_up |= start.may_roll_up
        call.model = start.model
        trace_id, parent_id = start.trace_id, start.parent_id
        trace = call.trace = call.packed_id if trace_id is None else pack_id(trace_id)
        post, numbered = self._postings(call), posting(number)
        minute = start.started_at_us // MINUTE_US
        post[MINUTE][minute.to_bytes(4, "big")].append(numbered)
        latest_us, of_minute = self.changes.latest_starts_us, (call.project, minute)
        if start.started_at_us > latest_us.get(of_minute, -1):
            latest_us[of_minute] = start.started_at_us
        post[TRACE][trace].append(numbered)
        if start.thread_id is not None:
            post[THREAD][start.thread_id.encode()].append(numbered)
        if start.turn_id is not None:
            post[TURN][start.turn_id.encode()].append(numbered)
        for ref in start.input_refs:
            post[INPUT_REF][ref.encode()].append(numbered)
        if call.waiting_output_refs is not None:
            for ref in call.waiting_output_refs:
                post[OUTPUT_REF][ref.encode()].append(numbered)
            call.waiting_output_refs = None
        if parent_id is not None:
            parent = call.parent = pack_id(parent_id)
            post[PARENT][parent].append(numbered)
            self._link(number, call, parent, is_named)
        if call.waiting is not None:
            brought = call.waiting.get(trace)
            for waited in call.waiting:
                self.changes.open_calls.setdefault((call.project, waited), {})[number] = None
            call.waiting = None
            if brought is not None:
                self._subtrees.add_below(number, brought)

    def _link(self, number: int, call: Call, parent: bytes, is_named: bool) -> None:
        parent_number, parent_call = self._records.at(id_field(call.project, parent), call.seen_us)
        if parent_number == number or (is_named and closes_ring(self._records.calls, number, parent_number)):
            return
        call.parent_number = parent_number
        if parent_call.started_us is None:
            parent_call.seen_us = max(parent_call.seen_us, call.seen_us)
            self.changes.records.add(parent_number)

    def _end(self, number: int, call: Call, end: CallEnd) -> None:
        call.ended_us, call.failed = end.ended_at_us, end.failed
        if end.error is not None:
            call.error = cut(end.error, self._error_bytes_max) if self._error_bytes_max else error_class(end.error)
        if end.usage:
            call.usage = {model: stated_vector(counts) for model, counts in end.usage.items()}
            call.may_roll_up |= end.may_roll_up
        if not end.output_refs:
            return
        if call.started_us is None:
            call.waiting_output_refs = list(end.output_refs)
        else:
            post, numbered = self._postings(call), posting(number)
            for ref in end.output_refs:
                post[OUTPUT_REF][ref.encode()].append(numbered)

    def _count(self, number: int, call: Call, is_new: bool) -> None:
        """Count a started call: when it starts, when it ends, or both. What a roll-up counts is left to `finish`."""
        tally = self._tally(number, call)
        if is_new:
            tally.calls += 1
        if call.ended_us is None:
            return
        self._subtrees.finished.add(number)
        if call.usage and call.may_roll_up:
            call.stated, call.usage = call.usage, {}
        elif call.usage:
            call.usage = self._priced(call, call.usage, call.usage)
            self._count_unpriced(call, call.usage, 1)
        tally.add_end(call)
        self._negative_latencies += call.latency_ms is None
        if call.usage or call.failed:  # no others have facets
            count_facets(call, tally.facet)
        if not call.failed or call.usage or call.stated is not None:
            call.model = None  # it tells nothing any more

    def _tally(self, number: int, call: Call) -> CallTally:
        """The tally of all calls of the batch that no filter on dimensions tells apart from this one."""
        tally = self._tallies.get(number)
        if tally is None:
            assert call.started_us is not None
            minute = call.started_us // MINUTE_US
            group = call.project, minute, call.op_name, call.parent is None, call.user_id, call.run_id
            tally = self.changes.groups.get(group)
            if tally is None:
                tally = self.changes.groups[group] = CallTally()
            tally.numbers.append(number)
            self._tallies[number] = tally
        return tally

    def _priced(self, call: Call, own: Usage, stated: Usage) -> Usage:
        """Return what is a call's own of what it states, with the costs of what has a price."""
        assert call.started_us is not None
        return priced_usage(own, stated, self._records.project_id(call.project), call.started_us, self._prices)

    def _count_unpriced(self, call: Call, usage: Usage, sign: int) -> None:
        """Count the call, and its rows by model, among those without a price; -1: no more."""
        any_unpriced = False
        for model, vector in usage.items():
            if not vector[PRICED_ROWS]:
                any_unpriced = True
                self.changes.unpriced[Unpriced(call.project, model, vector[UNREAD_ROWS] > 0)] += sign
        self._unpriced += sign if any_unpriced else 0

    def _postings(self, call: Call) -> Postings:
        """Postings of the call's day."""
        day = (call.project, day_of(call.seen_us))
        postings = self.changes.postings.get(day)
        if postings is None:
            postings = self.changes.postings[day] = defaultdict(lambda: defaultdict(list))
        return postings


def _replace_models(tally: CallTally, call: Call, before: Usage) -> None:
    """Count a roll-up in the models it belongs to now, and in those it belonged to before no more."""
    for model in call.usage.keys() - before.keys():
        tally.facet(model_facet(model)).add_finished(call)
    for model in before.keys() - call.usage.keys():
        tally.facet(model_facet(model)).take_finished(call)
    if more := max(len(call.usage) - 1, 0) - max(len(before) - 1, 0):
        tally.facet(MORE_MODELS_FACET).calls += more
