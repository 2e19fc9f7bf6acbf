"""Public prices, from the snapshot inside the `genai-prices` package; nothing is ever fetched.

Rates per token are taken as the package states them for a date, a time of day and a size of request. What it prices
otherwise (requests, searches, audio, images, service tiers) is not in token counts and left out. A model that it lists
without a rate for input has no price here.
"""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from genai_prices.data import providers
from genai_prices.types import ModelInfo, ModelPrice, StartDateConstraint, TieredPrices, TimeOfDateConstraint

from aggregator.prices.book import ALWAYS_US, UNPRICED, DayPrices, Timeline
from aggregator.prices.model_names import ModelNames
from aggregator.prices.price import Price, Rates, Tier

# Timelines kept, by model; making one takes about a tenth of a millisecond.
_MODELS_KEPT_MAX = 4_096

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MIDNIGHT = time(0, tzinfo=UTC)
# The package's keys, in the order of Rates.
_RATE_KEYS = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok", "cache_write_1h_mtok")


class PriceCatalogue:
    """Prices by the names that providers give their models, or `provider/model` as LiteLLM and OpenRouter write it."""

    def __init__(self) -> None:
        self.name = f"genai-prices {version('genai-prices')}"
        self._names = ModelNames(providers)
        self._timeline = lru_cache(maxsize=_MODELS_KEPT_MAX)(self._read_timeline)

    def timeline(self, model: str) -> Timeline:
        """The prices of a model through time; UNPRICED where the package does not list it, or several models."""
        return self._timeline(model)

    def is_ambiguous(self, model: str) -> bool:
        """Whether it has no price since several providers list it, at different prices."""
        return self._names.is_ambiguous(model)

    def _read_timeline(self, model: str) -> Timeline:
        listed = self._names.find(model)
        if listed is None:
            return UNPRICED
        provider, found = listed
        source = f"{self.name}: {provider.id}/{found.id}"
        days, hours = _changes(found)
        starts_us = [ALWAYS_US, *(_us(datetime.combine(day, _MIDNIGHT)) for day in days)]
        prices = []
        for day, from_us in zip([date.min, *days], [None, *starts_us[1:]], strict=True):
            by_hour = tuple(_price(found.get_prices(datetime.combine(day, hour)), source, from_us) for hour in hours)
            same_all_day = all(price == by_hour[0] for price in by_hour)
            prices.append(by_hour[0] if same_all_day else DayPrices(tuple(map(_us_of_day, hours)), by_hour))
        return Timeline(tuple(starts_us), tuple(prices))


def _changes(model: ModelInfo) -> tuple[list[date], list[time]]:
    """The days and the times of day (UTC, midnight first) at which another of the model's prices may come in force."""
    conditional = [] if isinstance(model.prices, ModelPrice) else model.prices
    days: set[date] = set()
    hours = {_MIDNIGHT}
    for constraint in (price.constraint for price in conditional):
        match constraint:
            case StartDateConstraint(start_date=day):
                days.add(day)
            case TimeOfDateConstraint(start_time=start, end_time=end):
                hours |= {_in_utc(start), _in_utc(end)}
    return sorted(days), sorted(hours)


def _price(stated: ModelPrice, source: str, from_us: int | None) -> Price | None:
    by_class = [getattr(stated, key) for key in _RATE_KEYS]
    if by_class[0] is None:
        return None
    # A class without a rate of its own is priced as input; what is kept for an hour, as other cache creation.
    by_class = [by_class[0] if rate is None else rate for rate in by_class[:4]] + by_class[4:]
    thresholds = sorted({tier.start for rate in by_class if isinstance(rate, TieredPrices) for tier in rate.tiers})
    tiers = (Tier(above, _rates(by_class, above)) for above in thresholds)
    return Price(_rates(by_class, -1), source, from_us, tuple(tiers))


def _rates(by_class: list[Any], above: int) -> Rates:
    of_1h = by_class[4]
    first, read, creation, output = (_rate(rate, above) for rate in by_class[:4])
    return Rates(first, read, creation, output, None if of_1h is None else _rate(of_1h, above))


def _rate(stated: Decimal | TieredPrices, above: int) -> Decimal:
    """The rate for calls just above this many input tokens."""
    if isinstance(stated, Decimal):
        return stated
    reached = [tier.price for tier in stated.tiers if tier.start <= above]
    return reached[-1] if reached else stated.base


def _in_utc(at: time) -> time:
    """A time without a zone is UTC, as the package has it."""
    return datetime.combine(_EPOCH, at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).timetz()


def _us(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _us_of_day(at: time) -> int:
    return _us(datetime.combine(_EPOCH, at))
