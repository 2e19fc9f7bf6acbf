"""The book of prices: which price a model has in a project at an instant, the operator's before the catalogue's."""

from bisect import bisect_right
from typing import NamedTuple, Protocol

from aggregator.prices.file import PriceEntry, PriceFile
from aggregator.prices.price import Price, Rates
from aggregator.time_units import DAY_US

# Before every instant: since when a price without a beginning is in force.
ALWAYS_US = -(2**63)

# Timelines kept, one per (project, model), some hundred bytes each. When full the book forgets them all.
_TIMELINES_KEPT_MAX = 65_536


class DayPrices(NamedTuple):
    """Prices by the time of day: `prices[i]` from `starts_us[i]` after midnight UTC on, the first from 0."""

    starts_us: tuple[int, ...]
    prices: tuple[Price | None, ...]


class Timeline(NamedTuple):
    """A model's prices through time: `prices[i]` from `starts_us[i]` on, the first from ALWAYS_US."""

    starts_us: tuple[int, ...]
    prices: tuple[Price | DayPrices | None, ...]

    def in_force(self, at_us: int) -> Price | DayPrices | None:
        """Return what holds on the day of this instant."""
        return self.prices[bisect_right(self.starts_us, at_us) - 1]

    def price(self, at_us: int) -> Price | None:
        """The price at this instant."""
        price = self.prices[bisect_right(self.starts_us, at_us) - 1]
        if isinstance(price, DayPrices):
            return price.prices[bisect_right(price.starts_us, at_us % DAY_US) - 1]
        return price


UNPRICED = Timeline((ALWAYS_US,), (None,))


class Catalogue(Protocol):
    """Public prices, for what the operator's file is silent about."""

    def timeline(self, model: str) -> Timeline:
        """The prices of a model; UNPRICED where it is unknown."""


class _Ranked(NamedTuple):
    """An entry of the file among those of its rank: the greatest that is in force wins."""

    from_us: int
    minus_number: int  # of two from the same instant, the first in the file
    price: Price


class PriceBook:
    """Answers from memory; both sources are read before."""

    def __init__(self, file: PriceFile | None, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._exact: dict[str, list[tuple[PriceEntry, _Ranked]]] = {}
        self._patterns: list[tuple[PriceEntry, _Ranked]] = []
        self._timelines: dict[tuple[str, str], Timeline] = {}
        if file is not None:
            for number, entry in enumerate(file.entries, 1):
                alike = self._patterns if entry.is_pattern else self._exact.setdefault(entry.model, [])
                alike.append((entry, _ranked(entry, number, f"{file.name}, entry {number}")))

    def price(self, project_id: str, model: str, started_at_us: int) -> Price | None:
        """The price of a call that started then; None where nobody has one for its model."""
        timeline = self._timelines.get((project_id, model))
        if timeline is None:
            timeline = self._build_timeline(project_id, model)
            if len(self._timelines) >= _TIMELINES_KEPT_MAX:
                self._timelines.clear()
            self._timelines[project_id, model] = timeline
        return timeline.price(started_at_us)

    def _build_timeline(self, project_id: str, model: str) -> Timeline:
        """Cut time wherever an entry or a price of the catalogue begins, and pick the winner of each part."""
        ranks = self._ranks(project_id, model)
        public = self._catalogue.timeline(model)
        starts_us = sorted({*public.starts_us, *(ranked.from_us for rank in ranks for ranked in rank)})
        return Timeline(tuple(starts_us), tuple(_winner(ranks, at_us) or public.in_force(at_us) for at_us in starts_us))

    def _ranks(self, project_id: str, model: str) -> list[list[_Ranked]]:
        """The entries that match: the project's exact ones, its patterns, the general exact ones, general patterns."""
        ranks: list[list[_Ranked]] = [[], [], [], []]
        alike = [*self._exact.get(model, ()), *self._patterns]
        for entry, ranked in alike:
            if entry.project in (None, project_id) and entry.matches(model):
                ranks[2 * (entry.project is None) + entry.is_pattern].append(ranked)
        for rank in ranks:
            rank.sort(key=lambda ranked: ranked[:2])
        return ranks


def _winner(ranks: list[list[_Ranked]], at_us: int) -> Price | None:
    for rank in ranks:
        in_force = bisect_right(rank, at_us, key=lambda ranked: ranked.from_us)
        if in_force:
            return rank[in_force - 1].price
    return None


def _ranked(entry: PriceEntry, number: int, source: str) -> _Ranked:
    """A class without a price of its own is priced as input."""
    rates = Rates(
        entry.input,
        *(entry.input if own is None else own for own in (entry.cache_read, entry.cache_creation, entry.output)),
    )
    from_us = ALWAYS_US if entry.from_us is None else entry.from_us
    return _Ranked(from_us, -number, Price(rates, source, entry.from_us))
