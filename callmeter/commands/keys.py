"""`callmeter keys`: make, list and revoke the access keys of the api and the gateway."""

import time
from datetime import UTC, datetime

import click

from aggregator.access.key import Scope, new_access_key
from aggregator.store.key_store import KeyStore, KeyStoreAway, ListedKey, open_key_store
from aggregator.time_units import SECOND_US
from callmeter.settings import Settings
from callmeter.terminal_text import harmless

_HEADINGS = ("ID", "NAME", "PROJECTS", "SCOPES", "CREATED", "LAST USED")


@click.group()
def keys() -> None:
    """Access keys: who may read, or send, the calls of which projects."""


@keys.command()
@click.option("--name", required=True, help="Whose key it is, for the list.")
@click.option("--project", "projects", multiple=True, metavar="P", help="A project it is for; may be repeated.")
@click.option("--all-projects", is_flag=True, help="It is for every project.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["read", "write"]),
    multiple=True,
    default=["read"],
    show_default=True,
    help="read: ask the api. write: send events to the gateway. Repeat it for both.",
)
@click.pass_obj
def create(
    settings: Settings, name: str, projects: tuple[str, ...], all_projects: bool, scopes: tuple[Scope, ...]
) -> None:
    """Make a key and show it, this once.

    \b
    callmeter keys create --name dashboards --all-projects
    callmeter keys create --name sdk --project acme/agents --scope write
    """
    if bool(projects) == all_projects:
        raise click.UsageError("Say which projects the key is for: --project P (repeatedly), or --all-projects.")
    # The wall clock, also where settings fix `now`: a key is made when it is made.
    key, shown_once = new_access_key(name, None if all_projects else projects, time.time_ns() // 1_000, scopes)
    try:
        _store(settings).add(key)
    except KeyStoreAway as trouble:
        raise _away(trouble) from trouble
    click.echo(shown_once)
    click.echo(f"Key {key.key_id} for {name}. It is not shown again: keep it now.", err=True)


@keys.command("list")
@click.pass_obj
def list_keys(settings: Settings) -> None:
    """Show all keys: what they allow, where, and when they were last used; those of CALLMETER_KEYS first."""
    stated = [(*_row(ListedKey(key, None))[:4], "CALLMETER_KEYS", "not noted") for key in settings.keys]
    try:
        rows = [_HEADINGS, *stated, *map(_row, _store(settings).all())]
    except KeyStoreAway as trouble:
        raise _away(trouble) from trouble
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@keys.command()
@click.argument("key_id")
@click.pass_obj
def revoke(settings: Settings, key_id: str) -> None:
    """Let the key of this id in no more, within ten seconds."""
    try:
        found = _store(settings).revoke(key_id)
    except KeyStoreAway as trouble:
        raise _away(trouble) from trouble
    if not found:
        raise click.ClickException(f"There is no key {key_id}; `callmeter keys list` shows those there are.")
    click.echo(f"Key {key_id} is revoked.")


def _store(settings: Settings) -> KeyStore:
    return open_key_store(settings.redis.url, settings.redis.namespace, settings.redis.cluster)


def _away(trouble: KeyStoreAway) -> click.ClickException:
    return click.ClickException(f"The keys in Redis cannot be reached: {trouble}")


def _row(listed: ListedKey) -> tuple[str, ...]:
    key = listed.key
    projects = "*" if key.projects is None else ",".join(key.projects)
    used = "never" if listed.used_us is None else _moment(listed.used_us)
    return (key.key_id, harmless(key.name), harmless(projects), "+".join(key.scopes), _moment(key.created_us), used)


def _moment(us: int) -> str:
    return datetime.fromtimestamp(us // SECOND_US, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
