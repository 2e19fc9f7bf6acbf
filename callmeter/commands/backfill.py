"""`callmeter backfill`: sends old events to Kafka, after a look at which of them workers would not take; resumable."""

import time
from pathlib import Path
from typing import IO

import click

from aggregator.layout.kept import decode_retention
from aggregator.store.connection import connect
from callmeter.backfill import Findings, KeptByWorkers, Line, PlaceFile, Refused, lines_of
from callmeter.command_errors import explained_failures
from callmeter.commands.produce import require_topic
from callmeter.commands.sending_options import key_option, source_argument, topic_option
from callmeter.progress.transfer import TransferProgress
from callmeter.settings import Settings
from callmeter.stored_offsets import stores
from ingest.kafka.message_key import KeyedBy, MessageKeys
from ingest.kafka.producer import DeliveryFailed, EventProducer

# How often what is under way is waited for, and noted as delivered: what a run that was cut off sends once more.
NOTE_S = 2.0
LINES_PER_LOOK = 512


@click.command()
@source_argument
@click.option("--dry-run", is_flag=True, help="Only look at all of it, and say what would be refused.")
@key_option("; as your producers do it.")
@topic_option
@click.option(
    "--place-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to note how far FILE is sent.  [default: FILE.backfill]",
)
@click.pass_obj
def backfill(
    settings: Settings, source: str, dry_run: bool, keyed_by: KeyedBy, topic: str | None, place_file: Path | None
) -> None:
    """Send the old events of FILE (or of standard input) to Kafka, one JSON object a line, as on the topic.

    Workers refuse an event that is older than call records are kept (CALLMETER_RETENTION__CALLS): what would tell
    whether it was counted before is gone. So all of FILE is looked at first, and where some would be refused, or be
    dropped at once, nothing is sent and the settings to change are named. What workers keep is asked of Redis. A pipe
    cannot be read twice: it is looked at as it comes, and the run ends at the first line that is not right.

    A run that was cut off is started again in the same way: it goes on after what was delivered, which is noted in
    FILE.backfill every 2 s. What is sent twice counts once.

    \b
    callmeter backfill last-year.jsonl --dry-run
    callmeter backfill last-year.jsonl
    zcat last-year.jsonl.gz | callmeter backfill -
    """
    topic = topic or settings.kafka.topics[0]
    findings = Findings(_reach(settings, topic), lambda: settings.now_us() or time.time_ns() // 1_000)
    keys = MessageKeys(keyed_by)
    try:
        if source == "-":
            with click.open_file(source, "rb") as lines:
                if dry_run:
                    _look_at_all(lines, None, findings, keys)
                else:
                    _Sending(settings, topic, keys, findings).send(lines, None, None)
            return
        path = Path(source)
        places = PlaceFile(path, place_file)
        place = places.read(topic)
        with path.open("rb") as lines:
            _look_at_all(lines, path.stat().st_size, findings, keys)
        if dry_run:
            return
        with path.open("rb") as lines:
            if place is not None:
                click.echo(f"going on at line {place.next_line}, as {places.path} says", err=True)
                lines.seek(place.next_offset)
            _Sending(settings, topic, MessageKeys(keyed_by), findings).send(lines, path.stat().st_size, places)
    except Refused as refused:
        raise click.ClickException(str(refused)) from None


def _reach(settings: Settings, topic: str) -> KeptByWorkers:
    """Return what the workers of the topic say they keep; the settings' where none has said so."""
    retention, dropped_before_us = None, 0
    with explained_failures(settings):
        client = connect(settings.redis.url, settings.redis.cluster)
        for store in stores(client, settings.redis.namespace):
            if store.shard.topic == topic:
                [written_by] = store.read_hashes([store.keys.writer])
                if (stored := written_by.get(b"retention")) is not None:
                    kept = decode_retention(stored)
                    retention = kept if retention is None else retention.shortest(kept)
                dropped_before_us = max(dropped_before_us, int(store.shard_fields().get("dropped_before_us", 0)))
    return KeptByWorkers(retention or settings.retention.kept(), dropped_before_us)


def _look_at_all(lines: IO[bytes], size_bytes: int | None, findings: Findings, keys: MessageKeys) -> None:
    """Raises Refused where not all may be sent."""
    with TransferProgress("looking at events", size_bytes) as progress:
        for line in lines_of(lines, 1, 0):
            findings.look(line, keys)
            if line.number % LINES_PER_LOOK == 0:
                progress.bytes_done = line.next_offset
                progress.look(findings.events)
    if findings.are_none:
        click.echo(f"{findings.events} events would be taken")
        return
    for sentence in findings.sentences():
        click.echo(sentence, err=True)
    raise Refused(f"not all of {findings.events} events would be taken; nothing was sent")


class _Sending:
    """Sends lines that have been looked at, or looks at each before it is sent."""

    def __init__(self, settings: Settings, topic: str, keys: MessageKeys, findings: Findings) -> None:
        self._topic = topic
        self._keys = keys
        self._findings = findings
        self._producer = EventProducer(settings.kafka.bootstrap_servers, settings.kafka.extra)
        require_topic(self._producer, topic, settings.kafka.bootstrap_servers)

    def send(self, lines: IO[bytes], size_bytes: int | None, places: PlaceFile | None) -> None:
        """Send all. Raises Refused at the first line that is not right; what is before it is delivered then."""
        place = None if places is None else places.read(self._topic)
        number, offset = (1, 0) if place is None else (place.next_line, place.next_offset)
        last: Line | None = None
        with TransferProgress("sending events", size_bytes) as progress:
            noted_s = time.monotonic()
            for line in lines_of(lines, number, offset):
                self._queue(line)
                last = line
                if line.number % LINES_PER_LOOK == 0:
                    self._producer.poll()
                    progress.bytes_done = line.next_offset
                    progress.look(self._producer.delivered)
                    if time.monotonic() - noted_s > NOTE_S:
                        self._note_delivered(line, places)
                        noted_s = time.monotonic()
        self._note_delivered(last, places)
        if places is not None:
            places.forget()
        click.echo(f"{self._producer.delivered} messages delivered to {self._topic}")

    def _queue(self, line: Line) -> None:
        messages = self._findings.look(line, self._keys)
        if not self._findings.are_none:
            self._flush()
            why = " ".join(self._findings.sentences())
            if f"line {line.number}" not in why:
                why = f"line {line.number}: {why}"
            raise Refused(f"{why} ({self._producer.delivered} messages before it were delivered)")
        for key, value in messages:
            try:
                self._producer.produce(self._topic, key, value, name=f"line {line.number}")
            except DeliveryFailed as failed:
                raise Refused(f"line {line.number}: {failed}") from None

    def _note_delivered(self, line: Line | None, places: PlaceFile | None) -> None:
        self._flush()
        if line is not None and places is not None:
            places.write(self._topic, line.number + 1, line.next_offset)

    def _flush(self) -> None:
        try:
            self._producer.flush()
        except DeliveryFailed as failed:
            raise Refused(f"{failed}; start it again in the same way to go on") from None
