"""What a call costs, and which price is in force."""

import json
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.event import UsageCounts
from aggregator.prices import book as prices
from aggregator.prices.book import ALWAYS_US, UNPRICED, DayPrices, PriceBook, Timeline
from aggregator.prices.file import load_price_file, parse_price_file
from aggregator.prices.price import Costs, Price, Rates, Tier
from aggregator.time_units import DAY_US, HOUR_US
from aggregator.timestamps import parse_timestamp_us
from callmeter.commands.prices import prices as prices_command
from tests.support.paths import CASES

PRICE_FILE = CASES / "prices.yaml"


class FakeCatalogue:
    """A catalogue of given timelines that counts how often it is asked."""

    def __init__(self, timelines: dict[str, Timeline] | None = None) -> None:
        self.timelines = timelines or {}
        self.asked = 0

    def timeline(self, model: str) -> Timeline:
        self.asked += 1
        return self.timelines.get(model, UNPRICED)


def rates(*usd_per_million: str) -> Rates:
    return Rates(*map(Decimal, usd_per_million))


def price(*usd_per_million: str, source: str = "") -> Price:
    return Price(rates(*usd_per_million), source)


def counts(input_tokens: int, output_tokens: int, read: int = 0, creation: int = 0) -> UsageCounts:
    return UsageCounts(input_tokens, output_tokens, input_tokens + output_tokens, read, creation, 1)


def book(*entries: str, catalogue: FakeCatalogue | None = None) -> PriceBook:
    text = "prices: [" + ", ".join(f"{{{entry}}}" for entry in entries) + "]"
    return PriceBook(parse_price_file(text, "f"), catalogue or FakeCatalogue())


def entry_found(
    in_book: PriceBook, at: str = "2026-05-11T12:00:00Z", model: str = "m", project: str = "p"
) -> int | None:
    """The number of the entry that gives the price."""
    found = in_book.price(project, model, parse_timestamp_us(at))
    return int(found.source.removeprefix("f, entry ")) if found else None


# Costs


def test_each_class_at_its_price() -> None:
    """Worked out by hand: 3, 0.3, 3.75 and 15 dollars per million; read and created tokens are part of the input."""
    costs = price("3", "0.3", "3.75", "15").cost(counts(1_000, 200, read=600, creation=300))
    assert costs == Costs(100 * 3_000_000, 600 * 300_000, 300 * 3_750_000, 200 * 15_000_000)
    assert costs.input_cost == 300_000_000 + 180_000_000 + 1_125_000_000
    assert costs.total_cost == 1_605_000_000 + 3_000_000_000


@pytest.mark.parametrize(
    ("input_tokens", "read", "creation", "net"),
    [(100, 60, 40, 0), (100, 60, 39, 1), (100, 60, 41, 100), (7, 90, 0, 7), (0, 0, 0, 0), (5, 0, 0, 5)],
)
def test_net_counts(input_tokens: int, read: int, creation: int, net: int) -> None:
    """Cached tokens are taken off input that can hold them; else input was stated without them, and priced in full."""
    costs = price("1", "1", "1", "1").cost(counts(input_tokens, 0, read, creation))
    assert costs.uncached_input == net * 1_000_000


@pytest.mark.parametrize(("tokens", "picodollars"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 2), (7, 4)])
def test_half_a_picodollar_goes_to_the_even_one(tokens: int, picodollars: int) -> None:
    """0.0000005 dollars per million are half a pico-dollar per token."""
    costs = price("0.0000005", "0.0000005", "0.0000005", "0.0000005").cost(counts(tokens, tokens))
    assert costs == Costs(picodollars, 0, 0, picodollars)


USD = st.decimals(0, 1_000_000, places=9, allow_nan=False)
TOKENS = st.integers(0, 10**9)


@given(st.tuples(USD, USD, USD, USD), TOKENS, TOKENS, TOKENS, TOKENS)
def test_costs_are_exact(usd: tuple[Decimal, Decimal, Decimal, Decimal], i: int, r: int, c: int, o: int) -> None:
    """Each class is the rational product, rounded half-even; never negative."""
    costs = Price(Rates(*usd), "").cost(counts(i, o, r, c))
    tokens = (i - r - c if i >= r + c else i, r, c, o)
    assert costs == tuple(round(Fraction(rate) * n * 1_000_000) for rate, n in zip(usd, tokens, strict=True))
    assert min(costs) >= 0


def test_the_size_of_a_call_selects_the_tier() -> None:
    """A call is large by all its input, cached too, from one token above the threshold, and then in all classes."""
    tiered = Price(
        rates("1", "2", "3", "4"),
        "",
        tiers=(Tier(1_000, rates("10", "20", "30", "40")), Tier(2_000, rates("5", "5", "5", "5"))),
    )
    assert tiered.cost(counts(1_000, 1)) == (1_000_000_000, 0, 0, 4_000_000)
    assert tiered.cost(counts(1_001, 1)) == (10_010_000_000, 0, 0, 40_000_000)
    assert tiered.cost(counts(1_000, 1, read=1, creation=1)) == (998_000_000, 2_000_000, 3_000_000, 4_000_000)
    assert tiered.cost(counts(500, 1, read=501)) == (5_000_000_000, 10_020_000_000, 0, 40_000_000)
    assert tiered.cost(counts(2_001, 1)) == (10_005_000_000, 0, 0, 5_000_000)


