"""`callmeter produce`: sends events from a file or a pipe to Kafka, in constant memory, and confirms their delivery."""

import logging
import time
from functools import partial
from pathlib import Path
from typing import IO

import click

from callmeter.progress.transfer import TransferProgress
from callmeter.settings import Settings
from ingest.kafka.message_key import KeyedBy, MessageKeys, NoEvent
from ingest.kafka.producer import MESSAGE_BYTES_MAX, DeliveryFailed, EventProducer

BROKER_TIMEOUT_S = 10.0
# Deliveries are counted and progress is shown every so many lines: some milliseconds' worth.
LINES_PER_LOOK = 512
# The largest message there may be, and its line's end; whole batches that go event by event too.
LINE_BYTES_MAX = MESSAGE_BYTES_MAX + 1

log = logging.getLogger(__name__)


class BadLine(click.ClickException):
    """A line is no event; ends the run with status 1."""


@click.command()
@click.argument("source", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option(
    "--key",
    "keyed_by",
    type=click.Choice(["project", "trace"]),
    default="project",
    show_default=True,
    help="What shares a partition. `trace` spreads a project too hot for one partition.",
)
@click.option("--topic", help="Topic to write to.  [default: the first of CALLMETER_KAFKA__TOPICS]")
@click.pass_obj
def produce(settings: Settings, source: str, keyed_by: KeyedBy, topic: str | None) -> None:
    """Send the events of FILE (or of standard input) to Kafka, one JSON object a line.

    A line is an event, {"key": ..., "value": event}, or a batch, whose events are sent one by one. A key that a line
    brings along is kept. The first line that is no event ends the run with its number and status 1; those before it
    are delivered.

    \b
    callmeter produce events.jsonl
    zcat events.jsonl.gz | callmeter produce - --key trace
    """
    topic = topic or settings.kafka.topics[0]
    producer = EventProducer(settings.kafka.bootstrap_servers, settings.kafka.extra)
    _require_topic(producer, topic, settings.kafka.bootstrap_servers)
    begun_s = time.monotonic()
    keys = MessageKeys(keyed_by)
    bytes_total = None if source == "-" else Path(source).stat().st_size
    with click.open_file(source, "rb") as lines, TransferProgress("sending events", bytes_total) as progress:
        bad_line = _send(lines, keys, producer, topic, progress)
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
    took_s = time.monotonic() - begun_s
    click.echo(
        f"{producer.delivered} messages ({progress.bytes_done / 1e6:.1f} MB) delivered to {topic}"
        f" in {took_s:.1f} s, {producer.delivered / took_s:.0f}/s"
    )


def _require_topic(producer: EventProducer, topic: str, bootstrap_servers: str) -> None:
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


def _send(
    lines: IO[bytes], keys: MessageKeys, producer: EventProducer, topic: str, progress: TransferProgress
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
                producer.produce(topic, key, value, name=f"line {number}")
        except (NoEvent, DeliveryFailed) as wrong:
            return f"line {number}: {wrong}"
    return None
