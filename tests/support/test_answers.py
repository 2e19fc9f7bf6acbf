"""The comparison with a golden case lets through what is equal and names everything else."""

import copy
from typing import Any

import pytest

from tests.support.answers import differences

CASE: dict[str, Any] = {
    "status": 200,
    "expected": {
        "start": "2026-06-10T00:00:00Z",
        "call_buckets": [
            {"timestamp": "2026-06-10T02:00:00+02:00", "sum_latency_ms": 10, "avg_latency_ms": 2.5, "count": 4},
            {"timestamp": "2026-06-10T03:00:00+02:00", "p95_latency_ms": 3.0, "min_latency_ms": None, "count": 60},
        ],
        "usage_buckets": [{"model": "m", "sum_total_cost": 2e-12, "count_total_cost": 1}],
    },
    "ranges": {"call_buckets": {"1": {"p95_latency_ms": [2, 4]}}},
}


def answer(*path_and_value: Any) -> dict[str, Any]:
    """The expected body with the value at a path replaced."""
    body: dict[str, Any] = copy.deepcopy(CASE["expected"])
    *path, last, value = path_and_value
    place: Any = body
    for step in path:
        place = place[step]
    place[last] = value
    return body


@pytest.mark.parametrize(
    "body",
    [
        CASE["expected"],
        answer("start", "2026-06-10T00:00:00.000000+00:00"),
        answer("call_buckets", 0, "sum_latency_ms", 10.0),
        answer("call_buckets", 0, "avg_latency_ms", 2.5 * (1 + 9e-10)),
        answer("call_buckets", 1, "p95_latency_ms", 2),
        answer("call_buckets", 1, "p95_latency_ms", 4),
        answer("usage_buckets", 0, "sum_total_cost", 2.9e-12),
    ],
)
def test_equal(body: dict[str, Any]) -> None:
    """Other spellings of an instant and a number, and what lies within the tolerances, are no differences."""
    assert differences(CASE, 200, body) == []


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (answer("start", "2026-06-10T02:00:00+02:00"), "start"),
        (answer("start", "2026-06-10T00:00:00"), "start"),
        (answer("start", None), "start"),
        (answer("call_buckets", 0, "timestamp", "2026-06-10T00:00:00Z"), "call_buckets[0].timestamp"),
        (answer("call_buckets", 0, "sum_latency_ms", 10.000000001), "call_buckets[0].sum_latency_ms"),
        (answer("call_buckets", 0, "avg_latency_ms", 2.5 * (1 + 2e-9)), "call_buckets[0].avg_latency_ms"),
        (answer("call_buckets", 0, "count", "4"), "call_buckets[0].count"),
        (answer("call_buckets", 0, "extra", None), "call_buckets[0].extra"),
        (answer("call_buckets", 1, "p95_latency_ms", 4.1), "call_buckets[1].p95_latency_ms"),
        (answer("call_buckets", 1, "p95_latency_ms", None), "call_buckets[1].p95_latency_ms"),
        (answer("call_buckets", 1, "p95_latency_ms", float("nan")), "call_buckets[1].p95_latency_ms"),
        (answer("call_buckets", 1, "min_latency_ms", 0), "call_buckets[1].min_latency_ms"),
        (answer("call_buckets", 1, {}), "call_buckets[1].timestamp"),
        (answer("call_buckets", []), "call_buckets"),
        (answer("usage_buckets", 0, "sum_total_cost", 3.1e-12), "usage_buckets[0].sum_total_cost"),
        (answer("usage_buckets", 0, "count_total_cost", 1 + 1e-10), "usage_buckets[0].count_total_cost"),
        (answer("usage_buckets", 0, "count_total_cost", True), "usage_buckets[0].count_total_cost"),
    ],
)
def test_different(body: dict[str, Any], path: str) -> None:
    """A difference is named by its path."""
    assert [found for found in differences(CASE, 200, body) if found.startswith(f"{path}:")]


def test_order_of_usage_keys() -> None:
    """The requested ids keep their order; the models of one id need not."""
    case = {"status": 200, "expected": {"call_usage": {"b": {"x": {}, "y": {}}, "a": {}}}}
    assert differences(case, 200, {"call_usage": {"b": {"y": {}, "x": {}}, "a": {}}}) == []
    assert differences(case, 200, {"call_usage": {"a": {}, "b": {"x": {}, "y": {}}}}) != []


def test_also_right() -> None:
    """One of the other right bodies is right as a whole; a mixture of two is not."""
    case = {"status": 200, "expected": {"a": 1, "b": 1}, "also_right": [{"a": 2, "b": 2}]}
    assert differences(case, 200, {"a": 2, "b": 2}) == []
    assert differences(case, 200, {"a": 1, "b": 2}) == ["b: 2, not 1"]


@pytest.mark.parametrize(
    ("case", "status", "loc", "right"),
    [
        ({"status": 422, "loc": ["body", "end"], "request": {}}, 422, ["body", "end"], True),
        ({"status": 422, "loc": ["body", "end"], "request": {}}, 422, ["body", "end", 0], False),
        ({"status": 422, "loc": ["body"], "body": "{"}, 422, ["body", 1], True),
        ({"status": 422, "loc": ["body"], "body": "{"}, 422, ["query"], False),
        ({"status": 422, "loc": ["body", "end"], "request": {}}, 413, ["body", "end"], False),
        ({"status": 413, "request": {}}, 413, [], True),
    ],
)
def test_refusal(case: dict[str, Any], status: int, loc: list[Any], right: bool) -> None:
    """A refusal needs its status and the place of its first detail; malformed JSON only the beginning of it."""
    assert (differences(case, status, {"detail": [{"loc": loc}]}) == []) is right


def test_refusal_without_detail() -> None:
    """A refusal whose body has no located detail is named, not an error of the comparison."""
    assert differences({"status": 422, "loc": ["body"]}, 422, {"detail": "no"}) != []
