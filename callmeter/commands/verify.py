"""`callmeter verify`: whether the rollups of a project are what its call records add up to."""

import asyncio
import json
import time

import click
import msgspec

from aggregator.reading.rollups import TooMuchToRead
from aggregator.reading.verification import Difference, pieces, reach_us
from aggregator.reading.verification import verify as verify_piece
from aggregator.rollups.levels import DAY_US, MINUTE_US
from aggregator.store.connection import connect_readers
from aggregator.store.reader import StoreReader, UnknownLayout
from aggregator.timestamps import format_utc
from callmeter.command_errors import explained_failures
from callmeter.instants import instant_us
from callmeter.progress.work import WorkProgress
from callmeter.settings import Settings

# Most calls have started and ended so long after their start: nothing more comes to their minute.
SETTLED_AFTER_US = 5 * MINUTE_US


class Verified(msgspec.Struct):
    """What was compared, `[start_us, end_us)` in whole minutes, in how many shards, and what differs.

    `unsettled_minutes`: of so many the calls came too fast to be compared.
    """

    start_us: int
    end_us: int
    reaches_us: int
    shards: int
    differences: list[Difference]
    unsettled_minutes: int = 0


class NothingKept(Exception):
    """Nothing of the window is kept; the message says how far call records reach."""


@click.command()
@click.option("--project", required=True, metavar="P", help="The project.")
@click.option("--start", "start_us", callback=instant_us, metavar="INSTANT", help="Begin (UTC).  [a day before --end]")
@click.option("--end", "end_us", callback=instant_us, metavar="INSTANT", help="End (UTC).  [5 minutes ago]")
@click.option("--tree", is_flag=True, help="Also compare the subtree totals of the calls with their children.")
@click.option("--json", "as_json", is_flag=True, help="For machines.")
@click.pass_obj
def verify(
    settings: Settings, project: str, start_us: int | None, end_us: int | None, tree: bool, as_json: bool
) -> None:
    """Compare the rollups of a project with its call records, and report every difference.

    Each minute of the window, and each coarser slot inside it, is counted anew from the call records, for all calls
    and for every view, and compared number by number; of sketches, how many values they hold. Workers may go on
    meanwhile. Ends with status 1 if anything differs.

    \b
    callmeter verify --project acme/agents --start 2026-06-10T00:00:00Z --end 2026-06-11T00:00:00Z --tree
    """
    now_us = settings.now_us() or time.time_ns() // 1_000
    end_us = now_us - SETTLED_AFTER_US if end_us is None else end_us
    start_us = end_us - DAY_US if start_us is None else start_us
    if start_us >= end_us:
        raise click.UsageError("--start must be before --end.")
    with explained_failures(settings):
        try:
            verified = asyncio.run(verify_window(settings, None, project, start_us, end_us, now_us, tree))
        except (UnknownLayout, TooMuchToRead, NothingKept) as refused:
            raise click.ClickException(str(refused)) from None
    if as_json:
        instants = {name: format_utc(getattr(verified, f"{name}_us")) for name in ("start", "end", "reaches")}
        found = msgspec.to_builtins(verified.differences)
        click.echo(
            json.dumps(
                instants
                | {
                    "shards": verified.shards,
                    "differences": found,
                    "unsettled_minutes": verified.unsettled_minutes,
                }
            )
        )
    else:
        _show(verified, project)
    if verified.differences or verified.unsettled_minutes:
        raise click.exceptions.Exit(1)


async def verify_window(
    settings: Settings, namespace: str | None, project_id: str, start_us: int, end_us: int, now_us: int, tree: bool
) -> Verified:
    """Verify what is kept of a window, in a namespace (None: as set). Raises NothingKept, and as the store."""
    client = connect_readers(settings.redis.url, settings.redis.cluster)
    retention = settings.retention.kept()
    try:
        reader = StoreReader(client, namespace or settings.redis.namespace)
        project = await reader.open_project(project_id)
        reaches_us = await reach_us(reader, project, now_us, retention)
        start_us = max(start_us, reaches_us)
        if start_us >= end_us:
            raise NothingKept(f"nothing of this window is kept; call records reach back to {format_utc(reaches_us)}")
        parts = list(pieces(start_us, end_us))
        verified = Verified(parts[0].start_us, parts[-1].end_us, reaches_us, len(project.shards), [])
        minutes = (verified.end_us - verified.start_us) // MINUTE_US
        with WorkProgress("verifying", "minutes", minutes) as progress:
            for piece in parts:
                found = await verify_piece(reader, project, piece, now_us, retention, tree)
                # Most likely the calls of one of its minutes come too fast; the others can be compared.
                for part in piece.each_minute() if found is None else ():
                    of_minute = await verify_piece(reader, project, part, now_us, retention, tree)
                    verified.unsettled_minutes += of_minute is None
                    verified.differences += of_minute or []
                verified.differences += found or []
                progress.add(len(piece.minutes))
        return verified
    finally:
        await client.aclose()


def _show(verified: Verified, project: str) -> None:
    for one in verified.differences:
        click.echo(f"{one.key}: {one.field}: stored {one.stored}, recomputed {one.recomputed}")
    window = f"{format_utc(verified.start_us)} to {format_utc(verified.end_us)}"
    if verified.unsettled_minutes:
        click.echo(f"The calls of {verified.unsettled_minutes} minutes come too fast to be compared; try again later.")
    found = len(verified.differences)
    click.echo(
        f"{project}, {window}, {verified.shards} shards: "
        f"{'no difference' if not found else f'{found} differences'}. "
        f"Call records reach back to {format_utc(verified.reaches_us)}."
    )
