"""The catalogue: the package's prices for a date and a size of request, and nothing for what it does not know."""

import json
import socket
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest
from genai_prices import Usage, data_snapshot
from genai_prices.data import providers
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)

from aggregator.calls.event import UsageCounts
from aggregator.prices import catalogue as price_catalogue
from aggregator.prices.book import UNPRICED
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.prices.file import load_price_file
from aggregator.prices.model_names import ModelNames
from aggregator.prices.price import Price, Rates
from aggregator.prices.price import Tier as PriceTier
from tests.support.paths import CASES


def us(*at: int) -> int:
    return int(datetime(*at, tzinfo=UTC).timestamp()) * 1_000_000  # type: ignore[misc,arg-type]


NOW_US = us(2026, 6, 1)


@pytest.fixture(scope="module")
def catalogue() -> PriceCatalogue:
    return PriceCatalogue()


def made_up(monkeypatch: pytest.MonkeyPatch, prices: ModelPrice | list[ConditionalPrice]) -> PriceCatalogue:
    """A catalogue of one model, `m`."""
    model = ModelInfo(id="m", match=ClauseEquals(equals="m"), prices=prices)
    provider = Provider(id="p", name="P", api_pattern="", model_match=ClauseEquals(equals="m"), models=[model])
    monkeypatch.setattr(price_catalogue, "providers", [provider])
    return PriceCatalogue()


def inputs(catalogue: PriceCatalogue, *instants_us: int) -> list[str]:
    """The price of input of `m` at each instant."""
    prices = [catalogue.timeline("m").price(at_us) for at_us in instants_us]
    return [str(price.rates.uncached_input) if price else "none" for price in prices]


