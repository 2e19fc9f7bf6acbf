"""Folding events into records: what one batch changes, by hand."""

from collections import Counter
from typing import Any

import pytest

from aggregator.calls.call import Call
from aggregator.calls.event import Event, UsageCounts
from aggregator.calls.packed_id import pack_id
from aggregator.layout import keys as layout
from aggregator.layout.keys import id_field
from aggregator.layout.postings import posting
from aggregator.rollups.series import LATENCY, Row, model_series, series_of
from aggregator.rollups.tally import CallTally
from aggregator.time_units import MINUTE_US
from aggregator.writing.records import Records
from tests.support.folding import PROJECT, T0_US, complete, end, fold, start, tokens
from tests.support.vectors import vector

MINUTE = T0_US // MINUTE_US
DAY = 20_515  # 2026-03-03


def record(records: Records, call_id: str) -> Call:
    return records.at(id_field(records.projects[PROJECT], pack_id(call_id)), 0)[1]


def rows(tally: CallTally) -> dict[bytes, list[Row]]:
    """The rows of a tally by series."""
    return {name: series_of(name).unpack(b"".join(packed)) for name, packed in tally.rows.added.packed.items()}


def test_first_start_and_first_end_win() -> None:
    """The first start and the first end win: what later ones tell is counted as a duplicate and not looked at."""
    records = Records({}, 0)
    events = [start("a", 0), end("a", 5, failed=True), start("a", 1, op_name="x"), end("a", 6), complete("a", 7, 8)]
    changes = fold(records, events)
    call = record(records, "a")
    assert (call.started_us, call.ended_us, call.failed, call.op_name) == (T0_US, T0_US + 5_000_000, True, "op")
    assert changes.counters == Counter(events=5, calls=1, duplicates=3, unpriced=0)


@pytest.mark.parametrize("known", [start("a"), end("a")])
def test_a_complete_brings_the_missing_half(known: Event) -> None:
    """A complete counts as a duplicate for the half that is known, and for the call only once."""
    records = Records({}, 0)
    first = fold(records, [known])
    second = fold(records, [complete("a", end_s=1)])
    assert second.counters["duplicates"] == 1
    assert first.counters["calls"] + second.counters["calls"] == 1
    assert record(records, "a").latency_ms == 1000


def test_an_end_waits() -> None:
    """An end without a start is in no group, no posting and no total; the start brings it into effect."""
    records = Records({}, 0)
    waiting = fold(records, [end("a", 2, failed=True, usage={"m": tokens(3)}, output_refs=("weave:///o:1",))])
    assert (waiting.groups, waiting.postings, waiting.open_calls) == ({}, {}, {})
    assert waiting.counters == Counter(events=1)
    begun = fold(records, [start("a", 0.5)])
    [tally] = begun.groups.values()
    assert (tally.calls, tally.errors) == (1, 1)
    assert rows(tally) == {LATENCY: [(1500,)], model_series("m"): [(3, 0, 3, 0, 0)]}
    assert begun.postings[1, DAY][layout.OUTPUT_REF] == {b"weave:///o:1": [posting(0)]}
    assert record(records, "a").waiting_output_refs is None


def test_start_and_end_in_two_batches() -> None:
    """The call counts with its start, latency, error and usage with its end, in the minute of the start."""
    records = Records({}, 0)
    begun = fold(records, [start("a", 59.9, user_id="u", run_id="r", parent_id="p")])
    ended = fold(records, [end("a", 3_600.1, failed=True, usage={"gpt-4o": tokens(1_000, 100)})])
    group = (1, MINUTE, "op", False, "u", "r")
    assert list(begun.groups) == list(ended.groups) == [group]
    assert (begun.groups[group].calls, rows(begun.groups[group])) == (1, {})
    assert (ended.groups[group].calls, ended.groups[group].errors) == (0, 1)
    # 1,000 input tokens at 2.50 and 100 output tokens at 10.00 dollars per million: 0.0025 + 0.001 dollars.
    assert rows(ended.groups[group]) == {
        LATENCY: [(3_540_200,)],
        model_series("gpt-4o"): [(1000, 100, 1100, 0, 0, 2_500_000_000, 1_000_000_000, 3_500_000_000)],
    }


@pytest.mark.parametrize(("start_us", "end_us", "latency_ms"), [(999, 1_000, 1), (1_000, 1_999, 0), (999, 1, 0)])
def test_latency_floors_each_end(start_us: int, end_us: int, latency_ms: int) -> None:
    """Latency is the difference of whole milliseconds: from 999 to 1,000 microseconds it is 1 ms, within one 0,
    backwards none."""
    records = Records({}, 0)
    changes = fold(records, [start("a", started_at_us=T0_US + start_us), end("a", ended_at_us=T0_US + end_us)])
    [tally] = changes.groups.values()
    assert rows(tally) == {LATENCY: [(latency_ms,)]}
    assert record(records, "a").latency_ms == latency_ms
    assert changes.counters["negative_latencies"] == 0


