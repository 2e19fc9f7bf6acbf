"""`callmeter produce`: sends events from a file or a pipe to Kafka, in constant memory, and confirms their delivery."""

import logging
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import click

from aggregator.time_units import SECOND_US
from callmeter.commands.event_page_help import WithEventPage
from callmeter.commands.sending_options import key_option, source_argument, topic_option
from callmeter.durations import format_duration
from callmeter.event_mistakes import Doubts, mistakes
from callmeter.progress.transfer import TransferProgress
from callmeter.settings import Settings
from ingest.kafka.message_key import KeyedBy, MessageKeys, NoEvent
from ingest.kafka.producer import DeliveryFailed, EventProducer
from ingest.message_size import MESSAGE_BYTES_MAX

BROKER_TIMEOUT_S = 10.0
# Deliveries are counted and progress is shown every so many lines: some milliseconds' worth.
LINES_PER_LOOK = 512
# The largest message there may be, and its line's end; whole batches that go event by event too.
LINE_BYTES_MAX = MESSAGE_BYTES_MAX + 1

# Ends without a start that are told one by one; a file of ends alone would tell of each.
ENDS_SHOWN_MAX = 20

log = logging.getLogger(__name__)


class BadLine(click.ClickException):
    """A line is no event; ends the run with status 1."""


@click.command(cls=WithEventPage)
@source_argument
@key_option(". `trace` spreads a project too hot for one partition.")
@topic_option
@click.option("--check", is_flag=True, help="Send nothing; say all that is wrong, and what is surely not meant.")
@click.pass_obj
def produce(settings: Settings, source: str, keyed_by: KeyedBy, topic: str | None, check: bool) -> None:
    """Send the events of FILE (or of standard input) to Kafka, one JSON object a line.

    A line is an event, {"key": ..., "value": event}, or a batch, whose events are sent one by one. A key that a line
    brings along is kept. The first line that a worker would not take ends the run with its number, all that is wrong
    with it, and status 1; those before it are delivered.

    \b
    An event is a start, an end, or both at once (all of it below; `callmeter events schema`):
        {"start": {"project_id", "id", "op_name", "started_at", "trace_id"?, "parent_id"?, ...}}
        {"end": {"project_id", "id", "ended_at", "summary": {"usage": {MODEL: {"input_tokens", ...}}}, "exception"?}}
        {"complete": {all of both}}
    Usage counts in summary.usage alone, by model; only a text in `exception` is an error.

    \b
    callmeter produce events.jsonl --check    # sends nothing
    callmeter produce events.jsonl
    zcat events.jsonl.gz | callmeter produce - --key trace
    """
    if check:
        with click.open_file(source, "rb") as lines:
            _check(lines, MessageKeys(keyed_by), _now_us(settings), settings.retention.calls)
        return
    topic = topic or settings.kafka.topics[0]
    producer = EventProducer(settings.kafka.bootstrap_servers, settings.kafka.extra)
    require_topic(producer, topic, settings.kafka.bootstrap_servers)
    begun_s = time.monotonic()
    keys = MessageKeys(keyed_by)
    bytes_total = None if source == "-" else Path(source).stat().st_size
    with click.open_file(source, "rb") as lines, TransferProgress("sending events", bytes_total) as progress:
        bad_line = _send(lines, keys, producer, topic, progress, _now_us(settings))
        try:
            producer.flush()
        except DeliveryFailed as failed:
            raise click.ClickException(str(failed)) from None
    if keys.guessed:
        log.warning(
            "ends that name no trace and whose start was not seen are keyed by their call's id",
            extra={"ends": keys.guessed},
        )
    if bad_line is not None:
        raise BadLine(f"{bad_line} ({producer.delivered} messages before it were delivered)")
    _say_delivered(producer.delivered, progress.bytes_done, topic, time.monotonic() - begun_s)


