"""Rows of answers: the right value under each key, nulls and zeros where the specification wants them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from aggregator.calls.call import Call
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, model_series
from aggregator.rollups.tally import tally_of
from api.query.questions import CallFilter, MetricQuestion, StatsQuestion
from api.query.rows import Row, call_rows
from api.query.rows_json import make_rows, usage_json
from tests.support.vectors import vector

AT, LATER = "2026-03-03T00:00:00+00:00", "2026-03-03T01:00:00+00:00"
ALL = ("sum", "avg", "min", "max", "count", "count_true", "count_false")
UNPRICED, DOLLAR = [100, 20, 120, 30, 10, 1], 10**12


def call(latency_ms: int | None = None, failed: bool = False, usage: dict[str, list[int]] | None = None) -> Call:
    ended_us = None if latency_ms is None else latency_ms * 1000
    vectors = {model: vector(numbers) for model, numbers in (usage or {}).items()}
    return Call(1, b"", 0, started_us=0, ended_us=ended_us, failed=failed, usage=vectors)


def merged(*calls: Call) -> Merged:
    """Two buckets: the calls are in the first, the second is empty."""
    buckets = Merged(2)
    buckets.add_calls(0, tally_of(calls))
    return buckets


def ask(metric: str, *percentiles: float, aggregations: tuple[str, ...] = ALL) -> MetricQuestion:
    return MetricQuestion(metric, aggregations, tuple(map(float, percentiles)))


def as_json(rows: list[Row]) -> list[dict[str, Any]]:
    """Rows as the answer shows them."""
    shown: list[dict[str, Any]] = msgspec.to_builtins(rows)
    return shown


def call_row(buckets: Merged, metrics: list[MetricQuestion]) -> dict[str, Any]:
    """The row of the first bucket."""
    return as_json(call_rows([AT, LATER], buckets, metrics))[0]


def usage_row(model: str, buckets: Merged, metrics: list[MetricQuestion], priced_in_window: bool) -> dict[str, Any]:
    """The row of the model in the first bucket; it is in the second too, with a price or without."""
    elsewhere = priced(7, 7, 7, 7) if priced_in_window else UNPRICED
    buckets.add_calls(1, tally_of([call(1, usage={model: elsewhere})]))
    [row] = [
        row for row in usage_buckets([AT, LATER], buckets, metrics) if (row["model"], row["timestamp"]) == (model, AT)
    ]
    return row


def usage_buckets(timestamps: list[str], buckets: Merged, metrics: list[MetricQuestion]) -> list[dict[str, Any]]:
    """The `usage_buckets` of an answer."""
    question = StatsQuestion("p", 0, None, None, "UTC", tuple(metrics), (), CallFilter())
    found: list[dict[str, Any]] = msgspec.json.decode(
        usage_json(make_rows(question, timestamps, buckets), timestamps, question.usage_metrics)
    )
    return found


def values(row: dict[str, Any]) -> list[Any]:
    """Returns the values of a row without the timestamp, in order."""
    return [value for key, value in row.items() if key not in ("timestamp", "model")]


def test_latency() -> None:
    """Latencies of 1, 0, 4 and of an unfinished call are counted: the unfinished one only in count."""
    row = call_row(merged(call(1), call(0), call(4), call()), [ask("latency_ms", 0, 50, 75, 100)])
    assert row == {
        "timestamp": AT,
        "sum_latency_ms": 5,
        "avg_latency_ms": pytest.approx(5 / 3),
        "min_latency_ms": 0,
        "max_latency_ms": 4,
        "count_latency_ms": 3,
        "count_true_latency_ms": 1,
        "count_false_latency_ms": 1,
        "p0_latency_ms": 0,
        "p50_latency_ms": 1,
        "p75_latency_ms": 2.5,
        "p100_latency_ms": 4,
        "count": 4,
    }
    assert next(iter(row)) == "timestamp"
    assert list(row)[-1] == "count"


@pytest.mark.parametrize("metric", ["latency_ms", "call_count", "error_count"])
def test_an_empty_bucket(metric: str) -> None:
    """Sums, averages and counts are 0; minimum, maximum and percentiles null."""
    row = call_row(Merged(2), [ask(metric, 50, 99.9)])
    assert values(row) == [0, 0, None, None, 0, 0, 0, None, None, 0]


def test_only_unfinished_calls() -> None:
    """Latency is as in an empty bucket, calls and errors are counted."""
    row = call_row(merged(call(), call()), [ask("latency_ms", 50), ask("call_count", 50), ask("error_count", 50)])
    assert values(row) == [
        *(0, 0, None, None, 0, 0, 0, None),
        *(2, 1, 1, 1, 2, 2, 0, 1),
        *(0, 0, 0, 0, 2, 0, 2, 0),
        2,
    ]


def test_errors() -> None:
    """One failure of four calls, 0, 0, 0, 1, has its p50 at 0, p90 at 0.7, p100 at 1."""
    row = call_row(merged(call(1, failed=True), call(1), call(1), call()), [ask("error_count", 50, 90, 100)])
    assert values(row) == [1, 0.25, 0, 1, 4, 1, 3, 0, pytest.approx(0.7), 1, 4]


def test_only_errors() -> None:
    """Minimum and every percentile are 1."""
    row = call_row(merged(call(1, failed=True)), [ask("error_count", 0, 50)])
    assert values(row) == [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]


def test_tokens() -> None:
    """Two rows of a model; the rows of another model are not in it."""
    bucket = merged(call(1, usage={"m": UNPRICED, "x": [7] * 6}), call(1, usage={"m": [0, 1, 1, 0, 0, 1]}))
    row = usage_row("m", bucket, [ask("input_tokens", 50), ask("cache_read_input_tokens"), ask("output_tokens")], False)
    assert row["model"] == "m"
    assert values(row) == [
        *(100, 50, 0, 100, 2, 0, 1, 50),
        *(30, 15, 0, 30, 2, 0, 1),
        *(21, 10.5, 1, 20, 2, 1, 0),
        2,
    ]


def priced(*costs: int) -> list[int]:
    """Uncached input, cache read, cache creation, output, in pico-dollars."""
    return [*UNPRICED, *costs]


def test_costs_are_dollars() -> None:
    """Input is all classes of input; count_true counts exact dollars, count_false what cost nothing."""
    bucket = merged(
        call(1, usage={"m": priced(DOLLAR // 2, DOLLAR // 4, DOLLAR // 4, 1)}), call(1, usage={"m": priced(0, 0, 0, 0)})
    )
    row = usage_row("m", bucket, [ask("input_cost", 50), ask("output_cost"), ask("total_cost", 100)], True)
    assert values(row) == pytest.approx(
        [*(1, 0.5, 0, 1, 2, 1, 1, 0.5), *(1e-12, 5e-13, 0, 1e-12, 2, 0, 1), *(1 + 1e-12, 0.5, 0, 1, 2, 0, 1, 1), 2],
        rel=1e-9,
        abs=1e-15,
    )


NO_COST = [None, None, None, None, 0, 0, 0, None]


def test_all_rows_unpriced() -> None:
    """Everything about a cost but its counts is null, though the model is priced elsewhere in the window."""
    bucket = merged(call(1, usage={"m": UNPRICED}))
    assert values(usage_row("m", bucket, [ask("total_cost", 50)], priced_in_window=True)) == [*NO_COST, 1]
    assert values(usage_row("m", bucket, [ask("total_cost", 50)], priced_in_window=False)) == [*NO_COST, 1]


def test_an_empty_bucket_of_an_unpriced_model() -> None:
    """Is null too: the model has no price."""
    assert values(usage_row("m", Merged(2), [ask("total_cost", 50)], priced_in_window=False)) == [*NO_COST, 0]


def test_an_empty_bucket_of_a_priced_model() -> None:
    """Has the usual zeros; so do its tokens in any case."""
    usual = [0, 0, None, None, 0, 0, 0, None]
    assert values(usage_row("m", Merged(2), [ask("total_cost", 50)], priced_in_window=True)) == [*usual, 0]
    assert values(usage_row("m", Merged(2), [ask("total_tokens", 50)], priced_in_window=False)) == [*usual, 0]


def test_a_mixed_bucket_sums_what_is_priced() -> None:
    """A bucket of a priced and an unpriced row has the cost of one and the count of two."""
    bucket = merged(call(1, usage={"m": priced(DOLLAR, 0, 0, DOLLAR)}), call(1, usage={"m": UNPRICED}))
    row = usage_row("m", bucket, [ask("total_cost", 50), ask("input_tokens")], True)
    assert values(row) == [*(2, 2, 2, 2, 1, 0, 0, 2), *(200, 100, 100, 100, 2, 0, 0), 2]


def test_keys_in_the_order_of_the_request() -> None:
    """Metrics, aggregations and percentiles as asked; `aggregations: []` gives percentiles only."""
    asked = [ask("latency_ms", 99.9, 50, aggregations=()), ask("call_count", aggregations=("max", "sum"))]
    assert list(call_row(merged(call(1)), asked)) == [
        *("timestamp", "p99.9_latency_ms", "p50_latency_ms", "max_call_count", "sum_call_count", "count"),
    ]


def test_sums_beyond_64_bits() -> None:
    """Costs of a fleet: 2^70 pico-dollars are 1,180,591,620.717411303424 dollars."""
    bucket = merged(call(1, usage={"m": priced(2**70, 0, 0, 0)}))
    row = usage_row("m", bucket, [ask("input_cost", 50, aggregations=("sum", "avg", "min", "max"))], True)
    assert values(row) == pytest.approx([1_180_591_620.717411303424] * 5 + [1], rel=1e-12)


def test_a_large_row_among_others() -> None:
    """Tokens of 2^63 - 1, 2^63 - 1 and 1 have an exact sum, and one of them as median."""
    most = 2**63 - 1
    bucket = merged(call(1, usage={"m": [most, 0, most, 0, 0, 1]}), call(1, usage={"m": [1, 0, 1, 0, 0, 1]}))
    bucket.add_calls(0, tally_of([call(1, usage={"m": [most, 0, most, 0, 0, 1]})]))
    row = usage_row("m", bucket, [ask("input_tokens", 0, 50)], False)
    assert values(row) == [2**64 - 1, (2**64 - 1) / 3, 1, most, 3, 1, 0, 1, float(most), 3]


def test_values_that_expired_before_their_cell() -> None:
    """The totals still are told; percentiles are null, of latencies and of usage."""
    bucket = Merged(2)
    bucket.add_cell(0, tally_of([call(4, usage={"m": UNPRICED})]).packed().cell())
    assert bucket.values == {}
    row = call_row(bucket, [ask("latency_ms", 50, aggregations=("sum",)), ask("call_count", 50, aggregations=())])
    assert values(row) == [4, None, 1, 1]
    assert values(usage_row("m", bucket, [ask("input_tokens", 50, aggregations=("max",))], False)) == [100, None, 1]


def test_costs_of_a_model_that_expired() -> None:
    """A percentile of costs is null where values of other metrics are there and none of a cost."""
    bucket = Merged(2)
    bucket.add_cell(0, tally_of([call(4, usage={"m": priced(1, 1, 1, 1)})]).packed().cell())
    of_model = tally_of([call(4, usage={"m": UNPRICED})]).packed().rows[model_series("m")]
    bucket.values_of(0, model_series("m")).rows.append(of_model)
    asked = [ask("input_tokens", 50, aggregations=()), ask("total_cost", 50, aggregations=())]
    assert values(usage_row("m", bucket, asked, True)) == [100, None, 1]


def test_the_model_without_a_name() -> None:
    """Is not the latencies."""
    bucket = merged(call(7, usage={"": UNPRICED}))
    assert bucket.totals(OF_USAGE).keys == [(0, model_series(""))]
    assert bucket.totals(OF_LATENCY).keys == [(0, LATENCY)]
    assert values(usage_row("", bucket, [ask("input_tokens", 50, aggregations=("sum",))], False)) == [100, 100, 1]
    assert values(call_row(bucket, [ask("latency_ms", 50, aggregations=("sum",))])) == [7, 7, 1]


def test_every_bucket_has_a_row() -> None:
    """Every bucket has a row of calls and of models: an empty one, a full one and an empty one again."""
    buckets = Merged(3)
    buckets.add_calls(1, tally_of([call(3, usage={"m": UNPRICED})]))
    latency, tokens = ask("latency_ms", 50, aggregations=("sum",)), ask("input_tokens", 50, aggregations=("sum",))
    rows = as_json(call_rows(["1", "2", "3"], buckets, [latency]))
    assert [values(row) for row in rows] == [[0, None, 0], [3, 3, 1], [0, None, 0]]
    of_model = usage_buckets(["1", "2", "3"], buckets, [tokens])
    assert [row["timestamp"] for row in of_model] == ["1", "2", "3"]
    assert [values(row) for row in of_model] == [[0, None, 0], [100, 100, 1], [0, None, 0]]


@given(some.lists(some.sets(some.sampled_from("abcde"), max_size=5), min_size=1, max_size=6))
def test_every_bucket_has_every_model(models_of: list[set[str]]) -> None:
    """A bucket has a row for each model of the answer, in the order of their names, with zeros for those it lacks."""
    timestamps, buckets = [f"2026-03-03T0{at}:00:00+00:00" for at in range(len(models_of))], Merged(len(models_of))
    for at, models in enumerate(models_of):
        buckets.add_calls(at, tally_of([call(1, usage={model: [at + 1, 0, at + 1, 0, 0, 1] for model in models})]))
    rows = usage_buckets(timestamps, buckets, [ask("input_tokens", aggregations=("sum",))])
    assert [(row["timestamp"], row["model"], row["sum_input_tokens"], row["count"]) for row in rows] == [
        (timestamps[at], model, (at + 1) * (model in of_bucket), int(model in of_bucket))
        for at, of_bucket in enumerate(models_of)
        for model in sorted(set().union(*models_of))
    ]
