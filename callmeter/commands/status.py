"""`callmeter status`: how far the workers are behind the topics, and what they counted."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from confluent_kafka import KafkaException
from rich import box
from rich.console import Console
from rich.table import Table

from aggregator.store.connection import connect
from aggregator.store.shard_store import OtherLayout, StoreAway
from callmeter.logs import redacted
from callmeter.settings import Settings
from callmeter.stored_offsets import PartitionProgress, partition_progress

COUNTERS = ("calls", "duplicates", "dead_letters", "offsets_lost", "unpriced")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_obj
def status(settings: Settings, as_json: bool) -> None:
    """Show how far the workers are: lag by partition, as-of time, and what they counted.

    Lag is counted against the offsets stored with the state, in messages. Counters count since a shard began;
    offsets lost are messages that the broker deleted before they were read.
    """
    try:
        client = connect(settings.redis.url, settings.redis.cluster)
        kafka = settings.kafka
        progress = partition_progress(
            client, settings.redis.namespace, kafka.bootstrap_servers, kafka.topics, kafka.extra
        )
    except KafkaException:
        raise click.ClickException(
            f"no Kafka broker answers at {settings.kafka.bootstrap_servers} (CALLMETER_KAFKA__BOOTSTRAP_SERVERS)"
        ) from None
    except StoreAway:
        raise click.ClickException(
            f"no Redis answers at {redacted(settings.redis.url)} (CALLMETER_REDIS__URL)"
        ) from None
    except OtherLayout as newer:
        raise click.ClickException(str(newer)) from None
    found = summary(progress, settings.kafka.topics)
    if as_json:
        click.echo(json.dumps(found))
    else:
        _show(found)


def summary(progress: list[PartitionProgress], topics: tuple[str, ...]) -> dict[str, Any]:
    """What `--json` prints: the whole, then each partition.

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
        "missing_topics": sorted(set(topics) - {row.topic for row in progress}),
        "partitions": partitions,
    }


def _show(found: dict[str, Any]) -> None:
    """The summary as a table; the last line is the whole."""
    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    table.add_column("topic", footer="together")
    table.add_column("partition", justify="right")
    table.add_column("lag", justify="right", footer=f"{found['lag_messages']:,}")
    table.add_column("as of (UTC)", footer=found["as_of"] or "-")
    shown = [name for name in COUNTERS if name != "offsets_lost" or found[name]]  # seldom, and columns are few
    for name in shown:
        table.add_column(name.replace("_", " "), justify="right", footer=f"{found[name]:,}")
    for row in found["partitions"]:
        counts = (f"{row[name]:,}" for name in shown)
        table.add_row(row["topic"], str(row["partition"]), f"{row['lag_messages']:,}", row["as_of"] or "-", *counts)
    Console().print(table)
    for topic in found["missing_topics"]:
        click.echo(f"The topic {topic} does not exist yet.")


def _instant(us: int | None) -> str | None:
    return None if us is None else (EPOCH + timedelta(microseconds=us)).isoformat().replace("+00:00", "Z")
