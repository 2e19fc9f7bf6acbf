"""`callmeter alerts`: rules on what is counted, checked, tried on history, and watched each second."""

import json
import logging
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregator.store.alert_store import AlertStore
from aggregator.store.connection import connect
from aggregator.time_units import DAY_US
from callmeter.alerts.history import Fired, instants, replay
from callmeter.alerts.measuring import rfc3339
from callmeter.alerts.reading import ApiReading
from callmeter.alerts.rule_file import RulesWrong, read_rule_file
from callmeter.alerts.rules import Rule, RuleFile, Stale
from callmeter.alerts.running import ASKING_AT_ONCE, Alerter, RulesOfFile
from callmeter.alerts.wording import value_text
from callmeter.api_client import ApiClient, own_api_url
from callmeter.garbage import collect_seldom
from callmeter.instants import instant_us
from callmeter.progress.work import WorkProgress
from callmeter.settings import Settings
from callmeter.terminal_text import harmless

log = logging.getLogger(__name__)

WEEK_US = 7 * DAY_US
# A look a second must not wait for one that hangs; the history may take longer.
LOOK_TIMEOUT_S = 5.0
HISTORY_TIMEOUT_S = 60.0
INSTANTS_MAX = 50_000

RULES = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
URL = click.option("--url", help="The api.  [default: CALLMETER_ALERTS__API, else the one of the settings]")


@click.group()
def alerts() -> None:
    """Watch rules on what is counted, and tell Alertmanager, a webhook, Slack or PagerDuty.

    Rules stand in a YAML file; docs/alerts.md has all kinds. Questions are asked of an api, with the access key of
    CALLMETER_ALERTS__KEY (or CALLMETER_ALERTS__KEY_FILE).

    \b
    callmeter alerts check alerts.yaml
    callmeter alerts test alerts.yaml --from 2026-06-01T00:00:00Z    # what would have been told
    callmeter alerts run alerts.yaml                                 # start two, for when one is gone
    """


@alerts.command()
@RULES
def check(file: Path) -> None:
    """Say all that is wrong with FILE, each with its line; nothing is asked nor sent."""
    rules = _rules(file)
    silent = sum(one.until <= datetime.now(UTC) for one in rules.silences)
    click.echo(f"{file}: {len(rules.rules)} rules, {len(rules.receivers)} receivers, {len(rules.silences)} silences")
    if silent:
        click.echo(f"{silent} of the silences are over.")


@alerts.command("test")
@RULES
@click.option("--from", "from_us", callback=instant_us, help="Where to begin.  [default: a week before the end]")
@click.option("--to", "to_us", callback=instant_us, help="Where to end.  [default: now]")
@click.option(
    "--step", "step_s", type=click.IntRange(60, 86_400), default=300, show_default=True, help="Seconds between looks."
)
@click.option("--rule", "names", multiple=True, help="Only this rule; may be given again.")
@URL
@click.option("--json", "as_json", is_flag=True, help="For machines: one object.")
@click.pass_obj
def test(
    settings: Settings,
    file: Path,
    from_us: int | None,
    to_us: int | None,
    step_s: int,
    names: tuple[str, ...],
    url: str | None,
    as_json: bool,
) -> None:
    """Say what the rules of FILE would have told of a window of history; nobody is told.

    History is what is known now: calls that came late are in it at the time they began. Rules on staleness, which
    leaves no trace, are left out; so are silences.
    """
    rules = [one for one in _rules(file).rules if not names or one.name in names]
    if missing := set(names) - {one.name for one in rules}:
        raise click.BadParameter(f"{min(missing)} is no rule of {file}", param_hint="--rule")
    to_us = time.time_ns() // 1_000 if to_us is None else to_us
    at = instants(to_us - WEEK_US if from_us is None else from_us, to_us, step_s)
    if not 0 < len(at) <= INSTANTS_MAX:
        raise click.BadParameter(f"the window has {len(at):,} looks; 1 to {INSTANTS_MAX:,} may be", param_hint="--step")
    reading = ApiReading(_client(settings, url, HISTORY_TIMEOUT_S))
    looked_at = [one for one in rules if not isinstance(one, Stale)]
    told: list[tuple[Rule, Fired]] = []
    unknown: dict[str, int] = {}
    with (
        ThreadPoolExecutor(ASKING_AT_ONCE) as asking,
        WorkProgress("looking at history", "looks", len(at) * len(looked_at)) as progress,
    ):
        for rule in looked_at:
            replayed = replay(rule, at, lambda one, at_us: reading.look(one, at_us, at_us), asking, progress.add)
            told += [(rule, fired) for fired in replayed.fired]
            if replayed.unknown:
                unknown[rule.name] = replayed.unknown
    left_out = [one.name for one in rules if isinstance(one, Stale)]
    (_print_json if as_json else _print_table)(told, len(at), unknown, left_out)


@alerts.command()
@RULES
@URL
@click.pass_obj
def run(settings: Settings, file: Path, url: str | None) -> None:
    """Look at the rules of FILE each second and tell their receivers, until SIGTERM or Ctrl-C.

    Any number of these may run, with the same file: one of them looks, the others wait to take over within seconds. The
    file is read again when it changes.
    """
    try:
        rules = RulesOfFile(file)
    except RulesWrong as wrong:
        raise click.ClickException(str(wrong)) from None
    collect_seldom()
    client = connect(settings.redis.url, settings.redis.cluster)
    store = AlertStore(client, settings.redis.namespace)
    reading = ApiReading(_client(settings, url, LOOK_TIMEOUT_S))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    Alerter(rules, reading, store, lambda: time.time_ns() // 1_000, time.monotonic).run(stopping)


def _rules(file: Path) -> RuleFile:
    try:
        return read_rule_file(file)
    except RulesWrong as wrong:
        raise click.ClickException(str(wrong)) from None


def _client(settings: Settings, url: str | None, timeout_s: float) -> ApiClient:
    address = url or settings.alerts.api or own_api_url(settings.api)
    return ApiClient(address, settings.alerts.key.get_secret_value() or None, timeout_s)


def _print_json(told: list[tuple[Rule, Fired]], looks: int, unknown: dict[str, int], left_out: list[str]) -> None:
    rows = [
        {
            "rule": one.rule,
            "group": one.group,
            "fired_at": rfc3339(one.fired_us),
            "resolved_at": None if one.resolved_us is None else rfc3339(one.resolved_us),
            "worst": one.worst,
        }
        for _, one in told
    ]
    click.echo(json.dumps({"looks": looks, "fired": rows, "unknown": unknown, "left_out": left_out}))


def _print_table(told: list[tuple[Rule, Fired]], looks: int, unknown: dict[str, int], left_out: list[str]) -> None:
    if told:
        table = Table(box=box.SIMPLE_HEAD)
        for title in ("rule", "group", "fired", "resolved", "worst"):
            table.add_column(title, overflow="fold")
        for rule, one in told:
            resolved = "not yet" if one.resolved_us is None else rfc3339(one.resolved_us)
            worst = value_text(rule, one.worst)
            table.add_row(one.rule, Text(harmless(one.group or "")), rfc3339(one.fired_us), resolved, worst)
        Console().print(table)
    click.echo(f"{len(told)} alerts at {looks:,} instants.")
    for name, instants_unknown in unknown.items():
        click.echo(f"{name}: at {instants_unknown:,} of them the api could not say; see the log.")
    if left_out:
        click.echo(f"Left out, since staleness leaves no trace: {', '.join(left_out)}.")
