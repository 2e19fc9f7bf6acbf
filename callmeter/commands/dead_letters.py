"""`callmeter dead-letters`: what was no event: list it, look at one, send it again after a fix."""

import json
import re
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import closing

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregator.timestamps import format_utc
from callmeter.command_errors import explained_failures
from callmeter.instants import instant_us
from callmeter.progress.transfer import TransferProgress
from callmeter.settings import Settings
from callmeter.terminal_text import harmless
from ingest.dead_letter_reading import StoredDeadLetter, stored_dead_letter
from ingest.dead_letters import dead_letter_topic
from ingest.kafka.log_reader import LogReader
from ingest.kafka.partition import Partition
from ingest.kafka.producer import DeliveryFailed, EventProducer
from ingest.kafka.watermarks import watermarks

BROKER_TIMEOUT_S = 10.0
SHOWN_WIDTH = 60


class LetterChoice:
    """Which letters are meant: of which topics, with which reason, put there when (microseconds since 1970)."""

    def __init__(self, settings: Settings, reason: str | None, since_us: int | None, until_us: int | None) -> None:
        self._settings = settings
        self._reason = reason
        self._since_us = since_us
        self._until_us = until_us
        topics = [dead_letter_topic(topic, settings.kafka.dead_letter_topic) for topic in settings.kafka.topics]
        # Where each dead-letter topic ends now: what is added meanwhile, by a replay too, is not looked at.
        self._ends = {
            Partition(topic, partition): ends
            for topic in dict.fromkeys(topics)
            for partition, (_, ends) in watermarks(
                settings.kafka.bootstrap_servers, topic, settings.kafka.extra
            ).items()
        }

    def letters(self, progress: TransferProgress) -> Iterator[StoredDeadLetter]:
        """Partition by partition, the oldest first."""
        read = 0
        kafka = self._settings.kafka
        with closing(LogReader(kafka.bootstrap_servers, kafka.extra, _now_us)) as reader:
            for partition, end in self._ends.items():
                for batch in reader.read(partition, None, end) if end else ():
                    for message in batch:
                        letter = stored_dead_letter(message)
                        read += 1
                        progress.bytes_done += len(message.value or b"")
                        if self._means(letter):
                            yield letter
                    progress.look(read)

    def _means(self, letter: StoredDeadLetter) -> bool:
        at_us = letter.message.broker_us
        return (
            (self._reason is None or letter.reason == self._reason)
            and (self._since_us is None or at_us >= self._since_us)
            and (self._until_us is None or at_us < self._until_us)
        )


REASON = click.option("--reason", metavar="R", help="Only with this reason: json, shape, type, usage, ...")
SINCE = click.option(
    "--since", "since_us", callback=instant_us, metavar="INSTANT", help="Only those written at or after this (UTC)."
)
UNTIL = click.option(
    "--until", "until_us", callback=instant_us, metavar="INSTANT", help="Only those written before this (UTC)."
)


@click.group()
def dead_letters() -> None:
    """Invalid messages (dead letters): workers put them on a topic of their own, whole, with the reason.

    \b
    callmeter dead-letters list --since 2026-06-10T00:00:00Z
    callmeter dead-letters show 2/17   # partition 2, offset 17
    callmeter dead-letters replay --reason usage --dry-run
    """


