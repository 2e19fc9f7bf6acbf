"""Instants as options of a command."""

import click

from aggregator.timestamps import parse_timestamp_us


def instant_us(ctx: click.Context, param: click.Parameter, written: str | None) -> int | None:
    """A callback for an option that takes an RFC 3339 instant (without an offset UTC): microseconds since 1970."""
    try:
        return None if written is None else parse_timestamp_us(written)
    except ValueError:
        raise click.BadParameter(f"{written!r} is not an instant like 2026-05-11T12:00:00Z") from None
