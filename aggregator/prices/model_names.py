"""Which model of the catalogue a name means: the names that providers list, and nothing by resemblance.

What is listed comes before dated and versioned forms of it, which count where the catalogue's own rule for the model
covers them. A provider in front (`bedrock/…`, as LiteLLM writes it) decides where it lists the rest; then an id does,
then another name that the catalogue states for a model. Of several providers that list a name, it is that to which the
catalogue gives such names, else the one that writes it in the same capitals; else the name is ambiguous, and has a
price only where all of them ask the same.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from genai_prices.data_snapshot import find_provider_by_id
from genai_prices.types import ClauseEquals, ModelInfo, Provider

# What may follow a model's name and leave it the same model: dates, versions, `latest` and previews.
_VERSION = re.compile(
    r"[-@](?:\d{8}|\d{4}-\d\d-\d\d|\d\d-\d{4}|\d\d-\d\d|\d{3,4}|v\d(?::\d)?|latest|preview|exp|default)$", re.ASCII
)
# Before a model's name on Bedrock: an inference profile's region; its vendor is in the ids.
_REGION = re.compile(r"(?:us|us-gov|eu|apac|ap|jp|au|ca|in|sa|global|regional)\.", re.ASCII)
# Gemini's API names its models so.
_MODELS = "models/"
# A fine-tuned model is another one; what the catalogue states of it has this name to the letter.
_FINE_TUNED = "ft:"

_BEDROCK = "aws"
_BEDROCK_ARN = "arn:aws:bedrock:"
# What LiteLLM and others write around a provider's name.
_FRONT_WORDS = {"ai", "aws", "beta", "chat", "converse", "genai", "invoke", "studio"}


class Found(NamedTuple):
    """A model, and the provider whose price it has."""

    provider: Provider
    model: ModelInfo


class ModelNames:
    """The names of all models of some providers. A look-up takes some 10 µs; a name that nobody lists costs no more."""

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = list(providers)
        self._by_id: dict[str, list[Found]] = {}
        self._by_other_name: dict[str, list[Found]] = {}
        self._by_stem: dict[str, list[Found]] = {}
        for provider in providers:
            for model in provider.models:
                self._add(Found(provider, model))

    def find(self, name: str) -> Found | None:
        """The model that is certainly meant; None where nobody lists the name, or several do."""
        spelled, name = _bare(name), _bare(name.lower())
        front, _, rest = name.partition("/")
        provider = self._provider_in_front(front) if rest else None
        for listed in (self._listed, self._versioned):
            if provider is not None:
                for provider_id in (provider.id, *(provider.fallback_model_providers or ())):
                    found = _of_provider(provider_id, listed(rest))
                    if found is not None:
                        return found
            for candidates in listed(name):
                if candidates:
                    return self._decide(spelled, candidates)
        return None

    def provider_id(self, name: str) -> str | None:
        """The provider whose model it is: that in front of the name, else the only one that is meant for certain."""
        spelled, name = _bare(name), _bare(name.lower())
        front, _, rest = name.partition("/")
        provider = self._provider_in_front(front) if rest else None
        if provider is not None:
            return provider.id
        for candidates in (*self._listed(name), *self._versioned(name)):
            if candidates:
                found = self._certain(spelled, candidates)
                return None if found is None else found.provider.id
        return None

    def is_ambiguous(self, name: str) -> bool:
        """Whether several providers list it, and none is certain."""
        plain = _bare(name.lower())
        return self.find(name) is None and any((*self._listed(plain), *self._versioned(plain)))

    def _provider_in_front(self, front: str) -> Provider | None:
        if front.startswith(_BEDROCK_ARN):
            front = _BEDROCK
        provider = find_provider_by_id(self._providers, front)
        if provider is None or provider.id == front:
            return provider
        # The catalogue looks for a word in it, which may stand in any name: `our-openai` is not OpenAI.
        words = set(re.split("[-_.]", front)) - _FRONT_WORDS
        equal, others = _literals(provider.provider_match)
        return provider if words <= {*equal, *others} else None

    def _add(self, found: Found) -> None:
        model_id = found.model.id.lower()
        equal, others = _literals(found.model.match)
        self._by_id.setdefault(model_id, []).append(found)
        for name in dict.fromkeys(equal):
            self._by_other_name.setdefault(name, []).append(found)
        for stem in dict.fromkeys(map(_stem, [model_id, *equal, *others])):
            self._by_stem.setdefault(stem, []).append(found)

    def _listed(self, name: str) -> Iterator[list[Found]]:
        """Yield the models that have the name as an id, then those that have it as another name."""
        yield _one_each(self._by_id.get(name, ()))
        yield _one_each(self._by_other_name.get(name, ()))

    def _versioned(self, name: str) -> Iterator[list[Found]]:
        """Models of which it is a dated or versioned form, by the catalogue's own rule for them."""
        if name.startswith(_FINE_TUNED):
            return
        forms = dict.fromkeys((name, _REGION.sub("", name, count=1)))
        yield _one_each(
            found
            for form in forms
            for found in self._by_stem.get(_stem(form), ())
            if (form == name or found.provider.id == _BEDROCK) and found.provider.find_model(name) is found.model
        )

    def _decide(self, spelled: str, candidates: list[Found]) -> Found | None:
        certain = self._certain(spelled, candidates)
        if certain is not None:
            return certain
        # Whoever is meant, the price is the same.
        likely = _to_the_letter(spelled, candidates) or candidates
        first = likely[0]
        return first if all(found.model.prices == first.model.prices for found in likely) else None

    def _certain(self, spelled: str, candidates: list[Found]) -> Found | None:
        """The only candidate, or that of the provider to which the catalogue gives such names, or the only one with
        that id in the same capitals."""
        if len(candidates) == 1:
            return candidates[0]
        name = spelled.lower()
        for provider in self._providers:
            if provider.model_match is not None and provider.model_match.is_match(name):
                return _of_provider(provider.id, (*self._listed(name), *self._versioned(name)))
        same = _to_the_letter(spelled, candidates)
        return same[0] if len(same) == 1 else None


def _bare(name: str) -> str:
    return name[len(_MODELS) :] if name[: len(_MODELS)].lower() == _MODELS else name


def _to_the_letter(spelled: str, candidates: list[Found]) -> list[Found]:
    return [found for found in candidates if found.model.id == spelled]


def _of_provider(provider_id: str, listed: Iterable[list[Found]]) -> Found | None:
    return next((found for candidates in listed for found in candidates if found.provider.id == provider_id), None)


def _one_each(found: Iterable[Found]) -> list[Found]:
    """The first of each provider."""
    first: dict[str, Found] = {}
    for of_provider in found:
        first.setdefault(of_provider.provider.id, of_provider)
    return list(first.values())


def _stem(name: str) -> str:
    while True:
        shorter = _VERSION.sub("", name)
        if shorter == name:
            return _REGION.sub("", name, count=1)
        name = shorter


def _literals(clause: Any) -> tuple[list[str], list[str]]:
    """The names that a rule states whole, and the parts of names that it looks for, in lower case."""
    equal: list[str] = []
    others: list[str] = []
    clauses = [clause]
    while clauses:
        clause = clauses.pop()
        for attribute in ("or_", "and_"):
            clauses += getattr(clause, attribute, None) or ()
        if isinstance(clause, ClauseEquals):
            equal.append(clause.equals.lower())
            continue
        for attribute in ("starts_with", "contains", "ends_with"):
            literal = getattr(clause, attribute, None)
            if literal is not None:
                others.append(literal.lower())
    return equal, others
