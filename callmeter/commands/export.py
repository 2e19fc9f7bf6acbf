"""`callmeter export`: writes calls and rollups as Parquet, for DuckDB, Polars or a warehouse."""

import asyncio
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from aggregator.objects.frame_cache import FrameCache
from aggregator.reading.rollups import TooMuchToRead
from aggregator.store.connection import connect_readers
from aggregator.store.reader import StoreReader, UnknownLayout
from aggregator.time_units import DAY_US, MINUTE_US
from callmeter.command_errors import explained_failures
from callmeter.instants import instant_us
from callmeter.object_store import opened_store
from callmeter.progress.work import WorkProgress
from callmeter.settings import Settings

if TYPE_CHECKING:
    from callmeter.parquet.export import Exported, Window

EXPORTING = {
    "facts": "exporting facts",
    "rollups-5m": "exporting rollups of five minutes",
    "rollups-1h": "exporting rollups of an hour",
}
TABLES = tuple(EXPORTING)


HELP = """Write calls and rollups of a project as Parquet files into DIRECTORY, so that other tools read our numbers.

Without --start and --end it is yesterday, by UTC. Needs `pip install 'callmeter[export]'`. Workers may go on
meanwhile. One file for each table, UTC day and project: DIRECTORY/facts/day=2026-06-10/acme%2Fagents.parquet. It is
there whole or not at all, and exporting a day again replaces it.

\b
facts        one row a call: ids, op, user, run, is_root, started, ended, latency,
             error, and `usage`: for each model what the call itself used and cost
             (what a roll-up repeats of calls below it is not in it). `tree_usage`
             is a root's with all calls below it. Costs are exact, in USD.
rollups-5m,  one row a slot, and in it `by` = all, op_name, root, user_id, run_id,
rollups-1h   model or error_class, one for each `value`: counts and sums. Choose one
             `by`, or calls count more than once. Only slots wholly in the window.

\b
callmeter export --project acme/agents --start 2026-06-01T00:00:00Z --end 2026-07-01T00:00:00Z lake
\b
DuckDB, what each model of each op cost:
  SELECT op_name, u.model, sum(u.total_tokens), sum(u.total_cost)
  FROM (SELECT op_name, unnest(usage) AS u FROM 'lake/facts/*/*.parquet')
  GROUP BY ALL ORDER BY 4 DESC;
\b
Polars, calls, errors and the 95th percentile of latency by op:
  import polars as pl
  (pl.scan_parquet("lake/facts/*/*.parquet").group_by("op_name")
     .agg(pl.len(), pl.col("failed").sum(), pl.col("latency_ms").quantile(0.95, "linear"))
     .collect())
"""


@click.command(help=HELP)
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--project", "project_id", required=True, metavar="P", help="The project.")
@click.option("--start", "start_us", callback=instant_us, metavar="INSTANT", help="Begin (UTC).  [a day before --end]")
@click.option("--end", "end_us", callback=instant_us, metavar="INSTANT", help="End (UTC).  [the last midnight]")
@click.option("--table", "tables", multiple=True, type=click.Choice(TABLES), help="Only this; may be given again.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_obj
def export(
    settings: Settings,
    directory: Path,
    project_id: str,
    start_us: int | None,
    end_us: int | None,
    tables: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write the calls and rollups of a project as Parquet files into a directory."""
    now_us = settings.now_us() or time.time_ns() // 1_000
    end_us = now_us // DAY_US * DAY_US if end_us is None else end_us
    start_us = end_us - DAY_US if start_us is None else start_us
    if start_us >= end_us:
        raise click.UsageError("--start must be before --end.")
    try:
        from callmeter.parquet.export import NotExported, Window
        from callmeter.parquet.row_file import NotWritten
    except ImportError:
        raise click.ClickException("Parquet needs an extra: `pip install 'callmeter[export]'`") from None
    window = Window(project_id, start_us, end_us, now_us, directory, settings.retention.kept())
    with explained_failures(settings):
        try:
            exported = asyncio.run(_export(settings, window, tables or TABLES))
        except (UnknownLayout, TooMuchToRead, NotExported, NotWritten) as refused:
            raise click.ClickException(str(refused)) from None
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(exported)))
        return
    for one in exported:
        click.echo(f"{one.table}: {one.rows:,} rows, {one.bytes:,} bytes, {one.files} files in {directory / one.table}")
    _warn(exported)


async def _export(settings: Settings, window: "Window", tables: tuple[str, ...]) -> "list[Exported]":
    from callmeter.parquet.export import check_reach, export_table

    client = connect_readers(settings.redis.url, settings.redis.cluster)
    try:
        reader = StoreReader(client, settings.redis.namespace, frames=FrameCache(opened_store(settings)))
        for table in tables:  # nothing is written where one of them is refused
            await check_reach(reader, window, table)
        exported = []
        minutes = (window.end_us - window.start_us) // MINUTE_US
        for table in tables:
            with WorkProgress(EXPORTING[table], "minutes", minutes) as progress:
                exported.append(await export_table(reader, window, table, progress.add))
        return exported
    finally:
        await client.aclose()


def _warn(exported: "list[Exported]") -> None:
    for one in exported:
        if one.too_large:
            click.echo(f"{one.table}: {one.too_large:,} numbers do not fit into 64 bits, and are null.", err=True)
        if one.left_out:
            click.echo(
                f"{one.table}: on {one.left_out} days a dimension has more values than are kept "
                "(CALLMETER_LIMITS__VIEWS); facts have all of them.",
                err=True,
            )
