"""One partition's life in a worker: from its assignment, through reading and idling, to its revocation.

    state     what it means
    OPENING   assigned, but Redis has not said yet where to read from
    ASSIGNED  read from the stored offset since an instant; neither a message nor the end of the log has come yet
    READING   messages come
    IDLE      read to the end of the log, since an instant
    ASKED     idle, and the broker has been asked, at an instant, to say once more that the log ends there
    REFUSED   not read: the log is not the one that was folded, and an operator must decide

Only the end that answers a question says what the state is as of: an end that nobody asked for may be long on its way.
"""

import logging
from collections.abc import Callable, Sequence
from enum import Enum, auto

from confluent_kafka import Message as KafkaMessage

from aggregator.time_units import SECOND_US
from aggregator.writing.shard import Shard
from ingest.caution import Caution, Position
from ingest.decoding.invalid_event import InvalidEvent
from ingest.decoding.pieces import is_large
from ingest.fold_step import Folding, LargeMessages, fold_step, set_aside
from ingest.invalid_share import InvalidShare
from ingest.kafka.consumer import LogEnd
from ingest.kafka.log_ends import EndMark
from ingest.kafka.partition import Partition, named
from ingest.kafka.received import offset_of
from ingest.sending_on import SendingOn

log = logging.getLogger(__name__)

# How often a refused partition looks whether it has been reset.
LOOK_INTERVAL_US = SECOND_US
# How old the as-of time of an idle partition may get, beside the broker's answer: an answer is as of the oldest. It
# takes the worker a millisecond each time, so where many are idle each is asked less often.
END_INTERVAL_US_MIN = SECOND_US // 3
END_INTERVAL_US_MAX = SECOND_US
ENDS_ASKED_A_SECOND = 40


class Unopened(Exception):
    """A partition was assigned while Redis was away, so its shard is not known yet."""


class State(Enum):
    """Where an assignment stands."""

    OPENING = auto()
    ASSIGNED = auto()
    READING = auto()
    IDLE = auto()
    ASKED = auto()
    REFUSED = auto()


class Trigger(Enum):
    """What moves an assignment from one state to another."""

    OPENED = auto()
    MESSAGES_CAME = auto()
    END_CAME = auto()
    QUESTION_WAS_ASKED = auto()
    LOG_IS_ANOTHER = auto()


TRANSITIONS: dict[tuple[State, Trigger], State] = {
    **{(state, Trigger.OPENED): State.ASSIGNED for state in State},
    **{
        (state, Trigger.MESSAGES_CAME): State.READING
        for state in (State.ASSIGNED, State.READING, State.IDLE, State.ASKED)
    },
    **{(state, Trigger.END_CAME): State.IDLE for state in (State.ASSIGNED, State.READING, State.IDLE, State.ASKED)},
    (State.IDLE, Trigger.QUESTION_WAS_ASKED): State.ASKED,
    **{
        (state, Trigger.LOG_IS_ANOTHER): State.REFUSED
        for state in (State.ASSIGNED, State.READING, State.IDLE, State.ASKED, State.REFUSED)
    },
}


