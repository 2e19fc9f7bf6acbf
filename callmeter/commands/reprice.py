"""`callmeter reprice`: gives calls that are counted already the cost that they have by the prices of now."""

import json
import time

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregator.objects.frame_cache import DamagedObject, FrameCache
from aggregator.prices.book import PriceBook
from aggregator.segments.compression import CorruptFrame
from aggregator.store.connection import connect
from aggregator.store.generation import live_namespace
from aggregator.time_units import SECOND_US
from callmeter.beside_workers import Outrun
from callmeter.command_errors import explained_failures
from callmeter.object_store import opened_store
from callmeter.progress.work import WorkProgress
from callmeter.repricing import CostChange, CostChanges, chunks_of, look
from callmeter.repricing import reprice as reprice_shard
from callmeter.settings import Settings
from callmeter.shard_opening import ShardOpener, price_book
from callmeter.stored_offsets import stores
from callmeter.terminal_text import harmless
from ingest.kafka.partition import Partition

PICO = 10**12


@click.command()
@click.option("--yes", is_flag=True, help="Do it; without this only what would change is shown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_obj
def reprice(settings: Settings, yes: bool, as_json: bool) -> None:
    """Give calls that are counted already the cost that they have by the prices of now.

    Prices are those of CALLMETER_PRICES_FILE and the catalogue. Shows how many calls of which model would cost
    otherwise, and what; with --yes it changes records, subtrees and rollups, as far back as call records are kept
    (CALLMETER_RETENTION__CALLS). Hours from before that keep what they count: `callmeter rebuild` counts all that Kafka
    holds. Sums and counts are exact; of minima, maxima and percentiles of costs so are those of up to 512 calls a slot.

    Start workers again after a change of prices and before this, or they go on with the old ones. They may run
    meanwhile. A run that was cut off is started again, and does what is left.

    \b
    callmeter reprice         # what would change
    callmeter reprice --yes
    """
    prices = price_book(settings)
    now_us = settings.now_us() or time.time_ns() // 1_000
    try:
        with explained_failures(settings):
            changes = _look(settings, prices, now_us)
            _show(changes, as_json)
            if yes and changes:
                changed = _reprice(settings, now_us)
                click.echo(f"{changed:,} calls have another cost now.", err=as_json)
            elif changes:
                click.echo("Nothing was changed; --yes does it.", err=as_json)
    except (CorruptFrame, DamagedObject) as damaged:
        raise click.ClickException(str(damaged)) from None


def _look(settings: Settings, prices: PriceBook, now_us: int) -> CostChanges:
    client = connect(settings.redis.url, settings.redis.cluster)
    changes = CostChanges(CostChange)
    frames, shards = FrameCache(opened_store(settings)), stores(client, settings.redis.namespace)
    oldest_us = now_us - settings.retention.calls * SECOND_US
    with WorkProgress("looking at calls", "chunks", sum(len(chunks_of(store)) for store in shards)) as progress:
        for store in shards:
            for _ in look(store, prices, oldest_us, changes, frames):
                progress.add(1)
    return changes


def _reprice(settings: Settings, now_us: int) -> int:
    client = connect(settings.redis.url, settings.redis.cluster)
    opener, namespace = ShardOpener(settings, client), live_namespace(client, settings.redis.namespace)
    shards = stores(client, settings.redis.namespace)
    changed = 0
    with WorkProgress("changing costs", "chunks", sum(len(chunks_of(store)) for store in shards)) as progress:
        for store in shards:
            shard = opener.open(namespace, Partition(store.shard.topic, store.shard.partition))
            try:
                for more in reprice_shard(shard, now_us):
                    changed += more
                    progress.add(1)
            except Outrun:
                raise click.ClickException(
                    f"a worker writes {store.shard.topic}/{store.shard.partition} without pause; {changed:,} calls are "
                    "done. Run it again when less comes, or while workers are stopped."
                ) from None
    return changed


def _show(changes: CostChanges, as_json: bool) -> None:
    rows = sorted(changes.items(), key=lambda row: -abs(row[1].after_pico - row[1].before_pico))
    if as_json:
        click.echo(json.dumps([_as_json(*which, change) for which, change in rows]))
        return
    if not rows:
        click.echo("Every call costs what it was counted with.")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("project", "model"):
        table.add_column(title, overflow="fold")
    for title in ("calls", "USD before", "USD after", "got a price", "lost it"):
        table.add_column(title, justify="right")
    for (project_id, model), change in rows:
        table.add_row(
            Text(harmless(project_id)),
            Text(harmless(model)),
            f"{change.calls:,}",
            f"{change.before_pico / PICO:,.4f}",
            f"{change.after_pico / PICO:,.4f}",
            f"{_newly(change.unpriced_before, change.unpriced_after):,}",
            f"{_newly(change.unpriced_after, change.unpriced_before):,}",
        )
    Console().print(table)


def _newly(before: int, after: int) -> int:
    return max(0, before - after)


def _as_json(project_id: str, model: str, change: CostChange) -> dict[str, object]:
    return {
        "project_id": project_id,
        "model": model,
        "calls": change.calls,
        "usd_before": change.before_pico / PICO,
        "usd_after": change.after_pico / PICO,
        "unpriced_before": change.unpriced_before,
        "unpriced_after": change.unpriced_after,
    }
