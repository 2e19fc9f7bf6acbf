"""A partition's life: which states follow which, and what each says of how far the shard is."""

from typing import Any

import pytest
import redis
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka import Message as KafkaMessage

from aggregator.time_units import DAY_US, SECOND_US
from ingest.assignment import END_INTERVAL_US_MIN, TRANSITIONS, Assignment, State, Trigger, Unopened
from ingest.fold_step import Folding
from ingest.kafka.consumer import LogEnd
from ingest.kafka.log_ends import EndMark
from ingest.kafka.partition import Partition
from tests.support.folding import NOW_US, SHARD, open_shard

PARTITION = Partition(SHARD.topic, SHARD.partition)
FOLDING = Folding(30 * DAY_US, lambda: NOW_US, None)


def messages(*offsets: int, stamp: int = NOW_US // 1_000) -> list[KafkaMessage]:
    """Returns messages that are no events, with the broker's time."""
    at = (TIMESTAMP_LOG_APPEND_TIME, stamp)
    return [KafkaMessage(*PARTITION, offset, None, b"{}", [], None, at) for offset in offsets]


class Life:
    """An assignment of the one shard, and what Redis holds of it."""

    def __init__(self, url: str) -> None:
        client: Any = redis.Redis.from_url(url)
        self._client = client
        self.assignment = Assignment(PARTITION, lambda _: open_shard(client))
        self.assignment.open(NOW_US)

    def stored(self) -> dict[str, int]:
        return {name.decode(): int(value) for name, value in self._client.hgetall(f"{SHARD.tag}:shard").items()}


def test_every_state_can_be_left() -> None:
    """The table has a way out of each state, and an unopened partition waits for nothing but its shard."""
    assert {state for state, _ in TRANSITIONS} == set(State)
    assert [happening for state, happening in TRANSITIONS if state is State.OPENING] == [Trigger.OPENED]
    assert (State.REFUSED, Trigger.MESSAGES_CAME) not in TRANSITIONS


def test_unopened_has_no_shard() -> None:
    """Nothing is folded until Redis has said where to read from."""
    with pytest.raises(Unopened):
        Assignment(PARTITION, lambda _: None).apply(messages(0), FOLDING)  # type: ignore[arg-type,return-value]


def test_only_an_asked_end_is_as_of_the_question(redis_url: str) -> None:
    """The first end answers the assignment; one after messages answers nothing; then each answers its question, which
    is asked as soon as one is due, however late the last message came, and not before the last one is answered.
    """
    life = Life(redis_url)
    one = life.assignment
    one.note_end(LogEnd(0), NOW_US + 1)
    assert (one.state, life.stored()["as_of_us"]) == (State.IDLE, NOW_US)
    one.apply(messages(0), FOLDING)
    one.note_end(LogEnd(1), NOW_US + 2)
    one.finish()
    assert (one.state, life.stored()["as_of_us"]) == (State.IDLE, NOW_US)
    assert not one.ask_end(NOW_US + END_INTERVAL_US_MIN - 1)
    assert not one.ask_end(NOW_US + END_INTERVAL_US_MIN, partitions=1_000)
    assert one.ask_end(NOW_US + END_INTERVAL_US_MIN)
    assert not one.ask_end(NOW_US + 9 * SECOND_US)
    one.note_end(LogEnd(1), NOW_US + 3 * SECOND_US)
    assert life.stored()["as_of_us"] == NOW_US + END_INTERVAL_US_MIN


def test_records_of_transactions_at_the_end_are_passed_over(redis_url: str) -> None:
    """Offsets before the end that the client has noticed are passed over, so lag reaches 0; the gap is counted."""
    life = Life(redis_url)
    life.assignment.apply(messages(0, 1), FOLDING)
    life.assignment.note_end(LogEnd(3), NOW_US)
    assert life.assignment.next_offset == life.assignment.to_commit == 3
    assert life.stored()["offsets_skipped"] == 1


def test_a_fixed_clock_is_what_the_shard_is_as_of(redis_url: str) -> None:
    """An end, a mark and messages say nothing later than a clock that is fixed: else calls would be dropped by the
    real time."""
    life, fixed = Life(redis_url), FOLDING._replace(fixed_now_us=NOW_US - DAY_US)
    life.assignment.note_end(LogEnd(0), NOW_US, fixed.fixed_now_us)
    assert life.stored()["as_of_us"] == NOW_US - DAY_US
    life.assignment.note_mark(EndMark(NOW_US - 9, 1))
    life.assignment.apply(messages(0), fixed)
    life.assignment.note_end(LogEnd(2), NOW_US, fixed.fixed_now_us)
    assert life.assignment.ask_end(NOW_US + SECOND_US)
    life.assignment.note_end(LogEnd(2), NOW_US + SECOND_US, fixed.fixed_now_us)
    assert life.stored()["as_of_us"] == NOW_US - DAY_US


def test_an_open_transaction_holds_the_as_of_time_back(redis_url: str) -> None:
    """An open transaction holds the as-of time back: what lies behind the last stable offset was written before now,
    and is not readable yet."""
    life = Life(redis_url)
    life.assignment.note_end(LogEnd(0, is_open=True), NOW_US + SECOND_US)
    assert "as_of_us" not in life.stored()
    assert life.assignment.ask_end(NOW_US + 3 * SECOND_US)
    life.assignment.note_end(LogEnd(0, is_open=True), NOW_US + 4 * SECOND_US)
    assert "as_of_us" not in life.stored()


def test_a_mark_waits_until_it_is_reached(redis_url: str) -> None:
    """A newer one does not take its place before: under constant load none would ever be reached."""
    life = Life(redis_url)
    life.assignment.note_mark(EndMark(NOW_US - 9, 2))
    life.assignment.note_mark(EndMark(NOW_US - 5, 4))
    create_time = [KafkaMessage(*PARTITION, offset, None, b"{}", [], None, (1, 5)) for offset in (0, 1)]
    life.assignment.apply(create_time, FOLDING)
    life.assignment.finish()
    assert life.stored()["as_of_us"] == NOW_US - 9


def test_a_refused_partition_takes_nothing(redis_url: str) -> None:
    """Messages in hand of a log that is another one are not folded, until the shard has been reset."""
    life = Life(redis_url)
    life.assignment.refuse(NOW_US)
    life.assignment.apply(messages(0), FOLDING)
    life.assignment.note_end(LogEnd(1), NOW_US)
    assert (life.assignment.state, life.assignment.next_offset) == (State.REFUSED, None)
    assert not life.assignment.was_reset(NOW_US + 2 * SECOND_US)