@dead_letters.command("list")
@REASON
@SINCE
@UNTIL
@click.option("--newest", type=click.IntRange(0, 10_000), default=20, show_default=True, help="How many to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_obj
def list_letters(
    settings: Settings, reason: str | None, since_us: int | None, until_us: int | None, newest: int, as_json: bool
) -> None:
    """Count the dead letters by reason and show the newest. Those sent again since stay listed.

    What is written a second time, because its message was folded again, is counted and shown once.
    """
    counts: Counter[str] = Counter()
    kept: deque[StoredDeadLetter] = deque(maxlen=newest)
    seen: set[bytes] = set()
    repeats = 0
    with explained_failures(settings), TransferProgress("reading dead letters", None) as progress:
        for letter in LetterChoice(settings, reason, since_us, until_us).letters(progress):
            if (identity := letter.identity) in seen:
                repeats += 1
                continue
            seen.add(identity)
            counts[letter.reason] += 1
            kept.append(letter)
    rows = [_row(one) for one in reversed(kept)]
    if as_json:
        click.echo(json.dumps({"letters": counts.total(), "repeats": repeats, "reasons": counts, "newest": rows}))
    else:
        _show_list(counts, rows)
        if repeats:
            click.echo(f"{repeats:,} more were written of the same events when messages were folded again.")


def _show_list(counts: Counter[str], rows: list[dict[str, object]]) -> None:
    if not counts:
        click.echo("No dead letters.")
        return
    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("reason", footer="together")
    table.add_column("letters", justify="right", footer=f"{counts.total():,}")
    for reason, count in counts.most_common():
        table.add_row(Text(harmless(reason)), f"{count:,}")
    newest = Table(box=box.SIMPLE_HEAD, title="the newest", title_justify="left")
    newest.add_column("part/offset", no_wrap=True)
    for title in ("put there (UTC)", "reason", "message"):
        newest.add_column(title)
    for row in rows:
        place = f"{row['partition']}/{row['offset']}"  # as `show` takes it
        newest.add_row(Text(place), *(Text(harmless(str(row[name]))) for name in ("at", "reason", "message")))
    console = Console()
    console.print(table)
    console.print(newest)


def _row(letter: StoredDeadLetter) -> dict[str, object]:
    message = letter.message
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "at": format_utc(message.broker_us),
        "origin": letter.origin,
        "replayed": letter.replays,
        **{name: letter.headers.get(name) for name in ("reason", "field", "position", "message")},
    }


def _place(_: click.Context, __: click.Parameter, given: str) -> tuple[int | None, int]:
    """The partition, if one is named, and the offset of `OFFSET` or `PARTITION/OFFSET`."""
    if not (parts := re.fullmatch(r"(?:(\d{1,9})/)?(\d{1,18})", given, re.ASCII)):
        raise click.BadParameter(f"{given!r} is neither OFFSET nor PARTITION/OFFSET, as 17 or 2/17.")
    return None if parts[1] is None else int(parts[1]), int(parts[2])


@dead_letters.command()
@click.argument("place", callback=_place, metavar="[PARTITION/]OFFSET")
@click.option("--topic", metavar="T", help="The dead-letter topic.  [default: that of the first topic]")
@click.option("--partition", type=click.IntRange(0), help="Its partition.  [default: the only one with such an offset]")
@click.pass_obj
def show(settings: Settings, place: tuple[int | None, int], topic: str | None, partition: int | None) -> None:
    """Show the dead letter at OFFSET: headers, key and value. `list` gives PARTITION/OFFSET of each."""
    named, offset = place
    if None not in (named, partition) and named != partition:
        raise click.UsageError(f"--partition says {partition}, {named}/{offset} says {named}.")
    kafka = settings.kafka
    topic = topic or dead_letter_topic(kafka.topics[0], kafka.dead_letter_topic)
    with explained_failures(settings):
        logs = watermarks(kafka.bootstrap_servers, topic, kafka.extra)
        source = Partition(topic, _holder(logs, topic, partition if named is None else named, offset))
        with closing(LogReader(kafka.bootstrap_servers, kafka.extra, _now_us)) as reader:
            message = next((batch[0] for batch in reader.read(source, offset, offset + 1)), None)
    if message is None:
        raise click.ClickException(f"{source.topic}/{source.number} holds no message at offset {offset}")
    click.echo(f"at: {format_utc(message.broker_us)}")
    for name, text in stored_dead_letter(message).headers.items():
        click.echo(f"{name}: {harmless(text)}")
    click.echo(harmless(f"key: {_text(message.key)}\n\n{_pretty(message.value)}"))


