"""Options of the commands that send events of a file: what is read, what its messages are keyed by, where they go."""

from collections.abc import Callable
from typing import Any

import click

Decorated = Callable[[Callable[..., Any]], Callable[..., Any]]

source_argument: Decorated = click.argument(
    "source", metavar="FILE|-", type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
topic_option: Decorated = click.option(
    "--topic", help="Topic to write to.  [default: the first of CALLMETER_KAFKA__TOPICS]"
)


def key_option(meaning: str) -> Decorated:
    """The option `--key`, as `keyed_by`; `meaning` ends its help."""
    return click.option(
        "--key",
        "keyed_by",
        type=click.Choice(["project", "trace"]),
        default="project",
        show_default=True,
        help=f"What shares a partition{meaning}",
    )
