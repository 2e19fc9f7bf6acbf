"""The operator's price file and what a call costs by it, exact in pico-dollars (behaviour §1, "Cost").

There is no catalogue here: a model that the file does not price has no price.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.brute_force import instants
from tests.brute_force.usage import Counts

ALWAYS_US = -(10**18)
PICO_PER_USD = 10**12


@dataclass(frozen=True)
class Price:
    """One entry of the file: USD per million tokens, each class its own or else that of input."""

    model: str
    project: str | None
    from_us: int
    input: Fraction
    output: Fraction
    cache_read: Fraction
    cache_creation: Fraction


class Cost(NamedTuple):
    """What one (call, model) cost by class, pico-dollars."""

    uncached_input_pico: int
    cache_read_pico: int
    cache_creation_pico: int
    output_pico: int


class PriceList:
    """The entries of a price file in its order."""

    def __init__(self, prices: list[Price]) -> None:
        self.prices = prices

    @classmethod
    def from_file(cls, path: Path) -> "PriceList":
        """Read the YAML file; numbers are taken as written, not as floats."""
        content: dict[str, Any] = yaml.load(path.read_text(), Loader=yaml.BaseLoader)
        return cls([_price(entry) for entry in content["prices"]])

    def find(self, model: str, project: str, started_at_us: int) -> Price | None:
        """The price in force: the project's before a general one, exact before pattern, newest first."""
        candidates = [
            price
            for price in self.prices
            if price.project in (None, project) and price.from_us <= started_at_us and _covers(price.model, model)
        ]
        if not candidates:
            return None
        # max() keeps the first of equals, as the file's order demands.
        return max(candidates, key=lambda p: (p.project is not None, "*" not in p.model, p.from_us))


def cost_of(counts: Counts, stated: Counts, price: Price) -> Cost:
    """The cost of one (call, model), each class rounded half-even to the pico-dollar.

    What the call states decides whether input counts are gross or net of the cache.
    """
    read, creation = counts.cache_read_input_tokens, counts.cache_creation_input_tokens
    uncached = counts.input_tokens
    if stated.input_tokens >= stated.cache_read_input_tokens + stated.cache_creation_input_tokens:
        uncached = max(counts.input_tokens - read - creation, 0)
    return Cost(
        _pico(uncached, price.input),
        _pico(read, price.cache_read),
        _pico(creation, price.cache_creation),
        _pico(counts.output_tokens, price.output),
    )


def _pico(tokens: int, usd_per_million: Fraction) -> int:
    return round(tokens * usd_per_million * 10**6)


def _covers(pattern: str, model: str) -> bool:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(expression, model, re.DOTALL) is not None


def _price(entry: dict[str, str]) -> Price:
    of_input = Fraction(entry["input"])
    return Price(
        model=entry["model"],
        project=entry.get("project"),
        from_us=instants.from_text(entry["from"]) if "from" in entry else ALWAYS_US,
        input=of_input,
        output=Fraction(entry.get("output", of_input)),
        cache_read=Fraction(entry.get("cache_read", of_input)),
        cache_creation=Fraction(entry.get("cache_creation", of_input)),
    )
