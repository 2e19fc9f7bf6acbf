"""How much a run measures: everything, a short version of it, or so little that it only shows that all of it works."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Element = TypeVar("Element")
_CONSOLE = Console(stderr=True)


@dataclass(frozen=True)
class Scale:
    """`short`: under five minutes in all. `divisor`: all amounts are divided by it; the numbers then mean nothing.

    `calls`: so many in the soak, instead of its own (0).
    """

    short: bool
    divisor: int = 1
    calls: int = 0

    def amount(self, full: int, short: int, least: int = 1) -> int:
        """Returns how many of something there are, of events or the like."""
        return max(least, (short if self.short else full) // self.divisor)

    def rounds(self, full: int = 5, short: int = 3) -> int:
        """Returns how often to measure."""
        return short if self.short else full


def tell(what: str) -> None:
    """Tells those who wait what is being done now."""
    if not _CONSOLE.is_terminal:
        print(what, file=sys.stderr, flush=True)
    else:
        _CONSOLE.print(what, style="dim", highlight=False)


def watched(elements: Iterable[Element], total: int, what: str) -> Iterator[Element]:
    """The elements, with a bar that shows how far they are."""
    if not _CONSOLE.is_terminal:
        tell(f"{what} ({total:,})")
        return iter(elements)
    return iter(track(elements, what, total, console=_CONSOLE, transient=True))
