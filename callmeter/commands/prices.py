"""`callmeter prices`: which price a model has at an instant, and where it comes from; which models have none."""

import json
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.prices.file import PriceFileError, load_price_file
from aggregator.prices.price import Price, Rates
from aggregator.timestamps import format_utc
from callmeter.commands.unpriced_models import read_unpriced_models, show_unpriced_models
from callmeter.instants import instant_us

_CLASSES = dict(
    zip(
        Rates._fields,
        ("uncached input", "cache read", "cache creation", "output", "cache creation kept an hour"),
        strict=True,
    )
)


@click.command()
@click.argument("model", required=False)
@click.option("--project", default="", help="A project, for the entries of the price file that are its own.")
@click.option(
    "--at",
    "at_us",
    callback=instant_us,
    metavar="INSTANT",
    help="When the call started, RFC 3339; without an offset UTC. [now]",
)
@click.option(
    "--prices-file",
    type=click.Path(path_type=Path),
    envvar="CALLMETER_PRICES_FILE",
    show_envvar=True,
    help="Your own prices, before the catalogue's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
@click.pass_context
def prices(
    context: click.Context,
    model: str | None,
    project: str,
    at_us: int | None,
    prices_file: Path | None,
    as_json: bool,
) -> None:
    """Show the price of MODEL in USD per million tokens, and where it comes from.

    Without MODEL: list the models whose calls have no cost, how many calls that are, and why; where usage could not be
    read, a sample of the names that stand in it.
    """
    if at_us is None:
        at_us = time.time_ns() // 1_000
    try:
        file = load_price_file(prices_file) if prices_file else None
    except PriceFileError as trouble:
        raise click.ClickException(str(trouble)) from trouble
    if model is None:
        rows = [row for row in read_unpriced_models(context.obj) if project in ("", row.project_id)]
        show_unpriced_models(rows, PriceBook(file, PriceCatalogue()), at_us, as_json)
        return
    price = PriceBook(file, PriceCatalogue()).price(project, model, at_us)
    if price is None:
        places = "the catalogue" if file is None else f"{file.name} and the catalogue"
        raise click.ClickException(
            f"{model!r} has no price at {format_utc(at_us)} in {places}: its cost would be null."
        )
    if as_json:
        click.echo(json.dumps({"model": model, "at": format_utc(at_us)} | _as_json(price)))
    else:
        _show(model, price)


def _as_json(price: Price) -> dict[str, object]:
    """Rates as text, which keeps them exact."""
    return {
        "source": price.source,
        "from": _since(price),
        "usd_per_million_tokens": _texts(price.rates),
        "tiers": [
            {"above_input_tokens": tier.above_input_tokens, "usd_per_million_tokens": _texts(tier.rates)}
            for tier in price.tiers
        ],
    }


def _texts(rates: Rates) -> dict[str, str]:
    return {name: format(rate, "f") for name, rate in rates._asdict().items() if rate is not None}


def _since(price: Price) -> str | None:
    return None if price.from_us is None else format_utc(price.from_us)


def _show(model: str, price: Price) -> None:
    table = Table("class", title=Text(model))
    table.add_column("USD / million tokens", justify="right")
    for tier in price.tiers:
        table.add_column(f"above {tier.above_input_tokens:,} input tokens", justify="right")
    columns = [_texts(rates) for rates in (price.rates, *(tier.rates for tier in price.tiers))]
    for name, title in _CLASSES.items():
        if name in columns[0]:
            table.add_row(title, *(column.get(name, "") for column in columns))
    Console().print(table)
    since = _since(price)
    click.echo(price.source + (f", in force since {since}" if since else ""))