def _holder(logs: dict[int, tuple[int, int]], topic: str, partition: int | None, offset: int) -> int:
    """The partition meant: the one named, else the only one with this offset. `logs`: where each begins and ends."""
    holders = [number for number, (begins, ends) in logs.items() if begins <= offset < ends]
    if partition in holders:
        return partition
    if partition is None and len(holders) == 1:
        return holders[0]
    places = ", ".join(f"{number}/{offset}" for number in holders)
    if partition is None and holders:
        raise click.ClickException(f"several partitions of {topic} have offset {offset}: say which, of {places}")
    filled = [number for number, (begins, ends) in logs.items() if begins < ends]
    asked = filled if partition is None else [partition]
    if not asked:
        raise click.ClickException(f"{topic} holds no dead letters")
    held = (f"{topic}/{n} holds offsets from {logs.get(n, (0, 0))[0]} up to {logs.get(n, (0, 0))[1]}" for n in asked)
    others = f"; there is {places}" if places else ""
    raise click.ClickException(f"{', '.join(held)}, not {offset}{others}")


@dead_letters.command()
@REASON
@SINCE
@UNTIL
@click.option("--dry-run", is_flag=True, help="Only say what would be sent.")
@click.pass_obj
def replay(settings: Settings, reason: str | None, since_us: int | None, until_us: int | None, dry_run: bool) -> None:
    """Send messages of dead letters to the partitions they came from, once what made them invalid is fixed.

    Their calls land in the minutes in which they started. What was counted already is not counted again, so sending
    twice does no harm. A message that is still invalid becomes a dead letter again, with one more in its header
    `replayed`; this run does not send that one.
    """
    with explained_failures(settings), TransferProgress("reading dead letters", None) as progress:
        choice = LetterChoice(settings, reason, since_us, until_us)
        # A message has several letters: for each bad event of a batch, and for each time it was sent again.
        newest = {letter.first_origin: _address(letter) for letter in choice.letters(progress)}
    if dry_run:
        click.echo(f"{len(newest)} messages would be sent again.")
        return
    sent, unsent = 0, 0
    try:
        with (
            explained_failures(settings),
            TransferProgress("sending again", None) as progress,
            EventProducer(settings.kafka.bootstrap_servers, settings.kafka.extra) as producer,
        ):
            addressed = _Addresses(producer)
            for letter in choice.letters(progress):
                if newest.get(letter.first_origin) != _address(letter):
                    continue
                if addressed.send(letter):
                    sent += 1
                else:
                    unsent += 1
    except DeliveryFailed as failed:
        raise click.ClickException(str(failed)) from None
    click.echo(f"{sent} messages sent again.")
    if unsent:
        raise click.ClickException(
            f"{unsent} messages were not sent: the topics they came from are gone or not named, or "
            "the letters hold only a part of them"
        )


class _Addresses:
    """Sends letters to the partitions they came from, as far as these still exist."""

    def __init__(self, producer: EventProducer) -> None:
        self._producer = producer
        self._partitions: dict[str, int] = {}

    def send(self, letter: StoredDeadLetter) -> bool:
        """Queue the message; False where there is no topic for it."""
        source, message = letter.source, letter.message
        if source is None or letter.is_cut:
            return False
        if source.topic not in self._partitions:
            self._partitions[source.topic] = self._producer.partitions(source.topic, BROKER_TIMEOUT_S)
        partitions = self._partitions[source.topic]
        if not partitions:
            return False
        # The same partition, whose shard knows which of a batch's events it has counted.
        partition = source.number if source.number < partitions else None
        self._producer.produce(source.topic, message.key, message.value, partition, letter.replay_headers())
        return True


def _address(letter: StoredDeadLetter) -> tuple[str, int, int]:
    message = letter.message
    return message.topic, message.partition, message.offset


def _text(part: bytes | None) -> str:
    return "none" if part is None else part.decode("utf-8", "backslashreplace")


def _pretty(value: bytes | None) -> str:
    try:
        return json.dumps(json.loads(value or b""), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return _text(value)


def _now_us() -> int:
    return time.time_ns() // 1_000
