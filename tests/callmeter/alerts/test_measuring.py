"""What rules see of the golden data is what /calls/stats says of the same windows; what groups, gaps and pairs do."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from aggregator.time_units import SECOND_US
from aggregator.writing.limits import ShardLimits
from callmeter.alerts.measuring import Seen, questions, rfc3339, seen, staleness, window_at
from callmeter.alerts.rules import Rule, Stale
from tests.callmeter.alerts.rule_files import rule
from tests.pipeline.in_process import Batch, InProcess
from tests.support.paths import CASES

PROJECT = "acme/agents"
DATASET = "filters"
WINDOW_S = 6 * 3_600


@pytest.fixture(scope="module")
def folded(redis_server: Any) -> Iterator[tuple[InProcess, int]]:
    """The dataset in one shard, and an instant inside it."""
    document = json.loads((CASES / f"{DATASET}.cases.json").read_text())
    now = datetime.fromisoformat(document["now"]).astimezone(UTC)
    lines = [json.loads(line) for line in (CASES / f"{DATASET}.events.jsonl").read_text().splitlines()]
    values = [json.dumps(line["value"]).encode() for line in lines]
    with InProcess(redis_server.url, now) as product:
        product.fold([[Batch(values, False)]], ShardLimits())
        yield product, round(datetime(2026, 1, 21, 18, 40, 17, tzinfo=UTC).timestamp()) * SECOND_US


def look(product: InProcess, told: Rule, at_us: int) -> dict[str | None, Seen]:
    """Returns what a rule sees."""
    answers = []
    for one in questions(told, at_us):
        [(status, body)] = product.ask([(one.path, json.loads(one.body))])
        assert status == 200, body
        answers.append(body)
    return seen(told, at_us, answers)


def stats(product: InProcess, at_us: int, window_s: int, **told: Any) -> list[dict[str, Any]]:
    """The minutes of a window, as /calls/stats has them."""
    window = window_at(at_us, window_s)
    request = {"project_id": PROJECT, "start": rfc3339(window.start_us), "end": rfc3339(window.end_us)}
    [(status, body)] = product.ask([("/calls/stats", request | {"granularity": 60} | told)])
    assert status == 200, body
    rows: list[dict[str, Any]] = body["call_buckets"] + body["usage_buckets"]
    return rows


def test_sums_rates_and_ratios_are_those_of_stats(folded: tuple[InProcess, int]) -> None:
    """Calls, errors and costs of a window, a filter's too."""
    product, at_us = folded
    metrics = [{"metric": "call_count"}, {"metric": "error_count"}]
    rows = stats(product, at_us, WINDOW_S, call_metrics=metrics)
    calls, errors = (sum(row[f"sum_{one}"] for row in rows) for one in ("call_count", "error_count"))
    assert calls > 5
    assert errors
    span_s = (at_us - window_at(at_us, WINDOW_S).start_us) / SECOND_US
    [count] = look(product, rule(kind="threshold", metric="call_count", window="6h", above=calls - 1), at_us).values()
    assert count == Seen(calls, True, calls - 1)
    [rate] = look(product, rule(kind="rate", metric="call_count", per="hour", window="6h", above=1e9), at_us).values()
    assert rate.value == pytest.approx(calls / span_s * 3_600)
    assert not rate.is_true
    [ratio] = look(product, rule(window="6h", above=errors / calls), at_us).values()
    assert ratio == Seen(errors / calls, False, errors / calls)
    few = look(product, rule(window="6h", above=0, min_calls=calls + 1), at_us)
    assert few == {None: Seen(None, False, 0)}
    costs = stats(product, at_us, WINDOW_S, usage_metrics=[{"metric": "total_cost"}])
    total = sum(row["sum_total_cost"] or 0 for row in costs)
    [cost] = look(product, rule(kind="cost", per="day", window="6h", above=0), at_us).values()
    assert cost.value == pytest.approx(total / span_s * 86_400)
    assert total > 0