# The price in force


def test_project_before_general_exact_before_pattern() -> None:
    """The four ranks, each winning over those after it however much newer they are."""
    general = ["model: 'm*', input: 1, from: 2026-04-01T00:00:00Z", "model: m, input: 1, from: 2026-03-01T00:00:00Z"]
    own = ["model: 'm*', project: p, input: 1, from: 2026-02-01T00:00:00Z", "model: m, project: p, input: 1"]
    entries = general + own
    assert [entry_found(book(*entries[:n])) for n in (1, 2, 3, 4)] == [1, 2, 3, 4]
    assert [entry_found(book(*entries[:n]), project="q") for n in (1, 2, 3, 4)] == [1, 2, 2, 2]


def test_a_pattern_as_name_of_a_model() -> None:
    """A model that is called `m*` is found by patterns as any other."""
    assert entry_found(book("model: 'm*', input: 1"), model="m*") == 1


def test_the_newest_that_has_begun() -> None:
    """A price is in force from its very instant; one without `from` is the oldest."""
    dated = book(
        "model: m, input: 1, from: 2026-05-12T00:00:00Z",
        "model: m, input: 2",
        "model: m, input: 3, from: 2026-05-11T12:00:00Z",
    )
    assert entry_found(dated, "2026-05-11T11:59:59.999999Z") == 2
    assert entry_found(dated, "2026-05-11T12:00:00Z") == 3
    assert entry_found(dated, "2026-05-11T23:59:59.999999Z") == 3
    assert entry_found(dated, "2026-05-12T00:00:00Z") == 1


def test_what_is_not_yet_in_force_does_not_compete() -> None:
    """The general pattern holds until the project's own price begins; before it begins itself, nothing holds."""
    dated = book(
        "model: m, project: p, input: 1, from: 2026-05-12T00:00:00Z",
        "model: 'm*', input: 2, from: 2026-05-11T00:00:00Z",
    )
    assert entry_found(dated, "2026-05-10T23:59:59Z") is None
    assert entry_found(dated, "2026-05-11T12:00:00Z") == 2
    assert entry_found(dated, "2026-05-12T12:00:00Z") == 1


def test_of_equals_the_first_in_the_file() -> None:
    """Two patterns that match, from the same instant: how specific they are does not matter."""
    assert entry_found(book("model: '*', input: 1", "model: 'm*', input: 2")) == 1
    dated = "from: 2026-01-01T00:00:00"
    assert entry_found(book("model: m, input: 1", f"model: m, input: 2, {dated}Z", f"model: m, input: 3, {dated}")) == 2


def test_project_and_case_are_exact() -> None:
    """A project's name is no pattern, and its case counts."""
    assert entry_found(book("model: M, input: 1")) is None
    assert entry_found(book("model: m, project: 'p*', input: 1"), project="p1") is None
    assert entry_found(book("model: m, project: P, input: 1")) is None


def test_classes_without_a_price_are_priced_as_input() -> None:
    """Cache read, cache creation and output alike."""
    found = book("model: m, input: 2, cache_creation: 0").price("p", "m", 0)
    assert found
    assert found.rates == rates("2", "2", "0", "2")
    assert (found.source, found.from_us) == ("f, entry 1", None)


def test_the_catalogue_is_last() -> None:
    """The catalogue prices what the file does not match, and what the file matches only later, with its own dates."""
    old, new = price("1", "1", "1", "1", source="old"), price("2", "2", "2", "2", source="new")
    catalogue = FakeCatalogue({"m": Timeline((ALWAYS_US, 10 * DAY_US), (old, new))})
    in_book = book("model: 'm*', project: p, input: 3, from: 1970-01-06T00:00:00Z", catalogue=catalogue)

    def sources(project: str) -> list[str]:
        days = [in_book.price(project, "m", day * DAY_US) for day in (0, 4, 5, 10)]
        return [found.source if found else "none" for found in days]

    assert sources("p") == ["old", "old", "f, entry 1", "f, entry 1"]
    assert sources("q") == ["old", "old", "old", "new"]
    assert in_book.price("q", "unknown", 0) is None
    assert PriceBook(None, catalogue).price("p", "m", -DAY_US) == old


