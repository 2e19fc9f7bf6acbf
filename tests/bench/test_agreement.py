"""The comparison of our answers with ClickHouse's sees what differs."""

from datetime import timedelta
from typing import Any

import pytest

from bench.agreement import Differ, check_answers, check_percentiles
from bench.clickhouse_sql import Query

QUERY = Query(timedelta(hours=1), 300, "UTC", ("total_tokens", "total_cost"), (95,), calls=True)
USAGE_QUERY = Query(timedelta(hours=1), 300, "UTC", ("total_cost",), (50, 99), calls=False)
BEGINS = ("2026-01-01T00:00:00+00:00", "2026-01-01T00:05:00+00:00", "2026-01-01T00:10:00+00:00")
FIRST_S = 1_767_225_600


def ours_of(errors: int = 1, cost: float | None = 0.25, p95: float = 90.0) -> dict[str, list[dict[str, Any]]]:
    """Three buckets alike, and one that only fills the chart; the middle one as given."""
    calls, usage = [], []
    for begin in BEGINS:
        is_middle = begin == BEGINS[1]
        calls.append(
            {
                "timestamp": begin,
                "count": 2,
                "sum_call_count": 2,
                "sum_error_count": errors if is_middle else 1,
                "avg_latency_ms": 50.5,
                "max_latency_ms": 100,
                "p95_latency_ms": p95 if is_middle else 90.0,
            }
        )
        usage.append(
            {
                "timestamp": begin,
                "count": 1,
                "model": "gpt-4o",
                "sum_total_tokens": 7,
                "sum_total_cost": cost if is_middle else 0.25,
                "p50_total_cost": 3.0,
                "p99_total_cost": None,
            }
        )
    calls.append({**calls[0], "timestamp": "2026-01-01T00:15:00+00:00", "count": 0})
    return {"call_buckets": calls, "usage_buckets": usage}


def theirs(first_errors: int = 1) -> list[list[list[Any]]]:
    """Rows of the queries for usage and for calls; numbers may be text, as ClickHouse writes large ones."""
    begins_s = [FIRST_S + 300 * number for number in range(3)]
    usage = [[begin_s, "gpt-4o", "7", 0.25 + 1e-12] for begin_s in begins_s]
    calls = [[begin_s, "2", first_errors if begin_s == FIRST_S else 1, 50.5, 100, 88.0] for begin_s in begins_s]
    return [usage, calls]


def test_the_same() -> None:
    """Rounding of floats, numbers as text and empty buckets are no difference."""
    check_answers(QUERY, ours_of(), theirs(), whole=True)


@pytest.mark.parametrize("wrong", [{"errors": 2}, {"cost": 0.2501}, {"cost": None}])
def test_a_difference(wrong: dict[str, Any]) -> None:
    """A difference is found in calls or usage, in one bucket, and where one side has nothing."""
    with pytest.raises(Differ, match=rf"{FIRST_S + 300}"):
        check_answers(QUERY, ours_of(**wrong), theirs(), whole=True)
    with pytest.raises(Differ):
        check_answers(QUERY, ours_of(**wrong), theirs(), whole=False)


def test_no_price_in_rollups() -> None:
    """A cost that is null here is 0 there; only in rollups that is the same."""
    rows = theirs()
    rows[0][1][3] = 0
    check_answers(QUERY, ours_of(cost=None), rows, whole=False)
    with pytest.raises(Differ):
        check_answers(QUERY, ours_of(cost=None), rows, whole=True)


def test_cut_edges() -> None:
    """Answers may differ at edges that are not whole, and only there."""
    with pytest.raises(Differ):
        check_answers(QUERY, ours_of(), theirs(first_errors=2), whole=True)
    check_answers(QUERY, ours_of(), theirs(first_errors=2), whole=False)


def test_a_bucket_that_only_one_has() -> None:
    """A row that is missing is a difference."""
    rows = theirs()
    del rows[0][1]
    with pytest.raises(Differ):
        check_answers(QUERY, ours_of(), rows, whole=True)


def test_percentiles_of_calls() -> None:
    """Within the bounds of p95, which are the second pair."""
    bounds = [[FIRST_S + 300 * number, [1, 2, 89, 91, 97, 98]] for number in range(3)]
    check_percentiles(QUERY, ours_of(), [bounds])
    for wrong in (88.9, 91.1):
        with pytest.raises(Differ):
            check_percentiles(QUERY, ours_of(p95=wrong), [bounds])


def test_percentiles_of_usage() -> None:
    """Percentiles of usage are compared by model and metric; there are none where nothing has a price."""
    rows = [[FIRST_S + 300 * number, "gpt-4o", [2, 4, 5, 6, None, None]] for number in range(3)]
    check_percentiles(USAGE_QUERY, ours_of(), [rows])
    rows[1][2] = [3.1, 4, 5, 6, None, None]
    with pytest.raises(Differ):
        check_percentiles(USAGE_QUERY, ours_of(), [rows])
    rows[1][2] = [2, 4, 5, 6, 7, 8]
    with pytest.raises(Differ):
        check_percentiles(USAGE_QUERY, ours_of(), [rows])