@pytest.mark.parametrize("dimension", ["op_name", "wb_user_id"])
def test_groups(folded: tuple[InProcess, int], dimension: str) -> None:
    """Each value of a dimension is what the same filter gives, and all values add up."""
    product, at_us = folded
    by_group = look(
        product, rule(kind="threshold", metric="call_count", window="6h", above=0, group_by=dimension), at_us
    )
    whole = look(product, rule(kind="threshold", metric="call_count", window="6h", above=0), at_us)[None]
    assert len(by_group) > 1
    assert sum(one.value or 0 for one in by_group.values()) == whole.value
    name = next(group for group in by_group if group)
    field = {"op_name": "op_names", "wb_user_id": "wb_user_ids"}[dimension]
    told = rule(kind="threshold", metric="call_count", window="6h", above=0, filter={field: [name]})
    assert look(product, told, at_us)[None].value == by_group[name].value


def test_percentiles_are_those_of_stats(folded: tuple[InProcess, int]) -> None:
    """A p90 of latency, of a window that is one bucket of /calls/stats."""
    product, at_us = folded
    at_us = at_us // (3_600 * SECOND_US) * 3_600 * SECOND_US
    window = window_at(at_us, 3_600)
    metric = {"metric": "latency_ms", "aggregations": [], "percentiles": [90]}
    request = {"project_id": PROJECT, "start": rfc3339(window.start_us), "end": rfc3339(window.end_us)}
    [(_, body)] = product.ask([("/calls/stats", request | {"granularity": 3_600, "call_metrics": [metric]})])
    [row] = body["call_buckets"]
    [found] = look(product, rule(kind="percentile", percentile=90, window="1h", above=1), at_us).values()
    assert found.value == row["p90_latency_ms"]


def test_no_calls(folded: tuple[InProcess, int]) -> None:
    """A rule on no calls does not fire while there are some; by group it fires for those that were there within the day
    and are not now."""
    product, at_us = folded
    assert not look(product, rule(kind="no_data", window="6h"), at_us)[None].is_true
    late_us = at_us + 300 * 86_400 * SECOND_US
    assert look(product, rule(kind="no_data", window="1h"), late_us) == {None: Seen(0.0, True, 0.0)}
    grouped = rule(kind="no_data", window="5m", seen_within="7d", group_by="op_name")
    found = look(product, grouped, at_us)
    told = rule(kind="threshold", metric="call_count", window="5m", above=0, group_by="op_name")
    there = {group for group, one in look(product, told, at_us).items() if one.value}
    assert {group for group, one in found.items() if not one.is_true} == there
    assert any(one.is_true for one in found.values())


def test_a_change_is_against_the_same_minutes_of_last_week() -> None:
    """Whole minutes, seven days apart; without enough calls then there is nothing to say."""
    told = rule(kind="change", metric="call_count", window="1h", above=0.5, min_calls=10)
    now, before = (json.loads(one.body) for one in questions(told, 1_800_000_017 * SECOND_US))
    assert (now["start"], now["end"]) == ("2027-01-15T07:00:00Z", "2027-01-15T08:00:00Z")
    assert (before["start"], before["end"]) == ("2027-01-08T07:00:00Z", "2027-01-08T08:00:00Z")

    def answers(count: int, was: int) -> list[dict[str, Any]]:
        return [{"total": {"count": one, "sum_call_count": one}} for one in (count, was)]

    assert seen(told, 0, answers(31, 20)) == {None: Seen(31 / 20 - 1, True, 0.5)}
    assert seen(told, 0, answers(30, 20)) == {None: Seen(0.5, False, 0.5)}
    assert seen(told, 0, answers(30, 9)) == {None: Seen(None, False, 0.5)}


