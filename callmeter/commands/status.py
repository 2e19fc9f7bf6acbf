"""`callmeter status`: how far the workers are behind the topics, and what they counted."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table

from aggregator.store.connection import connect
from callmeter.command_errors import explained_failures
from callmeter.settings import Settings
from callmeter.stored_offsets import PartitionProgress, partition_progress
from callmeter.terminal_text import harmless
from callmeter.top.words import age, short

COUNTERS = (
    "calls",
    "duplicates",
    "ends_waiting",
    "dead_letters",
    "offsets_lost",
    "unpriced",
    "negative_latencies",
    "rows_still_shown",
)
# Columns are few: what is seldom is shown where there is any.
SELDOM = ("ends_waiting", "offsets_lost", "negative_latencies", "rows_still_shown")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_obj
def status(settings: Settings, as_json: bool) -> None:
    """Show how far the workers are: lag by partition, as-of time, and what they counted.

    Lag is counted against the offsets stored with the state, in messages. Counters count since a shard began;
    offsets lost are messages that the broker deleted before they were read. Negative latencies are those of calls that
    ended before they started, by the clocks of their producers; they are left out of every latency.

    Says below the table where numbers may be less than right: roll-ups that state less than the calls below them count,
    with an example, and messages without a key in a topic of several partitions.
    """
    with explained_failures(settings):
        client = connect(settings.redis.url, settings.redis.cluster)
        kafka = settings.kafka
        progress = partition_progress(
            client, settings.redis.namespace, kafka.bootstrap_servers, kafka.topics, kafka.extra
        )
    found = summary(progress, settings.kafka.topics)
    if as_json:
        click.echo(json.dumps(found))
    else:
        console = Console()
        console.print(status_table(found, time.time(), console.width))
        for sentence in found["warnings"]:
            click.echo(sentence)
        for topic in found["missing_topics"]:
            click.echo(f"The topic {topic} does not exist yet.")


def summary(progress: list[PartitionProgress], topics: tuple[str, ...]) -> dict[str, Any]:
    """Return what `--json` prints: the whole, then each partition.

    `as_of` of the whole is the earliest of the partitions that have messages; null while one of them was never read.
    """
    partitions = [
        {
            "topic": row.topic,
            "partition": row.partition,
            "lag_messages": row.lag_messages,
            "next_offset": row.next_offset,
            "log_begins": row.log_begins,
            "log_ends": row.log_ends,
            "as_of": _instant(row.fields.get("as_of_us")),
            **{name: row.fields.get(name, 0) for name in COUNTERS},
        }
        for row in progress
    ]
    as_of = [row.fields.get("as_of_us") for row in progress if row.fields or row.lag_messages]
    known = [instant for instant in as_of if instant is not None]
    return {
        "lag_messages": sum(row.lag_messages for row in progress),
        "as_of": _instant(min(known)) if known and len(known) == len(as_of) else None,
        **{name: sum(row.fields.get(name, 0) for row in progress) for name in COUNTERS},
        "warnings": list(warnings(progress)),
        "missing_topics": sorted(set(topics) - {row.topic for row in progress}),
        "partitions": partitions,
    }


def warnings(progress: list[PartitionProgress]) -> Iterator[str]:
    """Yield what producers do that costs exactness, a sentence each."""
    short = sum(row.fields.get("rollups_short", 0) for row in progress)
    if short:
        example = harmless(next(row.short_rollup for row in progress if row.short_rollup))
        yield (
            f"{short:,} calls state less usage than the calls below them count: somebody counts wrongly; for example "
            f"{example} (project, id)."
        )
    partitions = Counter(row.topic for row in progress)
    for topic, number in partitions.items():
        keyless = sum(row.fields.get("messages_without_key", 0) for row in progress if row.topic == topic)
        if keyless and number > 1:
            yield (
                f"{keyless:,} messages of {topic} have no key: calls of one trace may lie in several of its {number} "
                "partitions, and then `/calls/usage` of a root lacks what lies in others. Key them by project or by "
                "trace (OpenTelemetry's Kafka exporter: partition_traces_by_id: true)."
            )


def status_table(found: dict[str, Any], now_s: float, width: int) -> Table:
    """The summary as a table that fits 80 columns; the last line is the whole. `--json` has the exact numbers.

    Where `width` is short a long topic gives way to the numbers. `now_s` (seconds since the epoch) makes ages.
    """
    rows = [*found["partitions"], found]
    shown = [name for name in COUNTERS if name not in SELDOM or found[name]]
    numbers = {
        "part": [str(row.get("partition", "")) for row in rows],
        "lag": [short(row["lag_messages"]) for row in rows],
        "as of": [_age(row["as_of"], now_s) for row in rows],
        **{name.replace("_", "\n"): [short(row[name]) for row in rows] for name in shown},
    }
    table = Table(box=box.SIMPLE_HEAD, show_footer=True, pad_edge=False, collapse_padding=True)
    taken = sum(2 + max(map(len, [*cells, *title.split("\n")])) for title, cells in numbers.items())
    room = max(len("together"), width - taken - 2)
    table.add_column("topic", footer="together", overflow="ellipsis", no_wrap=True, max_width=room)
    for title, cells in numbers.items():
        table.add_column(title, footer=cells[-1], justify="right", no_wrap=True)
    for index, row in enumerate(found["partitions"]):
        table.add_row(row["topic"], *(cells[index] for cells in numbers.values()))
    return table


def _age(instant: str | None, now_s: float) -> str:
    return "-" if instant is None else f"{age(now_s - datetime.fromisoformat(instant).timestamp())} ago"


def _instant(us: int | None) -> str | None:
    return None if us is None else (EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
