"""A price: dollars per million tokens by class, and what a call costs by it, exact, in integers."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NamedTuple

# A price of one dollar per million tokens, in pico-dollars (1e-12 USD) per token.
_PICODOLLARS_PER_TOKEN = 1_000_000


class Costs(NamedTuple):
    """What one call cost with one model, by class, in pico-dollars (1e-12 USD)."""

    uncached_input: int
    cache_read: int
    cache_creation: int
    output: int

    @property
    def input_cost(self) -> int:
        """All classes of input."""
        return self.uncached_input + self.cache_read + self.cache_creation

    @property
    def total_cost(self) -> int:
        """Input and output, always their sum."""
        return self.input_cost + self.output


class Rates(NamedTuple):
    """USD per million tokens, by class."""

    uncached_input: Decimal
    cache_read: Decimal
    cache_creation: Decimal
    output: Decimal
    cache_creation_1h: Decimal | None = None
    """Of cache creation that is kept for an hour; None: as all cache creation."""


class Tier(NamedTuple):
    """The rates for all tokens of a call that has more input tokens than this, cached ones included."""

    above_input_tokens: int
    rates: Rates


class _Scale(NamedTuple):
    """Pico-dollars per token, a fraction in lowest terms."""

    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Price:
    """Rates, where they come from (`source`), and since when they are in force (`from_us`; None: always)."""

    rates: Rates
    source: str
    from_us: int | None = None
    tiers: tuple[Tier, ...] = ()
    """Other rates for large calls, by ascending size."""

    _thresholds: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _scales: tuple[tuple[_Scale, ...], ...] = field(init=False, repr=False, compare=False)
    _whole: tuple[int, ...] | None = field(init=False, repr=False, compare=False)
    """Pico-dollars per token by class, where all are whole and the size of the call does not matter: nearly always."""

    def __post_init__(self) -> None:
        scales = tuple(_scales(rates[:4]) for rates in (self.rates, *(tier.rates for tier in self.tiers)))
        is_whole = not self.tiers and all(scale.denominator == 1 for scale in scales[0])
        object.__setattr__(self, "_thresholds", tuple(tier.above_input_tokens for tier in self.tiers))
        object.__setattr__(self, "_scales", scales)
        object.__setattr__(self, "_whole", tuple(scale.numerator for scale in scales[0]) if is_whole else None)

    def cost(self, counts: Sequence[int], kept_1h: int = 0, is_net: bool | None = None) -> Costs:
        """Return what the tokens of UsageCounts cost; each class is rounded half-even to the pico-dollar.

        `kept_1h`: how many tokens of the cache creation are kept for an hour. `is_net`: whether the input tokens are
        stated without the cached ones; None: where they are fewer than these.
        """
        given, output, _, read, creation = counts[:5]
        uncached = given - read - creation
        if is_net or (is_net is None and uncached < 0):
            uncached = given
        elif uncached < 0:
            uncached = 0
        if kept_1h:
            return self._cost_with_1h(uncached, read, creation, output, min(kept_1h, creation))
        if self._whole is not None:
            per_input, per_read, per_creation, per_output = self._whole
            return Costs(uncached * per_input, read * per_read, creation * per_creation, output * per_output)
        scales = self._scales[bisect_left(self._thresholds, uncached + read + creation)]
        return Costs(*map(_picodollars, (uncached, read, creation, output), scales))

    def _cost_with_1h(self, uncached: int, read: int, creation: int, output: int, kept_1h: int) -> Costs:
        tier = bisect_left(self._thresholds, uncached + read + creation)
        rates = self.tiers[tier - 1].rates if tier else self.rates
        per_kept = rates.cache_creation if rates.cache_creation_1h is None else rates.cache_creation_1h
        usd = (creation - kept_1h) * Fraction(rates.cache_creation) + kept_1h * Fraction(per_kept)
        costs = Costs(*map(_picodollars, (uncached, read, 0, output), self._scales[tier]))
        return costs._replace(cache_creation=round(usd * _PICODOLLARS_PER_TOKEN))


def _scales(rates: Sequence[Decimal]) -> tuple[_Scale, ...]:
    return tuple(_Scale(*(Fraction(rate) * _PICODOLLARS_PER_TOKEN).as_integer_ratio()) for rate in rates)


def _picodollars(tokens: int, scale: _Scale) -> int:
    whole, rest = divmod(tokens * scale.numerator, scale.denominator)
    twice = 2 * rest
    round_up = twice > scale.denominator or (twice == scale.denominator and whole % 2 == 1)
    return whole + round_up
