"""`callmeter verify`: whether the rollups of a project are what its call records add up to."""

import asyncio
import json
import time

import click
import msgspec

from aggregator.reading.rollups import TooMuchToRead
from aggregator.store.reader import UnknownLayout
from aggregator.time_units import DAY_US, MINUTE_US
from aggregator.timestamps import format_utc
from callmeter.command_errors import explained_failures
from callmeter.instants import instant_us
from callmeter.settings import Settings
from callmeter.window_verification import NothingKept, Verified, verify_window

# Most calls have started and ended so long after their start: nothing more comes to their minute.
SETTLED_AFTER_US = 5 * MINUTE_US


@click.command()
@click.option("--project", required=True, metavar="P", help="The project.")
@click.option("--start", "start_us", callback=instant_us, metavar="INSTANT", help="Begin (UTC).  [a day before --end]")
@click.option("--end", "end_us", callback=instant_us, metavar="INSTANT", help="End (UTC).  [5 minutes ago]")
@click.option("--tree", is_flag=True, help="Also compare the subtree totals of the calls with their children.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
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
    if not verified.shards:
        raise click.ClickException(f"No event of a project {project!r} was ever applied: is its name right?")
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
