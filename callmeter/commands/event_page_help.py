"""The page about events, after a command's own help."""

import shutil
from io import StringIO

import click
from rich.console import Console
from rich.markdown import Markdown

from aggregator.calls.event_page import event_page

COLUMNS_MAX = 120


class WithEventPage(click.Command):
    """A command whose --help ends with what an event is."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the page, laid out for the terminal's width, without colours."""
        formatter.write_paragraph()
        formatter.write(laid_out(min(shutil.get_terminal_size().columns, COLUMNS_MAX)))


def laid_out(columns: int) -> str:
    """The page as plain text of so many columns."""
    into = StringIO()
    Console(file=into, width=columns, color_system=None, legacy_windows=False).print(Markdown(event_page()))
    return "".join(f"{line.rstrip()}\n" for line in into.getvalue().splitlines())
