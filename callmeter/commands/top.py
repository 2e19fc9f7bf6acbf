"""`callmeter top`: what happens now, in a terminal, from any api."""

import json
import sys
import time
from datetime import UTC, datetime

import click
from rich.console import Console

from callmeter.api_client import NotAnswered, own_api_url
from callmeter.durations import parse_duration_s
from callmeter.settings import Settings
from callmeter.top.asking import Api, Shown
from callmeter.top.keys import State
from callmeter.top.screen import Frame, lines_for, screen
from callmeter.top.view import DIMENSIONS, Dimension, View
from callmeter.top.watching import watch

WIDTH_OFF_TERMINAL = 120
# Printed, so many of the calls are shown; all rows are.
CALLS_PRINTED_MAX = 10
# Each costs a question.
TRENDS_PRINTED_MAX = 40
_BY: dict[str, Dimension] = {word: dimension for dimension, word in DIMENSIONS.items()}


@click.command()
@click.argument("project", required=False)
@click.option("--url", envvar="CALLMETER", help="The api.  [default: the one of the settings; $CALLMETER]")
@click.option("--key", envvar="KEY", help="Access key, where the api wants one.  [default: $KEY]")
@click.option("--window", default="1h", show_default=True, help="How far back: 15m, 1h, 7d.")
@click.option("--by", type=click.Choice(list(_BY)), default="op", show_default=True, help="What the rows are.")
@click.option(
    "--every", type=click.FloatRange(0.2, 3_600), default=1.0, show_default=True, help="Seconds between looks."
)
@click.option("--once", is_flag=True, help="One look, printed; as where there is no terminal.")
@click.option("--json", "as_json", is_flag=True, help="For machines: one object a line, one look a line.")
@click.pass_obj
def top(
    settings: Settings,
    project: str | None,
    url: str | None,
    key: str | None,
    window: str,
    by: str,
    every: float,
    once: bool,
    as_json: bool,
) -> None:
    """Show calls, errors, latency, tokens and cost of PROJECT now, against the hour before; by default of the first.

    Keys switch between ops, models, users and runs, sort, filter, go into a row and back; ? lists them. Below stand the
    newest failing calls with their ids. Without a terminal it prints one look and ends.

    \b
    callmeter top acme/agents
    callmeter top acme/agents --by model --window 1d --once
    callmeter top acme/agents --json --every 10 | jq .total.sum_error_count
    """
    api = Api(url or own_api_url(settings.api), key)
    try:
        window_s = max(60, parse_duration_s(window))
    except ValueError as wrong:
        raise click.BadParameter(f"{window!r} {wrong}", param_hint="--window") from None
    try:
        projects = tuple(api.projects()) if project is None else (project,)
        if not projects:
            raise click.ClickException(f"no events have come yet to {api.url}")
        view = View(projects[0], window_s, _BY[by])
        if as_json:
            _print_json(api, view, every, once)
        elif once or not (sys.stdout.isatty() and sys.stdin.isatty()):
            _print_once(api, view)
        else:
            watch(Console(), api, State(Frame(view), projects=projects), every, lambda: None)
    except NotAnswered as trouble:
        hint = "; give a key with --key" if trouble.status == 401 else ""
        raise click.ClickException(f"{trouble}{hint}") from None


def as_object(view: View, shown: Shown) -> dict[str, object]:
    """One look for machines: what was asked, totals, rows, calls, and how fresh all of it is."""
    breakdown = shown.breakdown
    return {
        "project_id": view.project_id,
        "project_known": shown.fresh.project_known,
        "as_of": shown.fresh.as_of,
        "lag_seconds": shown.fresh.lag_s,
        "start": breakdown["start"],
        "end": breakdown["end"],
        "dimension": breakdown["dimension"],
        "total": breakdown["total"],
        "rows": breakdown["rows"],
        "rest": breakdown["rest"],
        "calls": shown.examples["calls"],
    }


def _print_json(api: Api, view: View, every_s: float, once: bool) -> None:
    while True:
        began_s = time.monotonic()
        click.echo(json.dumps(as_object(view, api.look(view, datetime.now(UTC)))))
        sys.stdout.flush()
        if once:
            return
        time.sleep(max(0.0, every_s - (time.monotonic() - began_s)))


def _print_once(api: Api, view: View) -> None:
    """The screen as text, without the line of keys: all rows, and the first calls."""
    now = datetime.now(UTC)
    shown = api.look(view, now)
    values = [row["value"] for row in shown.breakdown["rows"]][:TRENDS_PRINTED_MAX]
    if view.dimension == "model":
        trends = api.model_trends(view, now)
    else:
        trends = {str(value): api.row_trend(view, value, now) for value in values}
    console = Console(width=None if sys.stdout.isatty() else WIDTH_OFF_TERMINAL)
    calls = min(CALLS_PRINTED_MAX, len(shown.examples["calls"]))
    height = lines_for(len(shown.breakdown["rows"]), calls)
    *lines, _ = screen(Frame(view, shown, selected=-1, trends=trends), console.width, height)
    while lines and not lines[-1].plain.strip():
        lines.pop()
    for line in lines:
        line.rstrip()
        console.print(line, soft_wrap=True)
