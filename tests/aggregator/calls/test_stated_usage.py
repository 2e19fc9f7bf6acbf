"""What a call itself used, from its summary."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.event import UsageCounts
from aggregator.calls.rollup_marks import sums_up_calls
from aggregator.calls.stated_usage import (
    COUNT_MAX,
    KEYS,
    MODEL_CHARACTERS_MAX,
    MODELS_OF_CALL_MAX,
    InvalidUsage,
    StatedSummary,
    check_status_counts,
    own_usage,
    usage_of,
)
from aggregator.calls.usage_names import DETAILS
from tests.brute_force import usage as brute_force
from tests.support.usage_counts import counts_of, typed_counts

FIELDS = [
    "gross_input_tokens",
    "prompt_tokens",
    "input_tokens",
    "completion_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "requests",
]
DETAIL_FIELDS = ["cached_tokens", "cache_write_tokens"]
GOOD_COUNTS = st.none() | st.integers(0, 1000) | st.integers(0, 1000).map(str) | st.booleans()
ANY_COUNTS = GOOD_COUNTS | st.integers(-2, 2) | st.sampled_from(["", "x", "-1", "1.0", " 1", "٣", "²", [], {}, [1]])


def usages(counts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Strategy: one model's usage, with any of its keys present or absent."""
    optional = {
        key: st.none() | st.fixed_dictionaries({}, optional=dict.fromkeys(inner, counts)) | st.just([{"x": 1}])
        if inner
        else counts
        for key, inner in KEYS.items()
    }
    return st.fixed_dictionaries({}, optional=optional) | st.fixed_dictionaries(
        {}, optional={key: optional[key] for key in [*FIELDS, *DETAILS]}
    )


def test_openai_counts() -> None:
    """Prompt and completion tokens are input and output; cached tokens stand in the details."""
    stated = {
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 5, "audio_tokens": 0},
    }
    assert counts_of(**stated) == UsageCounts(100, 20, 120, 60, 5, 1)


def test_anthropic_counts() -> None:
    """Input and output tokens go by those names too, the cache by keys of its own."""
    stated = {
        "input_tokens": 7,
        "output_tokens": 3,
        "cache_read_input_tokens": 90,
        "cache_creation_input_tokens": 11,
        "requests": 2,
    }
    assert counts_of(**stated) == UsageCounts(7, 3, 10, 90, 11, 2)


def test_both_names_add_up() -> None:
    """Two names of one quantity are summed, as the reference does."""
    assert counts_of(prompt_tokens=1, input_tokens=2, completion_tokens=4, output_tokens=8)[:3] == (3, 12, 15)


def test_gross_input_wins() -> None:
    """gross_input_tokens replaces the other two, 0 too; null leaves them."""
    assert counts_of(gross_input_tokens=50, prompt_tokens=1, input_tokens=2).input_tokens == 50
    assert counts_of(gross_input_tokens=0, prompt_tokens=1).input_tokens == 0
    assert counts_of(gross_input_tokens=None, prompt_tokens=1).input_tokens == 1


def test_total_of_zero_is_none() -> None:
    """A stated total counts unless it is 0."""
    assert counts_of(prompt_tokens=2, completion_tokens=3, total_tokens=9).total_tokens == 9
    assert counts_of(prompt_tokens=2, completion_tokens=3, total_tokens=0).total_tokens == 5


def test_requests() -> None:
    """A model that is named was asked once, unless it says otherwise."""
    assert counts_of(input_tokens=0) == UsageCounts(0, 0, 0, 0, 0, 1)
    assert counts_of(requests=0).requests == 0
    assert counts_of(requests=None).requests == 1


def test_cache_keys_win_over_details() -> None:
    """A key that is there with 0 wins over the details; prompt details win over input details."""
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "input_tokens_details": {"cached_tokens": 8}}
    assert counts_of(cache_read_input_tokens=0, **details).cache_read_input_tokens == 0
    assert counts_of(cache_read_input_tokens=None, **details).cache_read_input_tokens == 4
    assert counts_of(input_tokens_details={"cached_tokens": 8, "cache_write_tokens": 9})[3:5] == (8, 9)
    assert counts_of(prompt_tokens_details=None, input_tokens_details={"cached_tokens": 8})[3] == 8


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (12.0, 12),
        ("12", 12),
        ("012", 12),
        ("0", 0),
        ("0" * 5000, 0),
        (True, 1),
        (False, 0),
        (-0.0, 0),
        (None, 0),
        (COUNT_MAX, COUNT_MAX),
        (str(COUNT_MAX), COUNT_MAX),
    ],
)
def test_counts_in_other_types(stated: object, expected: int) -> None:
    """Whole floats, digits and booleans are counts; null is none."""
    assert counts_of(prompt_tokens=stated).input_tokens == expected
    assert counts_of(prompt_tokens_details={"cached_tokens": stated}).cache_read_input_tokens == expected


NO_COUNTS = [-1, 1.5, -1.0, float("nan"), float("inf"), 1e300, COUNT_MAX + 1, str(COUNT_MAX + 1), "9" * 5000]
NO_COUNTS += ["", "many", "12.0", " 12", "+12", "-12", "1_000", "٣", "²", [1], {}, {"a": 1}]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("stated", NO_COUNTS, ids=lambda stated: repr(stated)[:20])
def test_what_is_no_count(field: str, stated: object) -> None:
    """Anything else makes the usage invalid, and the error names the key."""
    with pytest.raises(InvalidUsage, match=field) as raised:
        counts_of(**{field: stated})
    assert raised.value.field == field