@pytest.mark.parametrize(
    ("model", "found"),
    [
        ("models/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("gpt-4o", "openai/gpt-4o"),
        ("gpt-4o-2024-08-06", "openai/gpt-4o"),
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("claude-3-5-sonnet-20241022", "anthropic/claude-3-5-sonnet"),
        ("anthropic/claude-3-5-sonnet-20241022", "anthropic/claude-3-5-sonnet"),
        ("gemini/gemini-2.5-pro", "google/gemini-2.5-pro"),
        ("openrouter/openai/gpt-4o", "openrouter/openai/gpt-4o"),
    ],
)
def test_names_that_traces_hold(catalogue: PriceCatalogue, model: str, found: str) -> None:
    """Dated names and names with a provider in front find their model, and the price says which."""
    price = catalogue.timeline(model).price(NOW_US)
    assert price
    assert price.source == f"{catalogue.name}: {found}"


@pytest.mark.parametrize("model", ["", "/", "acme-llm-1", "model-1", "model-é", "gpt", "nobody/gpt-4o", "x" * 1_024])
def test_unknown_names_have_no_price(catalogue: PriceCatalogue, model: str) -> None:
    """No price is guessed for an unknown name."""
    assert catalogue.timeline(model) == UNPRICED


def test_models_of_the_golden_cases(catalogue: PriceCatalogue) -> None:
    """Models that the price file of the golden cases leaves out have no price in the catalogue either."""
    file = load_price_file(CASES / "prices.yaml")
    found = {
        model
        for path in CASES.glob("*.events.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
        for model in models_in(json.loads(line))
    }
    left_out = {model for model in found if not any(entry.matches(model) for entry in file.entries)}
    assert {"", "acme-llm-1"} < left_out
    assert [model for model in left_out if catalogue.timeline(model) != UNPRICED] == []


def models_in(value: object) -> Iterator[str]:
    """Every key of every `usage` in a JSON value."""
    if isinstance(value, dict):
        usage = value.get("usage")
        yield from usage if isinstance(usage, dict) else ()
        for part in value.values():
            yield from models_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from models_in(part)


def test_a_model_without_a_rate_for_input_has_no_price(
    catalogue: PriceCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is priced by the hour or not at all costs null, not 0; a stated price of 0 is a price."""
    assert catalogue.timeline("whisper-1").price(NOW_US) is None
    assert inputs(made_up(monkeypatch, ModelPrice(output_mtok=Decimal(1))), NOW_US) == ["none"]
    assert inputs(made_up(monkeypatch, ModelPrice(input_mtok=Decimal(0))), NOW_US) == ["0"]


def test_classes_without_a_rate_are_priced_as_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class of tokens without a rate is priced as input, also where input is priced by size."""
    tiered = TieredPrices(base=Decimal(1), tiers=[Tier(start=100, price=Decimal(2))])
    price = made_up(monkeypatch, ModelPrice(input_mtok=tiered, output_mtok=Decimal(9))).timeline("m").price(NOW_US)
    assert price
    one, two, nine = Decimal(1), Decimal(2), Decimal(9)
    assert price.rates == Rates(one, one, one, nine)
    assert price.tiers == (PriceTier(100, Rates(two, two, two, nine)),)


def test_dated_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A price begins at midnight UTC of its date; before all dates, the first."""
    model_prices = [
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(1))),
        ConditionalPrice(StartDateConstraint(date(2026, 3, 1)), prices=ModelPrice(input_mtok=Decimal(2))),
        ConditionalPrice(StartDateConstraint(date(2026, 5, 1)), prices=ModelPrice(input_mtok=Decimal(3))),
    ]
    march, may = us(2026, 3, 1), us(2026, 5, 1)
    timeline = made_up(monkeypatch, model_prices).timeline("m")
    assert inputs(PriceCatalogue(), 0, march - 1, march, may - 1, may) == ["1", "1", "2", "2", "3"]
    assert [price.from_us for price in timeline.prices if isinstance(price, Price)] == [None, march, may]


def test_prices_by_the_time_of_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval of each day, over midnight too, in force together with a date."""
    night = TimeOfDateConstraint(time(22, tzinfo=UTC), time(6, 30, tzinfo=UTC))
    model_prices = [
        ConditionalPrice(prices=ModelPrice(input_mtok=Decimal(4))),
        ConditionalPrice(StartDateConstraint(date(2026, 5, 1)), prices=ModelPrice(input_mtok=Decimal(2))),
        ConditionalPrice(night, prices=ModelPrice(input_mtok=Decimal(1))),
    ]
    instants = [us(2026, 4, 30, 6, 29, 59), us(2026, 4, 30, 6, 30), us(2026, 4, 30, 21, 59, 59), us(2026, 4, 30, 22)]
    instants += [us(2026, 5, 1), us(2026, 5, 1, 6, 30), us(2026, 5, 1, 22)]
    assert inputs(made_up(monkeypatch, model_prices), *instants) == ["1", "4", "4", "1", "1", "2", "1"]
    assert inputs(PriceCatalogue(), -1, -(8 * 3_600_000_000)) == ["1", "4"]  # before 1970 too


COUNTS = [
    UsageCounts(1_000, 100, 1_100, 0, 0, 1),
    UsageCounts(1_000, 100, 1_100, 600, 300, 1),
    UsageCounts(200_000, 7, 200_007, 100_000, 0, 1),
    UsageCounts(200_001, 7, 200_008, 100_000, 99, 1),
    UsageCounts(1_000_000, 12_345, 1_012_345, 77_777, 0, 1),
]


def test_costs_are_the_package_s_own() -> None:
    """Every model that is priced by the token costs what the package says: at each date, hour and size of request."""
    catalogue, compared = PriceCatalogue(), 0
    names = ModelNames(providers)
    instants_us = [us(2024, 7, 1, 12), us(2025, 8, 1, 2, 30), us(2026, 10, 20, 8), us(2027, 1, 1, 17)]
    for name in sorted({model.id for provider in providers for model in provider.models}):
        found = names.find(name)
        if found is None:
            continue
        model = found.model
        for at_us in instants_us:
            stated = model.get_prices(datetime.fromtimestamp(at_us / 1e6, UTC))
            price = catalogue.timeline(name).price(at_us)
            if stated.input_mtok is None or stated.output_mtok is None or stated.requests_kcount is not None:
                continue
            assert price
            for counts in COUNTS:
                usage = Usage(
                    input_tokens=counts.input_tokens,
                    cache_read_tokens=counts.cache_read_input_tokens,
                    cache_write_tokens=counts.cache_creation_input_tokens,
                    output_tokens=counts.output_tokens,
                )
                # Each of four classes is rounded to the pico-dollar; some rates are not whole there.
                difference = price.cost(counts).total_cost - stated.calc_price(usage)["total_price"] * 10**12
                assert abs(difference) <= 2, name
                compared += 1
    assert compared > 1_000


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is made, and prices that something else fetched for the package are not seen."""

    def refuse(*_: object) -> None:
        raise AssertionError("a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    data_snapshot.set_custom_snapshot(data_snapshot.DataSnapshot([], from_auto_update=True))
    try:
        assert PriceCatalogue().timeline("gpt-4o").price(NOW_US) is not None
    finally:
        data_snapshot.set_custom_snapshot(None)


def test_what_is_kept_for_an_hour_has_its_own_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache creation that is kept for an hour has its own price: 700 of 1,000 tokens, at 3.75 and 6 dollars per
    million; by size if that counts."""
    rates = {"input_mtok": Decimal(3), "cache_write_mtok": Decimal("3.75"), "cache_write_1h_mtok": Decimal(6)}
    counts = UsageCounts(1_500, 0, 1_500, 0, 1_000, 1)
    price = made_up(monkeypatch, ModelPrice(**rates)).timeline("m").price(NOW_US)
    assert isinstance(price, Price)
    assert price.cost(counts, 700).cache_creation == 300 * 3_750_000 + 700 * 6_000_000
    assert price.cost(counts, 5_000).cache_creation == 1_000 * 6_000_000  # never more than what was created
    assert price.cost(counts).cache_creation == 1_000 * 3_750_000
    assert price.cost(counts, 700)[:2] == price.cost(counts)[:2] == (500 * 3_000_000, 0)
    tiered = TieredPrices(base=Decimal(6), tiers=[Tier(start=1_499, price=Decimal(12))])
    price = made_up(monkeypatch, ModelPrice(**rates | {"cache_write_1h_mtok": tiered})).timeline("m").price(NOW_US)
    assert isinstance(price, Price)
    assert price.cost(counts, 1_000).cache_creation == 1_000 * 12_000_000
    without = made_up(monkeypatch, ModelPrice(input_mtok=Decimal(3))).timeline("m").price(NOW_US)
    assert isinstance(without, Price)
    assert without.cost(counts, 700) == without.cost(counts)
