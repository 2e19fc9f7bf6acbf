"""One step of folding: decode messages, send dead letters, apply the events with their next offset.

Worker and rebuild fold by this one function, so that the same log comes to the same state, counters included. A step
takes as many messages as its bounds allow, or one piece of a message that is too large to be folded at once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka import Message as KafkaMessage

from aggregator.writing.shard import Shard
from ingest.decoding.batch import DecodedBatch
from ingest.decoding.invalid_event import InvalidEvent
from ingest.decoding.otlp_span import SpanProjects
from ingest.decoding.pieces import SMALL_BYTES_MAX, Piece, is_large, no_elements, pieces_of
from ingest.engine import IN_PYTHON, Engine
from ingest.kafka.log_ends import EndMark
from ingest.kafka.message import DeadLetter, Headers
from ingest.kafka.received import message_of, offset_of
from ingest.sending_on import SendingOn
from ingest.unread_usage import UnreadUsage as UnreadUsage

PROJECT_HEADER = "project_id"
"""A message's header with the project of its spans; the Collector's exporter passes on such headers of requests."""

SendDeadLetters = Callable[[list[DeadLetter]], None]


class Folding(NamedTuple):
    """How to fold. `clock`: microseconds since 1970. `fixed_now_us`: what time it is instead, for recorded data.

    `send_dead_letters` returns when they are delivered; None drops them, where they were sent before.
    `default_project`: whose spans are that name no project, nor has their message the header PROJECT_HEADER.
    """

    retention_us: int
    clock: Callable[[], int]
    send_dead_letters: SendDeadLetters | None
    fixed_now_us: int | None = None
    default_project: str = ""
    unread: UnreadUsage | None = None
    engine: Engine = IN_PYTHON

    def now_us(self) -> int:
        """Return what time it is for all that is kept and counted."""
        return self.clock() if self.fixed_now_us is None else self.fixed_now_us


class Folded(NamedTuple):
    """What a step took in: whole messages, none where more of the first one is left; events; events that are none."""

    messages: int
    events: int
    invalid: int = 0


class Times(NamedTuple):
    """Now, as of each message, and as of when all before the newest message is here (None: they do not say)."""

    now_us: list[int]
    as_of_us: int | None


class LargeMessages:
    """The large message that is in hand, so that it is not taken apart anew for each of its pieces."""

    def __init__(self) -> None:
        self._offset = -1
        self._pieces: Iterator[Piece] = iter(())
        self._next: Piece | None = None

    def next_piece(self, message: KafkaMessage, from_element: int) -> tuple[Piece, bool]:
        """The piece that comes next, and whether it is the last. `from_element`: where to begin what is not in hand."""
        if self._offset != offset_of(message):
            self._offset = offset_of(message)
            self._pieces = pieces_of(message.value() or b"", from_element)
            self._next = next(self._pieces, None)
        piece = self._next or no_elements(from_element)
        self._next = next(self._pieces, None)
        if self._next is None:
            self._offset = -1
        return piece, self._next is None


def fold_step(
    shard: Shard,
    messages: Sequence[KafkaMessage],
    folding: Folding,
    large: LargeMessages,
    mark: EndMark | None = None,
    sending_on: SendingOn | None = None,
) -> Folded:
    """Fold the first of these messages, as many as fit into one step, and send them to Redis: the shard's next
    `finish` sees them stored.

    Messages follow the shard's next offset. `large`: what is in hand of a large one, by the step before. `mark`: where
    the log ended at an instant. `sending_on`: what other partitions of the topic may know. Raises what the shard and
    the sending of dead letters and of events raise.
    """
    clock_us = folding.now_us()
    messages = _up_to_a_large_one(messages)
    times = message_times(messages, clock_us, folding.fixed_now_us)
    # Redis stores the step before meanwhile.
    if is_large(messages[0].value()):
        done = shard.next_element if shard.next_offset == offset_of(messages[0]) else 0
        piece, is_last = large.next_piece(messages[0], done)
        values: list[bytes | None] = [piece.value]
        batch = _decode_piece(piece, messages[0], times.now_us[0], folding, shard.dropped_before_us)
        element, batch.messages = (0, 1) if is_last else (piece.end, 0)
        is_whole = piece.first == 0
    else:
        values = list(map(KafkaMessage.value, messages))
        batch = _decode(values, messages, times.now_us, folding, shard.dropped_before_us)
        element, is_whole = 0, True
    shard.finish()
    if folding.unread is not None:
        folding.unread.look(shard.store, batch.events, values)
    if batch.invalid and folding.send_dead_letters is not None:
        folding.send_dead_letters(
            [
                DeadLetter(message_of(messages[position], times.now_us[position]), invalid, is_whole)
                for position, invalid in batch.invalid
            ]
        )
    more: dict[str, int] = {}
    if sending_on is not None:
        are_keyed = all(key is not None for key in map(KafkaMessage.key, messages))
        batch.events, sent_on, duplicates = sending_on.keep_own(shard, batch.events, are_keyed)
        more = {"events_sent_on": sent_on, "events": duplicates, "duplicates": duplicates}
    return _begin(shard, messages, batch, element, clock_us, folding, mark, more)


def set_aside(shard: Shard, message: KafkaMessage, invalid: InvalidEvent, folding: Folding) -> None:
    """Pass over a message, or over what is left of it, and make it a dead letter."""
    clock_us = folding.now_us()
    times = message_times([message], clock_us, folding.fixed_now_us)
    shard.finish()
    if folding.send_dead_letters is not None:
        folding.send_dead_letters([DeadLetter(message_of(message, times.now_us[0]), invalid)])
    _begin(shard, [message], DecodedBatch(1, [], [(0, invalid)]), 0, clock_us, folding, None)


def _begin(
    shard: Shard,
    messages: Sequence[KafkaMessage],
    batch: DecodedBatch,
    element: int,
    clock_us: int,
    folding: Folding,
    mark: EndMark | None,
    more: Mapping[str, int] = {},
) -> Folded:
    taken = messages[: batch.messages]
    next_offset = offset_of(taken[-1]) + 1 if taken else offset_of(messages[0])
    # Where a shard is new, what lies before its first message is not known to have been skipped.
    first = offset_of(messages[0]) if shard.next_offset is None else shard.next_offset
    counters = {
        "messages": batch.messages,
        "messages_without_key": sum(message.key() is None for message in taken),
        "dead_letters": len(batch.invalid),
        "offsets_skipped": next_offset - first - batch.messages,
        **more,
    }
    as_of_us = message_times(taken, clock_us, folding.fixed_now_us).as_of_us
    if as_of_us is None and mark is not None and next_offset >= mark.offset:
        as_of_us = mark.asked_us if folding.fixed_now_us is None else folding.fixed_now_us
    epoch = taken[-1].leader_epoch() if taken else None
    if taken:
        shard.note_log("leader_epoch", "-1" if epoch is None else str(epoch))
    applied = shard.begin(batch.events, next_offset, as_of_us, clock_us, counters, element, folding.engine.fold)
    return Folded(batch.messages, applied.events, len(batch.invalid))


def _up_to_a_large_one(messages: Sequence[KafkaMessage]) -> Sequence[KafkaMessage]:
    """A large message is a step of its own, or several."""
    sizes = list(map(len, messages))
    if max(sizes) <= SMALL_BYTES_MAX:
        return messages
    for number, size in enumerate(sizes):
        if size > SMALL_BYTES_MAX and is_large(messages[number].value()):
            return messages[: max(number, 1)]
    return messages


def _decode(
    values: Sequence[bytes | None],
    messages: Sequence[KafkaMessage],
    now_us: Sequence[int],
    folding: Folding,
    dropped_before_us: int,
) -> DecodedBatch:
    return folding.engine.decode(
        values,
        now_us,
        folding.retention_us,
        dropped_before_us,
        projects=lambda position: span_projects(messages[position], folding.default_project),
    )


def _decode_piece(
    piece: Piece, message: KafkaMessage, now_us: int, folding: Folding, dropped_before_us: int
) -> DecodedBatch:
    """Return what a piece holds, its elements by their numbers in the whole message."""
    if piece.invalid is not None:
        return DecodedBatch(1, [], [(0, piece.invalid)])
    batch = _decode([piece.value], [message], [now_us], folding, dropped_before_us)
    batch.invalid = [
        (0, invalid if invalid.position is None else invalid._replace(position=invalid.position + piece.first))
        for _, invalid in batch.invalid
    ]
    return batch


def span_projects(message: KafkaMessage, default: str) -> SpanProjects:
    """Return where the spans in a message belong that do not say so."""
    headers: Headers = message.headers() or ()  # type: ignore[assignment]  # typed as what may be sent
    named = next((value for name, value in headers if name == PROJECT_HEADER and value), b"")
    return SpanProjects(named.decode("utf-8", "replace") if isinstance(named, bytes) else named, default)


def message_times(messages: Sequence[KafkaMessage], clock_us: int, fixed_now_us: int | None = None) -> Times:
    """Times of messages. Only LogAppendTime is the broker's clock; CreateTime is what the producer says, which may be
    in seconds, or of 2090: it decides nothing, and now is the clock of who reads.
    """
    if fixed_now_us is not None:
        return Times([fixed_now_us] * len(messages), fixed_now_us if messages else None)
    stamps = list(map(KafkaMessage.timestamp, messages))
    now_us = [
        milliseconds * 1_000 if kind == TIMESTAMP_LOG_APPEND_TIME and milliseconds > 0 else clock_us
        for kind, milliseconds in stamps
    ]
    kind, milliseconds = stamps[-1] if stamps else (0, 0)
    if kind != TIMESTAMP_LOG_APPEND_TIME or milliseconds <= 0:
        return Times(now_us, None)
    return Times(now_us, min(milliseconds * 1_000, clock_us))
