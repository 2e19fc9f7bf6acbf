"""One step of folding: decode messages, send dead letters, apply the events with their next offset.

Worker and rebuild fold by this one function, so that the same log comes to the same state, counters included.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from confluent_kafka import Message as KafkaMessage

from aggregator.writing.shard import Shard
from ingest.decoding.batch import decode_batch
from ingest.decoding.otlp_span import SpanProjects
from ingest.kafka.consumer import message_of, offset_of
from ingest.kafka.log_ends import EndMark
from ingest.kafka.message import DeadLetter, Headers

PROJECT_HEADER = "project_id"
"""A message's header with the project of its spans; the Collector's exporter passes on such headers of requests."""

SendDeadLetters = Callable[[list[DeadLetter]], None]


class Folding(NamedTuple):
    """How to fold. `clock`: microseconds since 1970. `fixed_now_us`: the time of every message, for recorded data.

    `send_dead_letters` returns when they are delivered; None drops them, where they were sent before.
    `default_project`: whose spans are that name no project, nor has their message the header PROJECT_HEADER.
    """

    retention_us: int
    clock: Callable[[], int]
    send_dead_letters: SendDeadLetters | None
    fixed_now_us: int | None = None
    default_project: str = ""


class Folded(NamedTuple):
    """What a step took in."""

    messages: int
    events: int


class Times(NamedTuple):
    """Now, as of each message, and as of when all before the newest message is here (None: they do not say)."""

    now_us: list[int]
    as_of_us: int | None


def fold_step(shard: Shard, messages: Sequence[KafkaMessage], folding: Folding, mark: EndMark | None = None) -> Folded:
    """Fold the first of these messages, as many as fit into one step, and send them to Redis: the shard's next
    `finish` sees them stored.

    Messages follow the shard's next offset; `mark`: where the log ended at an instant. Raises what the shard and the
    sending of dead letters raise.
    """
    clock_us = folding.clock()
    times = message_times(messages, clock_us, folding.fixed_now_us)
    values = list(map(KafkaMessage.value, messages))
    # Redis stores the step before meanwhile.
    batch = decode_batch(
        values,
        times.now_us,
        folding.retention_us,
        shard.dropped_before_us,
        projects=lambda position: span_projects(messages[position], folding.default_project),
    )
    shard.finish()
    if batch.invalid and folding.send_dead_letters is not None:
        folding.send_dead_letters(
            [
                DeadLetter(message_of(messages[position], times.now_us[position]), invalid)
                for position, invalid in batch.invalid
            ]
        )
    taken = messages[: batch.messages]
    next_offset = offset_of(taken[-1]) + 1
    # Where a shard is new, what lies before its first message is not known to have been skipped.
    first = offset_of(taken[0]) if shard.next_offset is None else shard.next_offset
    counters = {
        "messages": batch.messages,
        "dead_letters": len(batch.invalid),
        "offsets_skipped": next_offset - first - batch.messages,
    }
    as_of_us = message_times(taken, clock_us, folding.fixed_now_us).as_of_us
    if as_of_us is None and mark is not None and next_offset >= mark.offset:
        as_of_us = mark.asked_us
    applied = shard.begin(batch.events, next_offset, as_of_us, clock_us, counters)
    return Folded(batch.messages, applied.events)


def span_projects(message: KafkaMessage, default: str) -> SpanProjects:
    """Where the spans in a message belong that do not say so."""
    headers: Headers = message.headers() or ()  # type: ignore[assignment]  # typed as what may be sent
    named = next((value for name, value in headers if name == PROJECT_HEADER and value), b"")
    return SpanProjects(named.decode("utf-8", "replace") if isinstance(named, bytes) else named, default)


def message_times(messages: Sequence[KafkaMessage], clock_us: int, fixed_now_us: int | None = None) -> Times:
    """Times of messages. Only LogAppendTime is the broker's clock; CreateTime is what the producer says, which may be
    in seconds, or of 2090: it decides nothing, and now is the clock of who reads.
    """
    if fixed_now_us is not None:
        return Times([fixed_now_us] * len(messages), fixed_now_us)
    stamps = list(map(KafkaMessage.timestamp, messages))
    now_us = [
        milliseconds * 1_000 if kind == TIMESTAMP_LOG_APPEND_TIME and milliseconds > 0 else clock_us
        for kind, milliseconds in stamps
    ]
    kind, milliseconds = stamps[-1]
    if kind != TIMESTAMP_LOG_APPEND_TIME or milliseconds <= 0:
        return Times(now_us, None)
    return Times(now_us, min(milliseconds * 1_000, clock_us))
