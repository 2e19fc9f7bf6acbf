"""The typed rows of the OpenAPI document are the rows that are answered."""

import json
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from api.contract.openapi import openapi_document
from api.contract.stats_request import AggregationType, CallMetricSpec, UsageMetricSpec
from api.query.questions import MetricQuestion
from tests.support.paths import CASES

ROWS: dict[str, tuple[str, type[BaseModel]]] = {
    "call_buckets": ("CallStatsCallBucket", CallMetricSpec),
    "usage_buckets": ("CallStatsUsageBucket", UsageMetricSpec),
}


def validator(name: str) -> Draft202012Validator:
    """The validator of one schema of the document."""
    return Draft202012Validator(openapi_document()["components"]["schemas"][name])


def golden_rows(buckets: str) -> Iterator[dict[str, Any]]:
    """The rows of all golden answers, which our answers equal."""
    for file in sorted(CASES.rglob("*.json")):
        yield from _rows_in(json.loads(file.read_text()), buckets)


def _rows_in(node: Any, buckets: str) -> Iterator[dict[str, Any]]:
    """The rows under this name, however deep they lie."""
    if isinstance(node, dict):
        found = node.get(buckets)
        yield from found if isinstance(found, list) else ()  # beside the rows, a case has ranges by their numbers
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _rows_in(inner, buckets)


@pytest.mark.parametrize("buckets", ROWS)
def test_golden_rows_are_of_their_schema(buckets: str) -> None:
    """Every row of every golden answer is valid, to its last key."""
    check = validator(ROWS[buckets][0])
    rows = list(golden_rows(buckets))
    assert len(rows) > 100
    for row in rows:
        check.validate(row)


@pytest.mark.parametrize("buckets", ROWS)
def test_every_key_that_can_be_asked_is_typed(buckets: str) -> None:
    """All metrics with all aggregations and percentiles have a type."""
    name, spec = ROWS[buckets]
    check = validator(name)
    least = {"timestamp": "2026-03-01T00:00:00+00:00", "count": 1} | (
        {"model": "m"} if name.endswith("UsageBucket") else {}
    )
    for metric in get_args(spec.model_fields["metric"].annotation):
        keys = MetricQuestion(metric, tuple(AggregationType), (50.0, 99.9)).keys
        assert len(keys) == len(AggregationType) + 2
        check.validate(least | dict.fromkeys(keys, 1))
        for key in keys:
            assert not check.is_valid(least | {key: "many"})
    assert not check.is_valid(least | {"sum_of_everything": 1})
