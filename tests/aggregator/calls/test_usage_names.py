"""The names of counts in usage: which of several counts, and what is no count of tokens."""

from typing import Any

import pytest

from aggregator.calls.event import UsageCounts
from aggregator.calls.usage_names import DETAILS, USAGE_NAMES
from tests.support.usage_counts import counts_of, typed_counts, usage_under

NAMES = [(quantity, groups) for quantity, groups in zip(USAGE_NAMES._fields, USAGE_NAMES, strict=True)]


@pytest.mark.parametrize(("quantity", "groups"), NAMES, ids=USAGE_NAMES._fields)
def test_the_first_group_that_is_there_decides(quantity: str, groups: tuple[tuple[str, ...], ...]) -> None:
    """Each group of the table counts, with 0 too, before those behind it; null is absent."""
    counted = {"thoughts_tokens": "output_tokens"}.get(quantity, quantity)
    for rank, group in enumerate(groups):
        behind = [name for later in groups[rank + 1 :] for name in later]
        for name in group:
            for count in (0, 5):
                stated = usage_under({**dict.fromkeys(behind, 7), name: count})
                assert getattr(counts_of(**stated), counted) == count
                assert typed_counts(stated) == counts_of(**stated)
            if behind:
                assert getattr(counts_of(**usage_under({behind[0]: 7, name: None})), counted) == 7
        assert getattr(counts_of(**usage_under(dict.fromkeys(group, 3))), counted) == 3 * len(group)


def test_names_that_add_up() -> None:
    """Gemini counts its thoughts beside its output; they are output, and in a total that is not stated."""
    assert counts_of(prompt_tokens=1, completion_tokens=2, thoughts_tokens=30)[:3] == (1, 32, 33)
    assert counts_of(prompt_token_count=1, candidates_token_count=2, thoughts_token_count=3)[:3] == (1, 5, 6)
    assert counts_of(thoughts_tokens=4, thoughts_token_count=9)[:3] == (0, 4, 4)


def test_camel_case_names_do_not_add_up() -> None:
    """Names in camel case are read one by one: each is the whole input by itself."""
    assert counts_of(promptTokens=4, inputTokens=6).input_tokens == 6


def test_cohere_bills_other_counts_than_its_model_read() -> None:
    """Cohere's billed counts are counted, each quantity by itself, not what its model has read."""
    tokens = {"input_tokens": 71, "output_tokens": 418}
    assert counts_of(billed_units={"input_tokens": 5.0}, tokens=tokens)[:3] == (5, 418, 423)
    assert counts_of(billed_units="5", tokens=tokens)[:3] == (71, 418, 489)


@pytest.mark.parametrize("nothing", [[], [{"modality": "TEXT", "token_count": 7}], "x", 5, False, 1.5])
@pytest.mark.parametrize("key", [*DETAILS, "billed_units", "tokens", "cache_creation"])
def test_what_should_be_an_object_and_is_none_says_nothing(key: str, nothing: object) -> None:
    """Gemini lists modalities there; the counts beside it are as good as ever."""
    assert counts_of(prompt_tokens=7, cached_tokens=2, **{key: nothing}) == UsageCounts(7, 0, 7, 2, 0, 1)
    assert not counts_of(**{key: nothing}).is_read
    if isinstance(nothing, list):
        assert typed_counts({key: nothing}) == counts_of(**{key: nothing})


def test_lists_of_modalities_are_decoded_in_one_pass() -> None:
    """Gemini's producers are many: theirs is a usual form."""
    stated = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": [{"modality": "TEXT"}]}
    assert typed_counts(stated) == UsageCounts(7, 3, 10, 0, 0, 1)


@pytest.mark.parametrize(
    "stated",
    [
        {},
        {"requests": 2},
        {"prompt_tokens": None, "total_tokens": None},
        {"tokenCount": 7, "images": -1},
        {"prompt_tokens_details": {"audio_tokens": 5}},
        {"cache_creation": {"ephemeral_1h_input_tokens": 5}},
    ],
)
def test_usage_without_a_count_of_tokens_is_not_read(stated: dict[str, Any]) -> None:
    """Usage without a count of tokens is not read: nobody knows how much was used."""
    assert counts_of(**stated)[:5] == (0, 0, 0, 0, 0)
    assert not counts_of(**stated).is_read
    assert typed_counts(stated) == counts_of(**stated)


@pytest.mark.parametrize("name", [name for groups in USAGE_NAMES[:6] for group in groups for name in group])
def test_a_count_of_0_is_read(name: str) -> None:
    """Whatever its name."""
    stated = usage_under({name: 0})
    assert counts_of(**stated).is_read
    assert typed_counts(stated).is_read
