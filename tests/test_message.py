"""From messages to events and dead letters: nothing is lost, the rest of a batch is not affected."""

import json
from typing import Any

import pytest

from ingest.message import DecodedBatch, Message, decode_batch
from tests.folding import T0_US

HOUR_US = 3_600_000_000
RETENTION_US = 24 * HOUR_US
START: dict[str, Any] = {"project_id": "p", "id": "a", "op_name": "op", "started_at": T0_US / 1_000_000}
END: dict[str, Any] = {"project_id": "p", "id": "a", "ended_at": T0_US / 1_000_000, "summary": {}}


def message(value: Any, offset: int = 0, broker_us: int = T0_US) -> Message:
    raw = value if isinstance(value, bytes | None) else json.dumps(value).encode()
    return Message("calls", 3, offset, broker_us, None, raw)


def decode(*messages: Message, dropped_before_us: int = 0) -> DecodedBatch:
    return decode_batch(list(messages), RETENTION_US, dropped_before_us)


def test_messages_in_order() -> None:
    """Events in the order of the messages; the next offset is one past the last, though offsets may have gaps."""
    batch = decode(message({"start": START}, 7, T0_US + 5), message({"end": END}, 11, T0_US + 3))
    assert [(event.start is None, event.end is None) for event in batch.events] == [(False, True), (True, False)]
    assert (batch.next_offset, batch.as_of_us, batch.dead_letters) == (12, T0_US + 5, [])


def test_invalid_events_leave_the_others_alone() -> None:
    """Of a batch one element, and a whole message: both dead letters with their message; the rest counts."""
    mixed = message({"batch": [{"start": START}, {"start": {**START, "id": 5}}, {"end": END}]}, 1)
    broken, empty = message(b"{", 2), message(None, 3)
    batch = decode(mixed, broken, empty, message({"end": END}, 4))
    assert len(batch.events) == 3
    found = [(letter.message, letter.invalid.reason, letter.invalid.position) for letter in batch.dead_letters]
    assert found == [(mixed, "type", 1), (broken, "json", None), (empty, "json", None)]
    assert batch.next_offset == 5


@pytest.mark.parametrize(
    ("events_max", "messages", "events", "next_offset"),
    [(1, 1, 2, 5), (2, 1, 2, 5), (3, 2, 4, 6), (4, 2, 4, 6), (5, 3, 4, 7), (6, 4, 5, 8), (7, 4, 5, 8)],
)
def test_a_step_ends_by_events(events_max: int, messages: int, events: int, next_offset: int) -> None:
    """With the limit reached no further message is decoded; a message is never cut; dead letters count too."""
    two = {"batch": [{"start": START}, {"end": END}]}
    given = [message(two, 4, T0_US), message(two, 5, T0_US), message(None, 6, T0_US), message({"end": END}, 7, T0_US)]
    batch = decode_batch(given, RETENTION_US, events_max=events_max)
    assert (batch.messages, len(batch.events), batch.next_offset) == (messages, events, next_offset)
    assert len(batch.dead_letters) == (messages > 2)


@pytest.mark.parametrize("value", [{"start": START}, {"end": END}, {"complete": {**END, **START}}])
def test_as_late_as_retained(value: Any) -> None:
    """Exactly as old as records are kept counts; a microsecond older is a dead letter that says which time it was."""
    kept = decode(message(value, broker_us=T0_US + RETENTION_US))
    assert (len(kept.events), kept.dead_letters) == (1, [])
    late = decode(message(value, broker_us=T0_US + RETENTION_US + 1))
    [letter] = late.dead_letters
    assert late.events == []
    assert (letter.invalid.reason, letter.invalid.field) == (
        "too_late",
        "started_at" if "end" not in value else "ended_at",
    )


def test_older_than_what_was_dropped() -> None:
    """Whatever the broker's clock says, what the shard may have forgotten is not counted again."""
    assert len(decode(message({"start": START}), dropped_before_us=T0_US).events) == 1
    assert len(decode(message({"start": START}), dropped_before_us=T0_US + 1).dead_letters) == 1


def test_a_complete_is_as_old_as_its_start() -> None:
    """Its end may be recent: the call belongs to the minute it began in."""
    value = {"complete": {**END, **START, "ended_at": (T0_US + RETENTION_US) / 1_000_000}}
    assert decode(message(value, broker_us=T0_US + RETENTION_US + 1)).events == []


def test_each_message_has_its_own_clock() -> None:
    """In a backlog an event is late, or ahead, by the broker's time of its own message."""
    old = message({"start": START}, 0, T0_US)
    new = message({"start": START}, 1, T0_US + 2 * RETENTION_US)
    batch = decode(old, new)
    assert len(batch.events) == 1
    assert [letter.message for letter in batch.dead_letters] == [new]
    assert batch.as_of_us == T0_US + 2 * RETENTION_US
