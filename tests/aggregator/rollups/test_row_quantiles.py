"""Quantiles of many series at once are what each series says of itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from aggregator.rollups import row_quantiles
from aggregator.rollups.accumulator import BucketSeries
from aggregator.rollups.row_quantiles import RowQuantiles
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, Series, model_series
from aggregator.rollups.totals import ABSENT
from aggregator.rollups.values import Values

TOKENS, COSTS = some.integers(0, 2**32 - 1) | some.integers(0, 9), some.integers(0, 2**61) | some.just(ABSENT)
LATENCIES = some.integers(-(2**63), 2**63 - 1) | some.integers(-3, 3)
USAGE = some.tuples(TOKENS, TOKENS, TOKENS, TOKENS, TOKENS, COSTS, COSTS, some.just(0))
WANTED = [0.0, 0.05, 0.5, 0.95, 0.999, 1.0]
Rows = list[list[tuple[int, ...]]]


def values_of(series: Series, rows: Rows) -> dict[BucketSeries, Values]:
    """Return the values of a series for each list of rows, packed in two pieces."""
    found = {}
    for bucket, of_bucket in enumerate(rows):
        name = LATENCY if series is OF_LATENCY else model_series("m")
        values = found[bucket, name] = Values()
        for piece in (of_bucket[:2], of_bucket[2:]):
            packed = np.array(piece, dtype=np.int64).reshape(len(piece), series.layout.metrics)
            values.rows.append(series.rows(packed))
    return found


def check(series: Series, rows: Rows) -> RowQuantiles:
    """Compare the quantiles of all metrics with those that each series says of itself."""
    values = values_of(series, rows)
    found = RowQuantiles(series, [*values, (99, b":elsewhere")], values)
    for metric in range(series.layout.metrics):
        together = found.quantiles(metric, WANTED)
        for key, place in found.place_of.items():
            alone = values[key].quantiles(series, metric, WANTED, 0, 0)
            expected = [None for _ in WANTED] if alone is None else alone
            assert [of_each[place] for of_each in together] == expected
    return found


@given(some.lists(some.lists(USAGE, max_size=12), max_size=6))
def test_usage(rows: Rows) -> None:
    """Usage with and without prices, and series of which nothing has come."""
    assert len(check(OF_USAGE, rows).place_of) == len(rows)


@given(some.lists(some.lists(some.tuples(LATENCIES), max_size=12), max_size=6))
def test_latencies(rows: Rows) -> None:
    """Latencies of any size, which may not fit beside the number of their series."""
    assert len(check(OF_LATENCY, rows).place_of) == len(rows)


def test_what_is_left_to_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """A series with many rows, a sketch or a large row answers by itself."""
    monkeypatch.setattr(row_quantiles, "ROWS_MAX", 3)
    assert list(check(OF_LATENCY, [[(1,)] * 3, [(1,)] * 4]).place_of) == [(0, LATENCY)]
    values = values_of(OF_LATENCY, [[(1,)], [(1,)], [(1,)]])
    values[0, LATENCY].sketches.append([b"sketch"])
    values[1, LATENCY].large.append((2**70,))
    assert list(RowQuantiles(OF_LATENCY, list(values), values).place_of) == [(2, LATENCY)]