@pytest.mark.parametrize(
    ("shares", "told"),
    [
        # By window of 5m, 30m, 1h, 2h, 6h, 1d, 3d: the share of errors; the objective allows 1 %.
        ((0.15, 0.15, 0.15, 0.15, 0.15, 0.15, 0.15), (15, True, 14.4)),
        ((0.15, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), None),  # a burst that the hour does not know yet
        ((0.0, 0.15, 0.15, 0.0, 0.0, 0.0, 0.0), None),  # it is over: the short window says so
        ((0.1, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0), None),  # both burn, not fast enough
        ((0.0, 0.07, 0.0, 0.0, 0.07, 0.0, 0.0), (7, True, 6)),
        ((0.0, 0.0, 0.0, 0.031, 0.0, 0.031, 0.0), (3.1, True, 3)),
        ((0.0, 0.0, 0.0, 0.0, 0.011, 0.0, 0.011), (1.1, True, 1)),
        ((0.0, 0.0, 0.0, 0.0, 0.009, 0.0, 0.009), None),
    ],
)
def test_burn_rates(shares: tuple[float, ...], told: tuple[float, bool, float] | None) -> None:
    """Both windows of one of the pairs must burn too fast."""
    burn = rule(kind="burn_rate", objective=0.99)
    [asked] = questions(burn, 1_800_000_000 * SECOND_US)
    assert len(json.loads(asked.body)["more_starts"]) == len(shares) - 1
    longest, *others = [{"total": {"count": 1_000, "sum_error_count": 1_000 * share}} for share in reversed(shares)]
    found = seen(burn, 0, [longest | {"windows": others}])[None]
    if told is None:
        assert not found.is_true
    else:
        assert found.value == pytest.approx(told[0])
        assert (found.is_true, found.threshold) == told[1:]


@pytest.mark.parametrize("group_by", [None, "op_name", "model"])
def test_windows_in_one_read_are_those_of_questions_of_their_own(
    folded: tuple[InProcess, int], group_by: str | None
) -> None:
    """Each window of a burn rate is answered as a question of its own is, wherever in its hour the end lies."""
    product, at_us = folded
    burn = rule(kind="burn_rate", objective=0.99, group_by=group_by)
    counts = set()
    for minutes in range(0, 360, 13):
        [asked] = questions(burn, at_us - minutes * 60 * SECOND_US)
        body = json.loads(asked.body)
        starts = [body["start"], *body.pop("more_starts")]
        alone = [(asked.path, body | {"start": start}) for start in starts]
        [(status, whole), *others] = product.ask([(asked.path, json.loads(asked.body)), *alone])
        assert status == 200, whole
        for one, (_, expected) in zip([whole, *whole.pop("windows")], others, strict=True):
            assert one == {name: expected[name] for name in one}
            counts.add(one["total"]["count"])
    assert len(counts) > 4


@pytest.mark.parametrize(
    ("at_s", "start", "end"),
    [
        (1_800_000_000, "2027-01-15T07:55:00Z", "2027-01-15T08:00:00Z"),
        (1_800_000_001, "2027-01-15T07:55:00Z", "2027-01-15T08:01:00Z"),
        (1_800_000_059, "2027-01-15T07:55:00Z", "2027-01-15T08:01:00Z"),
    ],
)
def test_windows_are_whole_minutes(at_s: int, start: str, end: str) -> None:
    """A window goes from a whole minute to the end of the one under way, which is none at its very beginning."""
    window = window_at(at_s * SECOND_US, 300)
    assert (rfc3339(window.start_us), rfc3339(window.end_us)) == (start, end)


def test_staleness() -> None:
    """Beyond its bound alone; of a project without events nothing is known."""
    told = rule(kind="stale", above="60s")
    assert isinstance(told, Stale)
    assert staleness(told, 0, 60 * SECOND_US) == {None: Seen(60.0, False, 60)}
    assert staleness(told, 0, 61 * SECOND_US) == {None: Seen(61.0, True, 60)}
    assert staleness(told, None, 61 * SECOND_US) == {}
