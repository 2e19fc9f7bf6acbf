"""The models whose calls have no cost, as `callmeter prices` lists them: with how many calls, and why."""

import json
from collections import Counter
from typing import NamedTuple

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregator.layout.unpriced import OTHERS, read_unpriced
from aggregator.layout.unread import ProjectModel, read_unread
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.store.connection import connect
from callmeter.command_errors import explained_failures
from callmeter.settings import Settings
from callmeter.stored_offsets import stores
from callmeter.terminal_text import harmless


class UnpricedModel(NamedTuple):
    """A model of a project, how many calls with it have no cost, and whether their usage was not read; then a sample of
    the names in it.
    """

    project_id: str
    model: str
    is_unread: bool
    calls: int
    names: tuple[str, ...] = ()


def read_unpriced_models(settings: Settings) -> list[UnpricedModel]:
    """All of all shards, most calls first; without a project and a model, those that are too many to be kept apart."""
    calls: Counter[tuple[str, str, bool]] = Counter()
    sample: dict[ProjectModel, list[str]] = {}
    with explained_failures(settings):
        client = connect(settings.redis.url, settings.redis.cluster)
        for store in stores(client, settings.redis.namespace):
            projects, stored, unread = store.read_hashes([store.keys.projects, store.keys.unpriced, store.keys.unread])
            sample |= read_unread(unread)
            names = {int(number): name.decode() for name, number in projects.items()}
            for unpriced, counted in read_unpriced(stored).items():
                calls[names.get(unpriced.project, ""), unpriced.model, unpriced.is_unread] += counted
    return [
        UnpricedModel(*which, counted, tuple(sample.get(which[:2], ())) if which[2] else ())
        for which, counted in sorted(calls.items(), key=lambda row: (-row[1], row[0]))
    ]


def show_unpriced_models(rows: list[UnpricedModel], prices: PriceBook, at_us: int, as_json: bool) -> None:
    """Print them, as a table or as JSON; `prices` are those of now, at `at_us`."""
    catalogue = PriceCatalogue()
    told = [(row, reason(row, prices, catalogue, at_us)) for row in rows]
    if as_json:
        click.echo(json.dumps([_as_json(row, why) for row, why in told]))
        return
    if not rows:
        click.echo("Every call with usage has a cost.")
        return
    table = Table(box=box.SIMPLE_HEAD)
    for title in ("project", "model"):
        table.add_column(title, overflow="fold")
    table.add_column("calls", justify="right")
    table.add_column("why no cost")
    for row, why in told:
        table.add_row(Text(harmless(row.project_id)), Text(harmless(row.model)), f"{row.calls:,}", why)
    Console().print(table)


def _as_json(row: UnpricedModel, why: str) -> dict[str, object]:
    """A row for machines."""
    shown: dict[str, object] = {"project_id": row.project_id, "model": row.model, "calls": row.calls, "reason": why}
    return shown | ({"names": row.names} if row.names else {})


def reason(row: UnpricedModel, prices: PriceBook, catalogue: PriceCatalogue, at_us: int) -> str:
    """Why these calls have no cost."""
    if (row.project_id, row.model) == ("", OTHERS.model):
        return "more models than are counted apart"
    if row.is_unread:
        names = ", ".join(map(harmless, row.names))
        return "usage without any count of tokens" + (f"; it has {names}" if names else "")
    if prices.price(row.project_id, row.model, at_us) is not None:
        return "had no price when it was counted; it has one now"
    if catalogue.is_ambiguous(row.model):
        return "several providers list this name, at different prices"
    return "nobody lists a price"
