"""What `POST /calls/usage` understands, and what it refuses where."""

import json
from typing import Any

import pytest

from api.contract.usage_request import read_usage_question
from api.query.questions import UsageQuestion
from api.refusals import Refusal
from tests.api.contract.golden_requests import body_of, golden


def read(**fields: Any) -> UsageQuestion:
    """The question of a request with these fields."""
    return read_usage_question(json.dumps({"project_id": "p", "call_ids": ["a"]} | fields).encode())


def refusal_of(body: bytes) -> Refusal:
    """Why a body is refused."""
    with pytest.raises(Refusal) as refused:
        read_usage_question(body)
    return refused.value


@pytest.mark.parametrize("case", [*golden("/calls/usage", 422), *golden("/calls/usage", 413)])
def test_golden_refusals(case: dict[str, Any]) -> None:
    """Every request that the golden cases refuse is refused with their status at their place."""
    refusal = refusal_of(body_of(case))
    loc = case.get("loc", [])
    assert refusal.status == case["status"]
    assert refusal.problems[0].loc[: len(loc)] == tuple(loc)


@pytest.mark.parametrize("case", golden("/calls/usage", 200))
def test_golden_ids(case: dict[str, Any]) -> None:
    """Every request that the golden cases answer is understood: the distinct ids in the order of the answer."""
    assert list(read_usage_question(body_of(case)).call_ids) == list(case["expected"]["call_usage"])


def test_defaults() -> None:
    """Costs come only when asked; ids that repeat are asked once."""
    assert read(call_ids=["b", "a", "b", ""]) == UsageQuestion("p", ("b", "a", ""), False)
    assert read(call_ids=[], include_costs=True) == UsageQuestion("p", (), True)


def test_limit_counts_distinct_ids() -> None:
    """The limit counts distinct ids: as many are answered, one more is too much, and repeats do not count."""
    assert read(call_ids=["a", "b", "a"], limit=2).call_ids == ("a", "b")
    refusal = refusal_of(b'{"project_id":"p","call_ids":["a","b","c"],"limit":2}')
    assert (refusal.status, "limit of 2" in refusal.problems[0].msg) == (413, True)
    assert len(read(call_ids=[str(n) for n in range(10_000)]).call_ids) == 10_000
    with pytest.raises(Refusal, match="10001 distinct"):
        read(call_ids=[str(n) for n in range(10_001)])


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "5", None, float("nan")])
def test_limit_refused(wrong: object) -> None:
    """A limit is a whole number from 1 on."""
    refusal = refusal_of(json.dumps({"project_id": "p", "call_ids": [], "limit": wrong}).encode())
    assert (refusal.status, refusal.problems[0].loc) == (422, ("body", "limit"))


@pytest.mark.parametrize("wrong", [1, "true", None])
def test_include_costs_refused(wrong: object) -> None:
    """Only true and false say whether costs are asked."""
    refusal = refusal_of(json.dumps({"project_id": "p", "call_ids": [], "include_costs": wrong}).encode())
    assert refusal.problems[0].loc == ("body", "include_costs")


def test_no_surrogates() -> None:
    """Half a surrogate pair is no text; a NUL is."""
    assert refusal_of(b'{"project_id":"p","call_ids":["\\ud800"]}').status == 422
    assert read(call_ids=["\0"]).call_ids == ("\0",)