class Assignment:
    """A partition that is this worker's. Methods raise what the store raises; call `open` then.

    `open_shard` gives the writer of the partition's shard, with what Redis holds. `invalid` counts invalid events.
    """

    def __init__(
        self, partition: Partition, open_shard: Callable[[Partition], Shard], invalid: InvalidShare | None = None
    ) -> None:
        self.partition = partition
        self.state = State.OPENING
        self.applied_events = 0
        self.to_commit: int | None = None
        self._open_shard = open_shard
        self._shard: Shard | None = None
        self._since_us = self._asked_us = 0
        self._under_way_events: int | None = None
        self._mark: EndMark | None = None
        self._invalid = invalid
        self.sending_on: SendingOn | None = None
        self._is_new = True
        self._noted_messages: int | None = None
        self._caution = Caution()
        self._large = LargeMessages()

    @property
    def shard(self) -> Shard:
        """The writer of its shard. Raises Unopened."""
        if self._shard is None:
            raise Unopened("its shard has not been read yet")
        return self._shard

    @property
    def next_offset(self) -> int | None:
        """The first offset that is not applied; None for a new shard, or while it is not known."""
        return None if self._shard is None else self._shard.next_offset

    @property
    def is_opened(self) -> bool:
        """Whether its shard is known."""
        return self._shard is not None

    @property
    def is_under_way(self) -> bool:
        """Whether a step has been sent to Redis and not been answered yet."""
        return self._under_way_events is not None

    def open(self, now_us: int) -> None:
        """Forget what is in memory, and start again from what Redis holds."""
        self._under_way_events = self._mark = self._noted_messages = None
        self._large = LargeMessages()
        self.state, self._shard = State.OPENING, None
        shard = self._shard = self._open_shard(self.partition)
        if self._is_new:
            self._is_new = False
            self._caution.opened(shard.store.read_attempt(), _position(shard))
        self.to_commit = shard.next_offset  # who applied it may have died before it was committed
        self._asked_us = now_us
        self._happens(Trigger.OPENED, now_us)

    def close(self) -> None:
        """Forget what is in memory until it is opened again."""
        self.state, self._shard = State.OPENING, None
        self._under_way_events = self._mark = self._noted_messages = None

    def apply(self, messages: list[KafkaMessage], folding: Folding) -> None:
        """Fold messages that follow each other, in steps; those that are applied already are passed over."""
        if self.state is State.REFUSED:
            return
        shard = self.shard
        first = shard.sent_offset or 0
        new = messages if offset_of(messages[0]) >= first else [one for one in messages if offset_of(one) >= first]
        self._happens(Trigger.MESSAGES_CAME, 0)
        while new:
            new = self._apply_some(shard, new, folding)

    def _apply_some(self, shard: Shard, new: Sequence[KafkaMessage], folding: Folding) -> list[KafkaMessage]:
        large = is_large(new[0].value())
        if self._caution.is_noting or large:
            self.finish()  # which may be what caution waits for
        is_noted = self._caution.is_noting or large
        attempt = self._caution.begin(_position(shard), 1 if large else len(new))
        if is_noted:
            if self._caution.sets_aside():
                return self._set_aside(shard, new, folding)
            shard.store.note_attempt(attempt)
        taken = new[: attempt.messages]
        before, self._under_way_events = self._under_way_events, None
        folded = fold_step(shard, taken, folding, self._large, self._mark, self.sending_on)
        if before is not None:
            self._note_stored(shard, before)
        self._under_way_events = folded.events
        if self._invalid is not None:
            self._invalid.count(folded.events, folded.invalid, folding.clock())
        self._noted_messages = max(folded.messages, 1) if is_noted else None
        return list(new[folded.messages :])

    def _set_aside(self, shard: Shard, new: Sequence[KafkaMessage], folding: Folding) -> list[KafkaMessage]:
        log.error(
            "a message has ended its worker, or failed, again and again; it is set aside as a dead letter",
            extra={**named(self.partition), "offset": offset_of(new[0]), "element": shard.next_element},
        )
        why = "folding it ended the worker, or failed for a reason that is not known, each time it was tried"
        set_aside(shard, new[0], InvalidEvent("set_aside", None, why, shard.next_element or None), folding)
        shard.finish()
        self._note_stored(shard, 0)
        self._caution.succeeded(1)
        return list(new[1:])

    def failed(self) -> None:
        """The last step raised what nobody expects: go through its messages with care."""
        self._caution.failed()

    def finish(self) -> None:
        """See what is under way stored."""
        events, self._under_way_events = self._under_way_events, None
        if events is not None:
            shard = self.shard
            shard.finish()
            self._note_stored(shard, events)

    def _note_stored(self, shard: Shard, events: int) -> None:
        self.to_commit = shard.next_offset
        self.applied_events += events
        if self._noted_messages is not None:
            self._caution.succeeded(self._noted_messages)
            self._noted_messages = None

    def note_end(self, end: LogEnd, now_us: int, fixed_now_us: int | None = None) -> None:
        """All messages before the log's end are applied: if that was asked for, the shard is as of the question.

        Offsets before the end that no message came for are records of transactions: they are passed over. Where the
        log goes on behind its readable end, a transaction is open, and messages from before now may still appear.
        `fixed_now_us`: what the shard is as of instead, where the clock is fixed: by what it is as of it lets go.
        """
        if self.state is State.REFUSED:
            return
        shard = self.shard
        asked_us = self._since_us if self.state in (State.ASSIGNED, State.ASKED) else None
        as_of_us = None if end.is_open or asked_us is None else asked_us if fixed_now_us is None else fixed_now_us
        is_first = self.state in (State.ASSIGNED, State.READING)
        self._happens(Trigger.END_CAME, now_us if is_first else self._since_us)
        is_behind = end.offset > (shard.sent_offset or 0)
        if as_of_us is not None or is_behind:
            self.finish()
            shard.note_end(end.offset if is_behind else shard.next_offset, as_of_us)
            self.to_commit = shard.next_offset

    def note_mark(self, mark: EndMark) -> None:
        """The log ended there at that instant. One that has not been reached is kept, else none ever would be."""
        if self._mark is None or (self.next_offset or 0) >= self._mark.offset:
            self._mark = mark

    def look_for_starts(self, now_us: int) -> None:
        """See whether other shards have got the starts that ends wait for here."""
        if self.sending_on is not None and self.state is not State.REFUSED and self.shard.waiting.fields:
            self.finish()
            sent_on = self.sending_on.look_for_starts(self.shard, now_us)
            if sent_on:
                log.info("sent waiting ends on to their starts", extra={**named(self.partition), "events": sent_on})

    def ask_end(self, now_us: int, partitions: int = 1) -> bool:
        """Whether it is time to have the broker say again that the log ends here; it is taken as asked then.

        Not before the last question is answered: to ask is to seek, which drops what has come meanwhile. What has been
        applied since that question is not as of then: so the next may be due as soon as the log's end is reached.
        `partitions`: how many are asked by turns.
        """
        interval_us = min(END_INTERVAL_US_MAX, max(END_INTERVAL_US_MIN, partitions * SECOND_US // ENDS_ASKED_A_SECOND))
        due = self.state is State.IDLE and now_us - self._asked_us >= interval_us
        if due:
            self._asked_us = now_us
            self._happens(Trigger.QUESTION_WAS_ASKED, now_us)
        return due

    def is_of_another_topic(self, topic_id: str | None) -> bool:
        """Whether what was folded came from a topic of this name with another id; else it is noted which it is.

        A new shard, or one of an earlier version, takes the topic as it is.
        """
        if topic_id is None or self.state in (State.OPENING, State.REFUSED):
            return False
        known = self.shard.log.get("topic_id")
        if known is not None and known != topic_id and self.next_offset is not None:
            return True
        self.shard.note_log("topic_id", topic_id)
        return False

    @property
    def leader_epoch(self) -> int:
        """The leader epoch of the message before the next offset; -1 if it is not known."""
        return -1 if self._shard is None else int(self._shard.log.get("leader_epoch", -1))

    def refuse(self, now_us: int) -> None:
        """Read no more of a log that is not the one that was folded."""
        self._happens(Trigger.LOG_IS_ANOTHER, now_us)

    def was_reset(self, now_us: int) -> bool:
        """Whether the shard of a refused partition has been reset; looked up now and then."""
        if self.state is not State.REFUSED or now_us - self._since_us < LOOK_INTERVAL_US:
            return False
        self._since_us = now_us
        stored, known = self._open_shard(self.partition), self.shard
        return stored.next_offset != known.next_offset or (bool(known.log) and not stored.log)

    def _happens(self, trigger: Trigger, since_us: int) -> None:
        self.state = TRANSITIONS[self.state, trigger]
        self._since_us = since_us


def _position(shard: Shard) -> Position:
    return Position(shard.next_offset or 0, shard.next_element)
