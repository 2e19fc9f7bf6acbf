"""Messages become events and dead letters: nothing is lost, and one bad element does not affect the rest of its
batch."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.time_units import HOUR_US
from aggregator.timestamps import format_utc, parse_timestamp_us
from ingest.decoding.batch import EVENTS_MAX, DecodedBatch, decode_batch
from ingest.decoding.fast import decode_fast
from ingest.decoding.single import _decode_exactly
from ingest.decoding.typed import EARLIEST_US
from tests.ingest.decoding.generated_messages import MESSAGES
from tests.support.decoded import LATEST_US, NOW_US
from tests.support.folding import T0_US

RETENTION_US = 24 * HOUR_US
T0 = format_utc(T0_US + 1).replace("1Z", "0Z")  # with all its digits
START: dict[str, Any] = {"project_id": "p", "id": "a", "op_name": "op", "started_at": T0}
END: dict[str, Any] = {"project_id": "p", "id": "a", "ended_at": T0, "summary": {}}


Message = tuple[bytes | None, int]


def message(value: Any, broker_us: int = T0_US) -> Message:
    """Returns a message of this value, with the broker's time of it."""
    return value if isinstance(value, bytes | None) else json.dumps(value).encode(), broker_us


def decode(*messages: Message, dropped_before_us: int = 0, events_max: int = EVENTS_MAX) -> DecodedBatch:
    values, brokers_us = zip(*messages, strict=True)
    return decode_batch(values, brokers_us, RETENTION_US, dropped_before_us, events_max)


def test_messages_in_order() -> None:
    """Events come in the order of the messages, whether they are read with others or singly."""
    ids = [str(number) for number in range(1_200)]
    starts = [{**START, "started_at": "2026-06-10T08:00:00.000001Z", "id": call_id} for call_id in ids]
    starts[1_100]["started_at"] = NOW_US / 1_000_000
    values: list[Any] = [{"start": start} for start in starts]
    values[7] = {"batch": [values[7]]}
    batch = decode(*(message(value, NOW_US) for value in values))
    assert [event.call_id for event in batch.events] == ids
    assert batch.invalid == []


def test_invalid_events_leave_the_others_alone() -> None:
    """One element of a batch, or a whole message, is invalid with the position of its message; the rest counts."""
    mixed = message({"batch": [{"start": START}, {"start": {**START, "id": 5}}, {"end": END}]})
    batch = decode(message({"end": END}), mixed, message(b"{"), message(None), message({"end": END}))
    assert len(batch.events) == 4
    found = [(position, invalid.reason, invalid.position) for position, invalid in batch.invalid]
    assert found == [(1, "type", 1), (2, "json", None), (3, "json", None)]


@pytest.mark.parametrize(
    ("events_max", "messages", "events"),
    [(1, 1, 2), (2, 1, 2), (3, 2, 4), (4, 2, 4), (5, 3, 4), (6, 4, 5), (7, 4, 5)],
)
def test_a_step_ends_by_events(events_max: int, messages: int, events: int) -> None:
    """No further message is decoded once the limit of events is reached; a message is never cut; dead letters count
    too."""
    two = {"batch": [{"start": START}, {"end": END}]}
    given = (message(two), message(two), message(None), message({"end": END}))
    batch = decode(*given, events_max=events_max)
    assert (batch.messages, len(batch.events)) == (messages, events)
    assert len(batch.invalid) == (messages > 2)


@pytest.mark.parametrize("value", [{"start": START}, {"end": END}, {"complete": {**END, **START}}])
def test_as_late_as_retained(value: Any) -> None:
    """Exactly as old as records are kept counts; a microsecond older is invalid and says which time it was."""
    kept = decode(message(value, broker_us=T0_US + RETENTION_US))
    assert (len(kept.events), kept.invalid) == (1, [])
    late = decode(message(value, broker_us=T0_US + RETENTION_US + 1))
    [(_, invalid)] = late.invalid
    assert late.events == []
    assert (invalid.reason, invalid.field) == ("too_late", "started_at" if "end" not in value else "ended_at")


def test_older_than_what_was_dropped() -> None:
    """Whatever the broker's clock says, what the shard may have forgotten is not counted again."""
    assert len(decode(message({"start": START}), dropped_before_us=T0_US).events) == 1
    assert len(decode(message({"start": START}), dropped_before_us=T0_US + 1).invalid) == 1


def test_a_complete_is_as_old_as_its_start() -> None:
    """A complete is as old as its start: the call belongs to the minute it began in, though its end may be recent."""
    value = {"complete": {**END, **START, "ended_at": (T0_US + RETENTION_US) / 1_000_000}}
    assert decode(message(value, broker_us=T0_US + RETENTION_US + 1)).events == []