@pytest.mark.parametrize("field", DETAIL_FIELDS)
@pytest.mark.parametrize("details", DETAILS)
def test_only_what_decides_is_checked(details: str, field: str) -> None:
    """A bad count in the details is invalid where it counts, and not looked at where another key wins."""
    with pytest.raises(InvalidUsage) as raised:
        counts_of(**{details: {field: -1}})
    assert raised.value.field == field
    decided = counts_of(cache_read_input_tokens=1, cache_creation_input_tokens=2, **{details: {field: -1}})
    assert decided[3:5] == (1, 2)


def test_what_is_kept_for_an_hour() -> None:
    """Anthropic tells how much of the cache creation has the dearer price."""
    created = {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 700}
    stated = {"input_tokens": 5, "output_tokens": 1, "cache_creation_input_tokens": 1_000, "cache_creation": created}
    assert counts_of(**stated) == typed_counts(stated) == UsageCounts(5, 1, 6, 0, 1_000, 1, 700)


@pytest.mark.parametrize(
    ("usage", "field"),
    [
        (5, "usage"),
        ([], "usage"),
        ("", "usage"),
        ({"m": None}, "usage"),
        ({"m": 5}, "usage"),
        ({"m": []}, "usage"),
        ({"x" * (MODEL_CHARACTERS_MAX + 1): {}}, "usage"),
    ],
)
def test_what_is_no_usage(usage: object, field: str) -> None:
    """Usage is an object of objects, and a model's name has a limit."""
    with pytest.raises(InvalidUsage) as raised:
        own_usage({"usage": usage})
    assert raised.value.field == field


def test_no_usage() -> None:
    """A summary without usage, or with null, is of a call that used no model."""
    assert own_usage({}) == own_usage({"usage": None}) == own_usage({"usage": {}}) == {}


def test_most_models() -> None:
    """A usage may name as many models as the limit; one more makes it invalid, in the usual form too."""
    most: dict[str, Any] = {f"m{number}": {"requests": 1} for number in range(MODELS_OF_CALL_MAX)}
    more = most | {"one more": {}}
    assert len(own_usage({"usage": most})) == MODELS_OF_CALL_MAX
    assert len(msgspec.convert({"usage": most}, StatedSummary).usage or ()) == MODELS_OF_CALL_MAX
    with pytest.raises(InvalidUsage, match=f"more than {MODELS_OF_CALL_MAX:,} models"):
        own_usage({"usage": more})
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"usage": more}, StatedSummary)


def test_any_model_name() -> None:
    """Models are told apart by their names, the empty one and the longest among them; unknown keys are not checked."""
    longest = "x" * MODEL_CHARACTERS_MAX
    usage = {"": {"requests": 3, "cost": "?"}, longest: {"input_tokens": 1}}
    assert own_usage({"usage": usage}) == {
        "": UsageCounts(0, 0, 0, 0, 0, 3, is_read=False),
        longest: UsageCounts(1, 0, 1, 0, 0, 1),
    }


@pytest.mark.parametrize(
    "status_counts",
    [{"success": 2}, {"error": 2}, {"success": 1, "error": 1}, {"success": 2, "error": None}, {"success": 2.0}],
)
def test_more_than_one_call_counted_may_be_a_roll_up(status_counts: object) -> None:
    """The usage may then repeat the children's; it is read and checked all the same."""
    summary = {"usage": {"m": {"input_tokens": 1}}, "status_counts": status_counts}
    assert sums_up_calls(check_status_counts(status_counts))
    assert list(own_usage(summary)) == ["m"]
    with pytest.raises(InvalidUsage):
        own_usage({"usage": {"m": {"input_tokens": -1}}, "status_counts": status_counts})


@pytest.mark.parametrize(
    "status_counts",
    [
        None,
        {},
        {"success": 1, "error": 0},
        {"error": 1},
        {"running": 5},
        5,
        "x",
        [2, 2],
        {"success": "2"},
        {"success": True, "error": True},
        {"success": [3]},
        {"success": 5, "error": -1},
        {"success": 1.5, "error": 1},
    ],
)
def test_one_call_or_malformed_status_counts_is_own_usage(status_counts: object) -> None:
    """Usage is the call's own where its status counts one call, or makes no sense."""
    assert not sums_up_calls(check_status_counts(status_counts))


@given(st.dictionaries(st.text(max_size=3), usages(st.none() | st.integers(0, COUNT_MAX)), max_size=3))
def test_typed_decoding_agrees(usage: dict[str, Any]) -> None:
    """Integers decoded straight into a StatedSummary count as those that were checked one by one."""
    summary = {"usage": usage}
    assert usage_of(msgspec.json.decode(msgspec.json.encode(summary), type=StatedSummary)) == own_usage(summary)


@given(st.dictionaries(st.text(max_size=3), usages(ANY_COUNTS) | usages(GOOD_COUNTS), max_size=2))
def test_agrees_with_brute_force(usage: dict[str, Any]) -> None:
    """Two readings of the specification accept the same usage, and count the same."""
    summary = {"usage": usage}
    try:
        expected = brute_force.own_usage(summary)
    except brute_force.InvalidUsage:
        with pytest.raises(InvalidUsage):
            own_usage(summary)
    else:
        found = {model: tuple(counts) for model, counts in own_usage(summary).items()}
        assert found == expected
