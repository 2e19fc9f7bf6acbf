"""`callmeter rebuild`: folds the topics again beside the live state, and switches the api over in one step."""

import time

import click

from aggregator.store.connection import connect
from aggregator.store.generation import Generations, RebuildRuns
from callmeter.command_errors import explained_failures
from callmeter.durations import parse_duration_s
from callmeter.rebuild import Rebuild, RebuildDiffers
from callmeter.settings import Settings


def _grace_s(ctx: click.Context, param: click.Parameter, written: str) -> int:
    try:
        return parse_duration_s(written)
    except ValueError as wrong:
        raise click.BadParameter(f"{written!r} {wrong}") from None


@click.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be folded, and what the log lacks.")
@click.option(
    "--accept-differences", is_flag=True, help="Switch over although the log lacks messages or counts differ."
)
@click.option(
    "--grace",
    "grace_s",
    default="20s",
    show_default=True,
    callback=_grace_s,
    metavar="DURATION",
    help="How long answers under way may still read what was live, before it is dropped.",
)
@click.option("--abort", is_flag=True, help="Undo what a rebuild left behind that was cut off, or end one that runs.")
@click.pass_obj
def rebuild(settings: Settings, dry_run: bool, accept_differences: bool, grace_s: int, abort: bool) -> None:
    """Fold everything that the topics hold into a new generation of the state, and make it the live one.

    For a new version with another stored layout, for calls that were counted or priced wrongly, and after doubt.
    Workers and api go on meanwhile; Redis needs room for both generations. The new one is verified: as many calls as
    the live one, and no difference in a sample of projects (`callmeter verify`). The api then changes over within a
    second, the workers by themselves, and the old generation is dropped.

    What is older than the topics hold cannot be folded again: the command refuses and says so.

    \b
    callmeter rebuild --dry-run
    callmeter rebuild
    """
    with explained_failures(settings):
        client = connect(settings.redis.url, settings.redis.cluster)
        generations = Generations(client, settings.redis.namespace)
        if abort:
            dropped = generations.tidy()
            click.echo(f"Dropped {', '.join(dropped)}." if dropped else "There was nothing to undo.")
            click.echo(f"Live: {generations.live()}.")
            return
        work = Rebuild(settings, client, accept_differences)
        if dry_run:
            _show_plan(work)
            return
        try:
            before = work.run()
        except (RebuildDiffers, RebuildRuns) as refused:
            raise click.ClickException(f"not switched over: {refused}") from None
        click.echo(f"Live: {generations.live()}. {before} is dropped in {grace_s} s.")
        time.sleep(grace_s)
        work.finish()
        click.echo(f"Dropped {before}.")


def _show_plan(work: Rebuild) -> None:
    sources = work.sources()
    for source in sources:
        click.echo(f"{source.partition.topic}/{source.partition.number}: {source.messages} messages")
    click.echo(f"{sum(source.messages for source in sources)} messages would be folded again.")
    lost = [source.lost for source in sources if source.lost]
    if lost:
        click.echo(f"What the log lacks would be lost: {'; '.join(lost)}. (--accept-differences)")
