"""`callmeter settings`: every variable with its default, its value in force and its meaning."""

import json
import re
from typing import Any, NamedTuple

import click
from pydantic import ByteSize
from pydantic.fields import FieldInfo

from callmeter.durations import format_duration
from callmeter.logs import redacted
from callmeter.settings import DURATION, Settings
from callmeter.settings_reading import leaves, variable

_SECRET = re.compile(r"password|secret|token|pem|key|jaas|oauth")  # names of librdkafka properties not to be shown


class SettingRow(NamedTuple):
    """A variable, its value when not set, its value in force, what it means."""

    name: str
    default: str
    in_force: str
    meaning: str


def setting_rows(settings: Settings) -> list[SettingRow]:
    """Every variable in the order of the documentation, with what `settings` holds, passwords left out."""
    defaults = {path: value for path, value, _ in leaves(Settings())}
    return [
        SettingRow(variable(path), _as_text(defaults[path], field), _as_text(value, field), field.description or "")
        for path, value, field in leaves(settings)
    ]


def markdown_table() -> str:
    """Return the table that docs/operations.md shows: variable, default, meaning."""
    rows = [
        f"| `{row.name}` | {f'`{row.default}`' if row.default else ''} | {row.meaning} |"
        for row in setting_rows(Settings())
    ]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


@click.command("settings")
@click.option("--markdown", is_flag=True, help="Print the table of defaults that docs/operations.md shows.")
@click.pass_obj
def settings(in_force: Settings, markdown: bool) -> None:
    """Show every setting: its variable, its value in force, its default, what it means."""
    if markdown:
        click.echo(markdown_table())
        return
    for row in setting_rows(in_force):
        changed = f"  (default: {row.default or 'none'})" if row.in_force != row.default else ""
        click.echo(f"{row.name}={row.in_force}{changed}")
        click.echo(f"    {row.meaning.replace('`', '')}")


def _as_text(value: Any, field: FieldInfo) -> str:
    """`value` as one would write it into the variable."""
    if value is None:
        return ""
    if DURATION in field.metadata:
        return format_duration(value)
    if isinstance(value, ByteSize):
        return value.human_readable(separator="").replace(".0", "")
    if isinstance(value, tuple):
        return ",".join(part if isinstance(part, str) else part.key_id for part in value)
    if isinstance(value, dict):
        return json.dumps({name: "***" if _SECRET.search(name) else part for name, part in value.items()})
    if isinstance(value, bool):
        return str(value).lower()
    return redacted(str(value))