def test_a_call_that_ends_before_it_starts_has_no_latency() -> None:
    """Clocks differ: it counts with all else that is known of it, and as one whose latency makes no sense."""
    records = Records({}, 0)
    used = {"gpt-4o": tokens(1_000)}
    ended = end("a", ended_at_us=T0_US + 999, failed=True, usage=used)
    changes = fold(records, [start("a", started_at_us=T0_US + 1_000), ended])
    [tally] = changes.groups.values()
    assert (tally.calls, tally.errors, list(rows(tally))) == (1, 1, [model_series("gpt-4o")])
    assert record(records, "a").latency_ms is None
    assert changes.counters["negative_latencies"] == 1


def test_a_call_is_priced_at_its_start() -> None:
    """The price in force when it began, not when it ended: acme-dated changes on 12 May 2026 at midnight."""
    may_11_us = 1_778_500_800_000_000
    dated = {"acme-dated": UsageCounts(1_000_000, 0, 1_000_000, 0, 0, 1)}
    records = Records({}, 0)
    day_us = 24 * 3_600_000_000
    told = complete("a", usage=dated, started_at_us=may_11_us)
    fold(records, [told])
    fold(records, [start("b", started_at_us=may_11_us), end("b", ended_at_us=may_11_us + 30 * day_us, usage=dated)])
    assert record(records, "a").usage == record(records, "b").usage
    # A million tokens at a dollar per million.
    assert record(records, "a").usage["acme-dated"] == vector([1_000_000, 0, 1_000_000, 0, 0, 1, 10**12, 0, 0, 0])


def test_unpriced_calls_are_counted_once() -> None:
    """However many of its models lack a price; a call without usage is none."""
    changes = fold(Records({}, 0), [complete("a", usage={"x": tokens(1), "y": tokens(1)}), complete("b")])
    assert changes.counters["unpriced"] == 1


def test_postings() -> None:
    """A call is found by minute, trace, parent, thread, turn and refs, on the day it started."""
    records = Records({}, 0)
    told: dict[str, Any] = {"parent_id": "p", "thread_id": "", "turn_id": "u", "input_refs": ("r1", "r2")}
    changes = fold(records, [start("a", 60, **told), end("a", 90_000, output_refs=("r3",))])
    first = [posting(0)]
    assert changes.postings == {
        (1, DAY): {
            layout.MINUTE: {(MINUTE + 1).to_bytes(4, "big"): first},
            layout.TRACE: {b"\0trace": first},
            layout.PARENT: {b"\0p": first},
            layout.THREAD: {b"": first},
            layout.TURN: {b"u": first},
            layout.INPUT_REF: {b"r1": first, b"r2": first},
            layout.OUTPUT_REF: {b"r3": first},
        }
    }


def test_open_calls() -> None:
    """A call is open while it, or one below it, has no end: as itself, or as the way to what has none."""
    records = Records({}, 0)
    begun = fold(records, [start("a"), start("b", parent_id="a")])
    trace = (1, pack_id("trace"))
    assert begun.open_calls == {trace: {0: (None, b"\0a"), 1: (0, b"\0b")}}
    assert fold(records, [end("a")]).open_calls == {trace: {0: (None, None)}}
    assert fold(records, [end("b")]).open_calls == {trace: {0: None, 1: None}}


def test_a_call_finished_in_one_batch_was_never_open() -> None:
    """Nothing is written among open calls for a call that begins and ends in one batch."""
    assert fold(Records({}, 0), [start("a"), end("a")]).open_calls == {}


def test_a_parent_takes_open_children_over() -> None:
    """A finished parent stays open as the way up for its open children."""
    records = Records({}, 0)
    fold(records, [start("child", parent_id="parent")])
    changes = fold(records, [complete("parent")])
    assert changes.open_calls == {(1, pack_id("trace")): {1: (None, None)}}


def test_a_named_parent_is_kept_as_long_as_its_newest_child() -> None:
    """A record that only stands for a parent is as young as the youngest call that named it."""
    records = Records({}, 0)
    fold(records, [start("a", 5, parent_id="p"), start("b", 9, parent_id="p"), start("c", 7, parent_id="p")])
    assert record(records, "p").seen_us == T0_US + 9_000_000
    assert fold(records, [start("d", 10, parent_id="p")]).records >= {1}
    fold(records, [start("p", 1)])
    assert record(records, "p").seen_us == T0_US + 1_000_000


def test_the_same_id_in_two_projects() -> None:
    """Is two calls."""
    records = Records({}, 0)
    changes = fold(records, [start("a"), start("a", project_id="acme/others")])
    assert records.projects == {PROJECT: 1, "acme/others": 2}
    assert changes.counters == Counter(events=2, calls=2)
    assert changes.records == {0, 1}


def test_duplicates_change_no_record() -> None:
    """A record that is known is not written again for a duplicate."""
    records = Records({}, 0)
    fold(records, [complete("a", usage={"m": tokens(1)})])
    again = fold(records, [complete("a", usage={"m": tokens(1)}), start("a"), end("a")])
    assert (again.records, again.groups, again.postings, again.open_calls) == (set(), {}, {}, {})
    assert again.counters == Counter(events=3, duplicates=3)