def test_each_message_has_its_own_clock() -> None:
    """An event of a backlog is late, or ahead, by the broker's time of its own message."""
    batch = decode(message({"start": START}), message({"start": START}, T0_US + 2 * RETENTION_US))
    assert len(batch.events) == 1
    assert [position for position, _ in batch.invalid] == [1]


@given(st.lists(MESSAGES.map(lambda message: json.dumps(message).encode()) | st.none() | st.binary(max_size=20)))
def test_many_at_once_and_close_reading_agree(values: list[bytes | None]) -> None:
    """Many messages read at once give the one event that close reading finds in each alone, whatever is around it."""
    quick = decode_fast(values, EARLIEST_US, LATEST_US)
    assert len(quick) == len(values)
    for value, event in zip(values, quick, strict=True):
        if event is not None:
            assert value is not None
            assert _decode_exactly(value, LATEST_US).events == [event]


@given(st.lists(MESSAGES, min_size=1), st.integers(NOW_US, NOW_US + 2 * RETENTION_US))
def test_a_batch_is_the_sum_of_its_messages(messages: list[Any], broker_us: int) -> None:
    """Each message of a batch gives what it gives alone."""
    together = decode(*(message(value, broker_us) for value in messages))
    alone = [decode(message(value, broker_us)) for value in messages]
    assert together.events == [event for one in alone for event in one.events]
    assert together.invalid == [(position, invalid) for position, one in enumerate(alone) for _, invalid in one.invalid]


TIME = "2026-06-10T09:00:00.000001Z"
QUICK = {"project_id": "p", "id": "a", "op_name": "op", "started_at": TIME, "ended_at": TIME, "summary": {}}


@pytest.mark.parametrize(
    ("value", "at_once"),
    [
        ({"start": QUICK}, True),
        ({"end": QUICK}, True),
        ({"complete": QUICK}, True),
        ({"mode": "start", "req": {"start": QUICK}}, True),
        ({"mode": "end", "req": {"end": QUICK}}, True),
        ({"mode": "complete", "req": {"complete": QUICK}}, True),
        ({"mode": "complete", "req": QUICK}, False),
        ({"mode": "start", "req": {"end": QUICK}}, False),
        ({"mode": "start", "req": {"start": QUICK}, "end": QUICK}, False),
        ({"start": QUICK, "end": QUICK}, False),
        ({"start": QUICK, "batch": []}, False),
        ({"start": QUICK | {"trace_id": "x" * 64, "op_name": "x" * 1024}}, True),
        ({"start": QUICK | {"trace_id": "x" * 65}}, False),
        ({"start": QUICK | {"inputs": "weave:///".ljust(5_000, "x")}}, False),
        ({"start": QUICK | {"started_at": "2026-06-11T10:00:00.000001Z"}}, False),
        ({"complete": QUICK | {"ended_at": "2026-06-11T10:00:00.000001Z"}}, False),
        ({"complete": QUICK | {"ended_at": "2026-06-10T24:00:00.000000Z"}}, False),
        ({}, False),
    ],
)
def test_what_is_read_at_once(value: Any, at_once: bool) -> None:
    """The commonest forms, and nothing that is invalid, unusual or out of bounds."""
    [event] = decode_fast([json.dumps(value).encode()], 0, LATEST_US)
    assert (event is not None) == at_once


def test_times_and_refs_of_each() -> None:
    """Each message gets its own times and refs, a complete both of either, after one that is no event."""
    later = "2026-06-10T09:00:00.000002Z"
    complete = {"complete": QUICK | {"ended_at": later, "inputs": "weave:///i", "output": "weave:///o"}}
    end = {"end": QUICK | {"ended_at": later, "output": {"x": ["weave:///e", "weave:///o"]}}}
    start = {"start": QUICK | {"inputs": ["weave:///s"]}}
    values = [json.dumps(value).encode() for value in ({}, complete, {"start": QUICK}, end, start)]
    events = decode_fast(values, 0, LATEST_US)
    starts = [event.start for event in events if event is not None and event.start is not None]
    ends = [event.end for event in events if event is not None and event.end is not None]
    time_us = parse_timestamp_us(TIME)
    assert [event is None for event in events] == [True, False, False, False, False]
    assert [(one.started_at_us, one.input_refs) for one in starts] == [
        (time_us, ("weave:///i",)),
        (time_us, ()),
        (time_us, ("weave:///s",)),
    ]
    assert [(one.ended_at_us, one.output_refs) for one in ends] == [
        (time_us + 1, ("weave:///o",)),
        (time_us + 1, ("weave:///e", "weave:///o")),
    ]
