"""Calls of one minute and model, few or many: the answer is that of a brute force, wherever rows are kept by then."""

import math
import random
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
import redis

from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.prices.book import ALWAYS_US, PriceBook, Timeline
from aggregator.prices.price import Price, Rates
from aggregator.reading.rollups import LevelBlock, read_rollups
from aggregator.rollups.accumulator import Merged
from aggregator.rollups.levels import LEVELS, Level
from aggregator.rollups.series import COST_METRICS, OF_USAGE, TOKEN_METRICS, USAGE_METRICS
from aggregator.rollups.views import ViewFilter
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import MINUTE_US, SECOND_US
from aggregator.writing.shard import Shard
from api.query.questions import MetricQuestion
from api.query.rows import call_rows, usage_rows
from tests.brute_force.quantiles import allowed_range, percentile
from tests.support.folding import KEEP_ALL, NOW_US, PROJECT, SHARD, T0_US
from tests.support.reading import read

Row = dict[str, Any]

MODEL = "m"
FLAGS = ("call_count", "error_count")  # whose values are 0 or 1
CALL_METRICS = ("latency_ms", *FLAGS)
METRICS = (*CALL_METRICS, *USAGE_METRICS)
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "count_true", "count_false")
PERCENTILES = (0.0, 1.0, 10.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
DOLLAR = 10**12
# Pico-dollars per token; the model has a price from the middle of the minute on.
PER_INPUT, PER_READ, PER_CREATION, PER_OUTPUT = 2_000_000, 500_000, 3_000_000, 8_000_000
PRICED_FROM_S = 30
LARGE = UsageCounts(2**62, 2**61, 2**62 + 2**61, 0, 0, 1)


class PricedFromHalf:
    """The catalogue of one model."""

    def timeline(self, model: str) -> Timeline:
        """Returns a timeline without a price at first, and with one from the middle on."""
        rates = [Decimal(per_token) / 1_000_000 for per_token in (PER_INPUT, PER_READ, PER_CREATION, PER_OUTPUT)]
        return Timeline((ALWAYS_US, T0_US + PRICED_FROM_S * 1_000_000), (None, Price(Rates(*rates), "here")))


class Told(NamedTuple):
    """A call of the minute."""

    at_s: int
    latency_ms: int
    failed: bool
    counts: UsageCounts

    @property
    def values(self) -> dict[str, int]:
        """Returns the values by metric: costs where there is a price, a latency where it is not negative."""
        counts = self.counts
        found = dict(zip(TOKEN_METRICS, counts, strict=False))
        found |= {"call_count": 1, "error_count": int(self.failed)}
        if self.latency_ms >= 0:  # clocks differ: one that is negative is in no aggregation
            found["latency_ms"] = self.latency_ms
        if self.at_s < PRICED_FROM_S:
            return found
        cached = counts.cache_read_input_tokens, counts.cache_creation_input_tokens
        costs = (
            (counts.input_tokens - sum(cached)) * PER_INPUT + cached[0] * PER_READ + cached[1] * PER_CREATION,
            counts.output_tokens * PER_OUTPUT,
        )
        return found | dict(zip(COST_METRICS, (*costs, sum(costs)), strict=True))


def told(count: int, priced: str, rng: random.Random) -> list[Told]:
    """Returns so many calls, whose values are skewed, or few, or 0, 1 or a dollar."""
    seconds = {"all": range(PRICED_FROM_S, 60), "none": range(PRICED_FROM_S), "some": range(60)}[priced]
    calls = []
    for _ in range(count):
        cached = (rng.randint(0, 3), rng.choice([0, int(rng.lognormvariate(8, 1))]))
        if rng.random() < 0.2:
            cached = (0, 0)
        net = rng.choice([0, DOLLAR // PER_INPUT, int(rng.lognormvariate(7, 1.5)), int(rng.lognormvariate(7, 1.5))])
        output = rng.choice([0, 1, DOLLAR // PER_OUTPUT, int(rng.lognormvariate(6, 2))])
        counts = UsageCounts(net + sum(cached), output, net + sum(cached) + output, *cached, 1)
        latency_ms = rng.choice([-1, 0, 1, int(rng.lognormvariate(7, 1)), int(rng.lognormvariate(7, 1))])
        calls.append(Told(rng.choice(seconds), latency_ms, rng.random() < 0.1, counts))
    return calls


def event(number: int, call: Told) -> Event:
    """Start and end in one."""
    started_us = T0_US + call.at_s * SECOND_US
    ended = CallEnd(started_us + call.latency_ms * 1_000, call.failed, {MODEL: call.counts})
    return Event(PROJECT, f"call-{number}", CallStart("op", started_us), ended)


def fold_in_random_batches(redis_url: str, calls: Sequence[Told], rng: random.Random) -> None:
    """Folds the calls in batches of random sizes, with a restart now and then."""
    client = redis.Redis.from_url(redis_url)
    left = [event(number, call) for number, call in enumerate(calls)]
    size_max = rng.choice([1 + len(calls) // 100, 20, 600, 5_000])
    shard = None
    while left:
        if shard is None or rng.random() < 0.2:
            shard = Shard(ShardStore(client, SHARD), PriceBook(None, PricedFromHalf()), KEEP_ALL)
        size = rng.randint(1, size_max)
        batch, left = left[:size], left[size:]
        shard.apply(batch, (shard.next_offset or 0) + len(batch), NOW_US, NOW_US, {})


def answered(redis_url: str, level: Level) -> Row:
    """The rows of the one slot, as one: all aggregations and percentiles of all metrics."""

    async def ask(reader: StoreReader, project: OpenedProject) -> Merged:
        block, slot = level.block_and_slot(T0_US // MINUTE_US)
        bucket = Merged(1)
        await read_rollups(reader, project, {LevelBlock(level, block): {slot: 0}}, ViewFilter(), bucket, True, True)
        return bucket

    bucket = read(redis_url, ask)
    of_calls, of_usage = (
        [MetricQuestion(metric, AGGREGATIONS, PERCENTILES) for metric in metrics]
        for metrics in (CALL_METRICS, USAGE_METRICS)
    )
    [of_model] = usage_rows([""], bucket.totals(OF_USAGE), bucket, of_usage)
    [row] = call_rows([""], bucket, of_calls)
    shown: Row = msgspec.to_builtins(row) | msgspec.to_builtins(of_model)
    return shown


def mistakes(metric: str, values: Sequence[int], row: Row) -> list[str]:
    """Keys of the row that are not what these values give."""
    unit, one = (DOLLAR, DOLLAR) if metric in COST_METRICS else (1, 1)
    ordered = sorted(values)
    nothing = None if metric in COST_METRICS else 0  # of no values at all: a model without a price, no latency
    exact: dict[str, Fraction | int | None] = {
        "sum": divided(sum(values), unit) if values else nothing,
        "avg": Fraction(sum(values), unit * len(values)) if values else nothing,
        "min": divided(ordered[0], unit) if values else None,
        "max": divided(ordered[-1], unit) if values else None,
        "count": len(values),
        "count_true": values.count(one),
        "count_false": values.count(0),
    }
    found = [f"{name}_{metric}" for name, right in exact.items() if not same(row[f"{name}_{metric}"], right)]
    for percent in PERCENTILES:
        key = f"p{percent:g}_{metric}"
        if not ordered:
            found += [key] * (row[key] is not None)
            continue
        part = Fraction(str(percent))
        ends = allowed_range(ordered, part) if metric not in FLAGS else None
        is_right = same(row[key], percentile(ordered, part) / unit)
        if not is_right and not (ends and ends[0] * (1 - 1e-9) <= row[key] * unit <= ends[1] * (1 + 1e-9)):
            found.append(f"{key} = {row[key]}, not in {ends}")
    return found


def divided(number: int, unit: int) -> Fraction | int:
    """Dollars, or an integer as it is."""
    return number if unit == 1 else Fraction(number, unit)


def same(answer: Any, right: Fraction | int | None) -> bool:
    """Integers are exact, the rest to nine digits."""
    if right is None or answer is None:
        return answer is right
    if isinstance(right, int):
        return bool(answer == right)
    return math.isclose(answer, right, rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("priced", ["all", "some", "none"])
@pytest.mark.parametrize("large", [0, 1, 3])
@pytest.mark.parametrize("count", [1, 16, 17, 50, 512, 513, 2_000])
def test_any_number_of_calls(count: int, large: int, priced: str, redis_url: str) -> None:
    """All aggregations are exact, and percentiles within their bound, exact up to 50 values; of every level."""
    rng = random.Random(f"{count} {large} {priced}")
    calls = told(count, priced, rng)
    for call in told(large, priced, rng):
        calls[rng.randrange(count)] = call._replace(counts=LARGE)
    fold_in_random_batches(redis_url, calls, rng)
    by_metric = {metric: [call.values[metric] for call in calls if metric in call.values] for metric in METRICS}
    for level in LEVELS:
        row = answered(redis_url, level)
        assert row["count"] == count
        assert [wrong for metric in METRICS for wrong in mistakes(metric, by_metric[metric], row)] == []


@pytest.mark.parametrize("metric", METRICS)
def test_mistakes_are_seen(metric: str) -> None:
    """The check finds no mistake in a right row, and exactly the key that is a little off in a wrong one."""
    unit = DOLLAR if metric in COST_METRICS else 1
    values = [value * unit for value in ([0, 1, 1, 0, 1] if metric in FLAGS else [0, 1, 5, 10, 200])]
    right: Row = {f"{name}_{metric}": None for name in AGGREGATIONS}
    right |= {"sum_" + metric: sum(values) // unit, "avg_" + metric: sum(values) / 5 / unit, "count_" + metric: 5}
    right |= {"min_" + metric: min(values) // unit, "max_" + metric: max(values) // unit}
    right |= {"count_true_" + metric: values.count(unit), "count_false_" + metric: values.count(0)}
    right |= {f"p{one:g}_{metric}": float(np.percentile(values, one)) / unit for one in PERCENTILES}
    assert mistakes(metric, values, right) == []
    for key, value in right.items():
        (found,) = mistakes(metric, values, right | {key: value + 1e-6})
        assert found.startswith(key)