def _say_delivered(messages: int, size_bytes: int, topic: str, took_s: float) -> None:
    size = f"{size_bytes / 1e6:.1f} MB"
    click.echo(f"{messages} messages ({size}) delivered to {topic} in {took_s:.1f} s, {messages / took_s:.0f}/s")


def require_topic(producer: EventProducer, topic: str, bootstrap_servers: str) -> None:
    """Stop with a sentence where there is no broker or no topic."""
    from confluent_kafka import KafkaException

    try:
        partitions = producer.partitions(topic, BROKER_TIMEOUT_S)
    except KafkaException:
        raise click.ClickException(
            f"no Kafka broker answers at {bootstrap_servers} (CALLMETER_KAFKA__BOOTSTRAP_SERVERS)"
        ) from None
    if not partitions:
        raise click.ClickException(f"the topic {topic!r} does not exist at {bootstrap_servers}; create it first")


def _now_us(settings: Settings) -> int:
    return settings.now_us() or time.time_ns() // 1_000


def _check(lines: IO[bytes], keys: MessageKeys, now_us: int, kept_s: int) -> None:
    """Tell of every line what is wrong with it, and what is not meant. Raises BadLine if a worker would refuse one."""
    doubts = Doubts(now_us - kept_s * SECOND_US)
    bad = doubtful = events = 0
    for number, line in _numbered(lines):
        try:
            values = [message.value for message in keys.messages(line)]
        except NoEvent as wrong:
            found, values = [str(wrong)], []
        else:
            found = [mistake for value in values for mistake in mistakes(value, now_us)]
        for mistake in found:
            click.echo(f"line {number}: {mistake}", err=True)
        warned = [] if found else [doubt for value in values for doubt in doubts.about(value, number, now_us)]
        for doubt in warned:
            click.echo(f"line {number}: warning: {doubt}", err=True)
        bad, doubtful, events = bad + bool(found), doubtful + bool(warned), events + len(values)
    for number in doubts.ends_without_start()[:ENDS_SHOWN_MAX]:
        click.echo(
            f"line {number}: warning: an end without a start in this file: it counts when its start comes", err=True
        )
    if doubts.too_late:
        click.echo(
            f"warning: {doubts.too_late} events are older than call records are kept ({format_duration(kept_s)}): "
            "workers refuse them as too_late; `callmeter backfill` says what to set",
            err=True,
        )
    if bad:
        raise BadLine(f"{bad} lines are no events; nothing was sent")
    click.echo(f"{events} events are right; {doubtful} lines with warnings; nothing was sent")


def _numbered(lines: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, each with its number, no longer than one byte more than is allowed."""
    for number, line in enumerate(iter(partial(lines.readline, LINE_BYTES_MAX + 1), b""), start=1):
        if not line.isspace():
            yield number, line.strip()


def _send(
    lines: IO[bytes],
    keys: MessageKeys,
    producer: EventProducer,
    topic: str,
    progress: TransferProgress,
    now_us: int,
) -> str | None:
    """Queue the messages of all lines; the reason, with the line's number, where one is no event."""
    for number, line in enumerate(iter(partial(lines.readline, LINE_BYTES_MAX + 1), b""), start=1):
        progress.bytes_done += len(line)
        if number % LINES_PER_LOOK == 0:
            producer.poll()
            progress.look(producer.delivered)
            if producer.failed:
                return None  # the flush says why
        if line.isspace():
            continue
        if len(line) > LINE_BYTES_MAX:
            return f"line {number}: is longer than {LINE_BYTES_MAX:,} bytes"
        try:
            for key, value in keys.messages(line.strip()):
                if wrong_with_it := mistakes(value, now_us):
                    return f"line {number}: is not an event: {'; '.join(wrong_with_it)}"
                producer.produce(topic, key, value, name=f"line {number}")
        except (NoEvent, DeliveryFailed) as wrong:
            return f"line {number}: {wrong}"
    return None
