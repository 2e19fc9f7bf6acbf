"""Which names have a price: all that the catalogue lists, and none that only look like one of them."""

from collections import defaultdict

import pytest
from genai_prices.data import providers
from genai_prices.types import ClauseContains, ClauseEquals, ClauseStartsWith, ModelInfo, ModelPrice, Provider

from aggregator.prices.book import UNPRICED
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.prices.model_names import Found, ModelNames


@pytest.fixture(scope="module")
def names() -> ModelNames:
    return ModelNames(providers)


@pytest.fixture(scope="module")
def listed() -> dict[str, list[Found]]:
    """Every id of the catalogue, with the models it is the id of."""
    by_id = defaultdict(list)
    for provider in providers:
        for model in provider.models:
            by_id[model.id.lower()].append(Found(provider, model))
    return by_id


def of_front(names: ModelNames, model_id: str) -> Found | None:
    """Returns what the provider in front of an id lists under the rest of it."""
    _, slash, rest = model_id.partition("/")
    found = names.find(model_id) if slash else None
    if found is None or found.provider.id == "openrouter" or rest.lower() not in names_of(found.model):
        return None
    return found


def names_of(model: ModelInfo) -> set[str]:
    clauses = [model.match, *(getattr(model.match, "or_", None) or ())]
    return {model.id.lower(), *(clause.equals.lower() for clause in clauses if isinstance(clause, ClauseEquals))}


def test_every_id_of_one_provider_is_its(names: ModelNames, listed: dict[str, list[Found]]) -> None:
    """An id of one provider is that provider's, also where others give it as one of several names; but not where a
    provider in front of it lists the rest."""
    wrong = {}
    by_front = 0
    for model_id, models in listed.items():
        found = names.find(model_id)
        if len({found.provider.id for found in models}) > 1 or (found and found.model in [m for _, m in models]):
            continue
        if of_front(names, model_id) is None:
            wrong[model_id] = found and (found.provider.id, found.model.id)
        by_front += 1
    assert wrong == {}
    assert 0 < by_front < 200


def test_an_id_to_the_letter_comes_before_one_of_other_case(names: ModelNames) -> None:
    """An id that one provider lists so, with its capitals, is that provider's, though another has it with other ones;
    but not where the catalogue gives such names to that other one."""
    by_letter = defaultdict(list)
    for provider in providers:
        for model in provider.models:
            by_letter[model.id].append(model)
    of_one = {model_id: models for model_id, models in by_letter.items() if len(models) == 1}
    wrong = []
    for model_id, (model,) in of_one.items():
        found = names.find(model_id)
        if found is not None and (found.model is model or of_front(names, model_id) is not None):
            continue
        rule = None if found is None else found.provider.model_match
        if rule is None or not rule.is_match(model_id.lower()):
            wrong.append(model_id)
    assert "deepseek-r1-distill-llama-70b" in of_one
    assert wrong == []


def test_every_other_id_is_one_of_its_models_or_ambiguous(names: ModelNames, listed: dict[str, list[Found]]) -> None:
    """An id of several providers belongs to the one to which the catalogue gives the name, or to one of several that
    ask the same price."""
    for model_id, models in listed.items():
        found = names.find(model_id)
        if found is None:
            assert len(models) > 1
            assert names.is_ambiguous(model_id)
        elif found.model not in [model for _, model in models] and of_front(names, model_id) is None:
            assert found.provider.find_model(model_id) is found.model


@pytest.mark.parametrize(
    "made_up",
    [
        "{}:free",
        "{}:7b",
        "{}:latest-q4",
        "ft:{}:acme::abc123",
        "ft:{}",
        "{}-acme",
        "acme-{}",
        "local/{}:7b",
        "ollama/{}:7b",
        "my-openai/{}x",
        "openai/{}:free",
        "{}-7b",
        "not-{}",
    ],
)
def test_nothing_is_priced_by_resemblance(made_up: str, names: ModelNames, listed: dict[str, list[Found]]) -> None:
    """Free, local and fine-tuned models, and whatever else somebody may call theirs."""
    made = {made_up.format(model_id) for model_id in listed} - set(listed)
    stated = {name for models in listed.values() for _, model in models for name in names_of(model)}
    assert {name: found for name in made - stated if (found := names.find(name)) is not None} == {}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "aws/regional.anthropic.claude-3-5-sonnet-20241022-v2:0"),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "aws/regional.anthropic.claude-3-7-sonnet-20250219-v1:0"),
        ("eu.amazon.nova-lite-v1:0", "aws/amazon.nova-lite-v1:0"),
        ("bedrock/us.meta.llama3-1-70b-instruct-v1:0", "aws/meta.llama3-1-70b-instruct-v1:0"),
        (
            "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0",
            "aws/regional.anthropic.claude-3-haiku-20240307-v1:0",
        ),
        ("llama-3.3-70b-versatile", "groq/llama-3.3-70b-versatile"),
        ("models/gemini-2.5-flash", "google/gemini-2.5-flash"),
        ("GPT-4o-Mini-2024-07-18", "openai/gpt-4o-mini"),
        ("claude-opus-4-1@20250805", "anthropic/claude-opus-4-1"),
        ("vertex_ai/claude-opus-4-1@20250805", "google/claude-4-opus"),
        ("gemini-2.5-pro-preview-05-06", "google/gemini-2.5-pro"),
        ("cohere/command-r", "cohere/command-r"),
        ("openrouter/cohere/command-r", "openrouter/cohere/command-r"),
    ],
)
def test_names_of_clients(names: ModelNames, name: str, found: str) -> None:
    """Names are found as boto3, Gemini's API, LiteLLM and OpenRouter write them."""
    known = names.find(name)
    assert known is not None
    assert f"{known.provider.id}/{known.model.id}" == found


@pytest.mark.parametrize("name", ["deepseek/deepseek-r1:free", "google/gemini-2.0-flash-exp:free"])
def test_free_models_do_not_have_the_price_of_paid_ones(name: str) -> None:
    """The catalogue lists them, without a rate."""
    price = PriceCatalogue().timeline(name).price(0)
    assert price is None or price.rates.uncached_input == 0


def test_a_name_of_several_at_different_prices_is_nobodys() -> None:
    """A name of several providers at different prices is nobody's; at the same price it does not matter whose it is,
    and a rule for such names decides."""

    def provider(provider_id: str, price: int, pattern: str | None = None) -> Provider:
        model = ModelInfo(id="m", match=ClauseStartsWith("m"), prices=ModelPrice(input_mtok=price))  # type: ignore[arg-type]
        match = None if pattern is None else ClauseContains(pattern)
        return Provider(id=provider_id, name="", api_pattern="", model_match=match, models=[model])

    different = ModelNames([provider("a", 1), provider("b", 2)])
    assert different.find("m") is different.find("m-20260101") is None
    assert different.is_ambiguous("m")
    assert not different.is_ambiguous("n")
    same = ModelNames([provider("a", 1), provider("b", 1)]).find("m")
    assert same is not None
    by_rule = ModelNames([provider("a", 1), provider("b", 2, "m")]).find("m")
    assert by_rule is not None
    assert by_rule.provider.id == "b"


def test_a_name_that_nobody_lists_is_not_ambiguous() -> None:
    """A name that nobody lists has no price for another reason than an ambiguous one."""
    catalogue = PriceCatalogue()
    assert catalogue.timeline("acme-llm-1") == UNPRICED
    assert not catalogue.is_ambiguous("acme-llm-1")
    assert catalogue.is_ambiguous("gpt-oss-120b") or catalogue.timeline("gpt-oss-120b") != UNPRICED
