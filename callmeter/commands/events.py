"""`callmeter events`: what an event is, for machines."""

import json

import click

from ingest.decoding.event_schema import event_schema


@click.group()
def events() -> None:
    """Print what callmeter takes as events (docs/events.md says it in words)."""


@events.command()
def schema() -> None:
    """Print the JSON Schema of a message: an event, or a batch of them."""
    click.echo(json.dumps(event_schema(), indent=2))