def test_prices_of_the_day_keep_their_hours() -> None:
    """Prices for hours of the day keep them, also where the file cuts into the catalogue's timeline."""
    day, night = price("2", "2", "2", "2", source="day"), price("1", "1", "1", "1", source="night")
    by_hour = DayPrices((0, 6 * HOUR_US, 22 * HOUR_US), (night, day, night))
    catalogue = FakeCatalogue({"m": Timeline((ALWAYS_US,), (by_hour,))})
    in_book = book("model: m, input: 3, from: 2026-01-01T12:00:00Z", catalogue=catalogue)
    instants = ["2025-12-31T05:59:59.999999Z", "2025-12-31T06:00:00Z", "2025-12-31T22:00:00Z", "2026-01-01T12:00:00Z",
                "1969-12-31T21:59:59Z", "1969-12-31T22:00:00Z"]  # fmt: skip
    found = [in_book.price("p", "m", parse_timestamp_us(at)) for at in instants]
    assert [one and one.source for one in found] == ["night", "day", "night", "f, entry 1", "day", "night"]


def test_the_golden_price_file() -> None:
    """The entries that its cases are about."""
    in_book = PriceBook(load_price_file(PRICE_FILE), FakeCatalogue())

    def found(project: str, model: str, at: str) -> str | None:
        one = in_book.price(project, model, parse_timestamp_us(at))
        return one.source.removeprefix("prices.yaml, entry ") if one else None

    assert found("acme/agents", "acme-shared", "2026-05-11T12:00:00Z") == "10"
    assert found("acme/other", "acme-shared", "2026-05-11T12:00:00Z") == "9"
    assert found("acme/agents", "acme-pattern-x", "2026-05-11T12:00:00Z") == "12"
    assert found("acme/other", "acme-pattern-x", "2026-05-11T12:00:00Z") == "13"
    assert found("acme/agents", "acme-dated", "2026-05-11T11:59:59Z") is None
    assert found("acme/agents", "acme-dated", "2026-05-12T00:00:00Z") == "6"
    assert found("acme/agents", "acme-llm-1", "2026-05-12T00:00:00Z") is None


def test_looking_up_again_is_remembered_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each (project, model) is looked up once, and no number of them fills the memory."""
    monkeypatch.setattr(prices, "_TIMELINES_KEPT_MAX", 2)
    catalogue = FakeCatalogue()
    in_book = PriceBook(None, catalogue)
    for model in ("a", "b", "a", "b"):
        in_book.price("p", model, 0)
    assert catalogue.asked == 2
    for model in ("c", "c", "a"):
        in_book.price("p", model, 0)
    assert catalogue.asked == 4


# The command


def run(*args: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    result = CliRunner(env=env or {}).invoke(prices_command, args)
    return result.exit_code, result.output


def test_the_command_shows_a_price_and_its_source() -> None:
    """A row per class, then the entry and since when."""
    at = ("--at", "2026-05-12T00:00:00")
    code, text = run("acme-dated", *at, "--prices-file", str(PRICE_FILE))
    assert code == 0
    assert [line.split("│")[1:3] for line in text.splitlines() if "│" in line] == [
        [" uncached input ", "                    2 "],
        [" cache read     ", "                  0.5 "],
        [" cache creation ", "                    2 "],
        [" output         ", "                    8 "],
    ]
    assert text.endswith("prices.yaml, entry 6, in force since 2026-05-12T00:00:00Z\n")


def test_the_command_speaks_json() -> None:
    """Exact rates, as text; the file may come from the environment; a project's own entries count."""
    code, text = run(
        "acme-shared", "--project", "acme/agents", "--json", env={"CALLMETER_PRICES_FILE": str(PRICE_FILE)}
    )
    shown = json.loads(text)
    assert code == 0
    assert shown["source"] == "prices.yaml, entry 10"
    assert shown["usd_per_million_tokens"] == {
        "uncached_input": "0.7",
        "cache_read": "0.7",
        "cache_creation": "0.7",
        "output": "0.9",
    }
    tiers = json.loads(run("gemini-2.5-pro", "--json")[1])["tiers"]
    assert [tier["above_input_tokens"] for tier in tiers] == [200_000]


def test_the_command_says_what_has_no_price(tmp_path: Path) -> None:
    """The command says in one sentence, with exit code 1, that a model has no price or that a file is broken."""
    unpriced = run("acme-llm-1", "--at", "2026-05-12T00:00:00Z", "--prices-file", str(PRICE_FILE))
    assert unpriced == (
        1,
        "Error: 'acme-llm-1' has no price at 2026-05-12T00:00:00Z in prices.yaml and the catalogue: "
        "its cost would be null.\n",
    )
    broken = tmp_path / "broken.yaml"
    broken.write_text("prices: [{model: m}]")
    assert run("m", "--prices-file", str(broken)) == (1, "Error: broken.yaml, entry 1, `input` is missing.\n")
    code, text = run("m", "--at", "soon")
    assert code == 2
    assert "'soon' is not an instant" in text


def test_names_of_models_are_shown_as_they_are(tmp_path: Path) -> None:
    """Brackets in a name are no markup."""
    (tmp_path / "all.yaml").write_text("prices: [{model: '*', input: 1}]")
    code, text = run("[bold]m[/x]", "--prices-file", str(tmp_path / "all.yaml"))
    assert code == 0
    assert "[bold]m[/x]" in text
