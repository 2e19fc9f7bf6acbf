"""Merged cells: whatever calls are split into, a bucket is the same."""

from copy import deepcopy

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.reading.cell_numbers import totals_of
from aggregator.rollups import accumulator
from aggregator.rollups.accumulator import BucketSeries, Merged
from aggregator.rollups.cell import Cell, place_of
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, Series, model_series, series_of
from tests.support.cell_store import HOURS_KEY, DictionaryStore, tally
from tests.support.reading import totals_in
from tests.support.vectors import usage_row

CELL = (HOURS_KEY, place_of(0, 0))
USAGES = ([1, 2, 3, 0, 0, 1], [0, 1, 1, 0, 0, 1, 5, 0, 0, 10**12], [2**63 - 1, 0, 0, 0, 0, 1, 2**70, 0, 0, 1])

# Latencies, and usage by model: of a cell's few calls, or of so many that it has totals too.
calls = st.tuples(
    st.lists(st.integers(-3, 3), max_size=3) | st.just([7] * 20),
    st.dictionaries(
        st.sampled_from(["", "a", "b"]),
        st.lists(st.sampled_from(USAGES), min_size=1, max_size=3) | st.just([USAGES[1]] * 20),
        max_size=2,
    ),
)
Told = tuple[list[int], dict[str, list[list[int]]]]
buckets = st.lists(st.lists(calls, max_size=3), min_size=1, max_size=3)


def cell_of(told: Told) -> Cell:
    """Returns a cell as it is stored. The last values come after the others: of a series with totals, too, one row is
    in the cell."""
    latencies_ms, usage = told
    store = DictionaryStore()
    for part in (slice(-1), slice(-1, None)):
        store.add({CELL: tally(latencies_ms[part], {model: rows[part] for model, rows in usage.items()})})
    return store.cell(CELL)


def right(merged: Merged, bucket: int, told: list[Told]) -> bool:
    """Whether a bucket has the totals of these calls, and no others."""
    latencies = [(one,) for latencies_ms, _ in told for one in latencies_ms]
    expected = {LATENCY: OF_LATENCY.layout.of_values(latencies)} if latencies else {}
    for model in ("", "a", "b"):
        if rows := [usage_row(numbers) for _, usage in told for numbers in usage.get(model, ())]:
            expected[model_series(model)] = OF_USAGE.layout.of_values(rows)
    found = {
        key[1]: totals_in(totals, key)
        for totals in map(merged.totals, (OF_LATENCY, OF_USAGE))
        for key in totals.keys
        if key[0] == bucket
    }
    return (merged.calls[bucket], found) == (len(latencies), expected)


@given(buckets, buckets)
def test_cells_come_to_their_buckets(by_bucket: list[list[Told]], more: list[list[Told]]) -> None:
    """Rows, totals and large rows of several cells in each of several buckets; some come twice; no cell is changed."""
    merged = Merged(3)
    for part in (by_bucket, more, by_bucket):
        cells = [(bucket, cell_of(one)) for bucket, told in enumerate(part) for one in told]
        before = deepcopy(cells)
        for bucket, cell in cells:
            merged.add_cell(bucket, cell)
        assert cells == before
    for bucket in range(3):
        first, later = ([*part, [], [], []][bucket] for part in (by_bucket, more))
        assert right(merged, bucket, [*first, *later, *first])


@given(buckets)
def test_merging_again_leaves_cells_alone(by_bucket: list[list[Told]]) -> None:
    """Merging the same cells twice counts twice and leaves them as they were: totals of large rows are not grown in
    place."""
    cells = [(bucket, cell_of(one)) for bucket, told in enumerate(by_bucket) for one in told]
    before = deepcopy(cells)
    merged = Merged(len(by_bucket))
    for bucket, cell in cells * 2:
        merged.add_cell(bucket, cell)
    assert all(right(merged, bucket, told * 2) for bucket, told in enumerate(by_bucket))
    assert all(right(merged, bucket, told * 2) for bucket, told in enumerate(by_bucket)), "asked again"
    assert cells == before


@given(buckets, buckets)
def test_single_calls_count_as_cells_do(by_bucket: list[list[Told]], single: list[list[Told]]) -> None:
    """Calls that were read one by one, beside cells; the values of those are kept, of these none was asked for."""
    merged = Merged(3)
    for bucket, told in enumerate(by_bucket):
        for one in told:
            merged.add_cell(bucket, cell_of(one))
    for bucket, told in enumerate(single):
        for one in told:
            merged.add_calls(bucket, tally(*one))
    for bucket in range(3):
        of_cells, of_calls = ([*part, [], [], []][bucket] for part in (by_bucket, single))
        assert right(merged, bucket, [*of_cells, *of_calls])
        latencies = [(one,) for latencies_ms, _ in of_calls for one in latencies_ms]
        kept = OF_LATENCY.unpack(b"".join(merged.values[bucket, LATENCY].rows)) if latencies else []
        assert kept == latencies


@given(buckets, st.integers(0, 3), st.booleans())
def test_rows_of_totals_count_as_cells_do(by_bucket: list[list[Told]], cells_only: int, condensed: bool) -> None:
    """Totals of many series at once, some of which come twice, beside cells; condensed or not, and added to others."""
    merged, other = Merged(3), Merged(3)
    parts: dict[Series, list[tuple[BucketSeries, list[int]]]] = {OF_LATENCY: [], OF_USAGE: []}
    cells = [(bucket, cell_of(one)) for bucket, told in enumerate(by_bucket) for one in told]
    for at, (bucket, cell) in enumerate(cells):
        if at < cells_only:
            merged.add_cell(bucket, cell)
            continue
        merged.add_counts(bucket, cell.calls, cell.errors)
        for name in {*cell.rows, *cell.totals, *cell.large}:
            totals = totals_of(cell, name)
            if name in cell.large:
                merged.add_large(bucket, name, totals)
            else:
                parts[series_of(name)].append(((bucket, name), totals))
    for series, of_series in parts.items():
        for some in (of_series[::2], of_series[1::2]):
            rows = np.array([totals for _, totals in some], dtype=np.int64).reshape(len(some), series.layout.width)
            merged.add_rows_of_totals(series, [key for key, _ in some], rows)
    if condensed:
        merged.condense()
    other.add_merged(merged, {0: 2, 1: 0, 2: 1})
    for bucket in range(3):
        told = [*by_bucket, [], [], []][bucket]
        assert right(merged, bucket, told)
        assert right(other, (bucket + 2) % 3, told)


def test_made_small_when_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Totals stay as they were however often what was gathered is made small, quantiles within the bound, and few
    values as they are.
    """
    monkeypatch.setattr(accumulator, "COMPACT_BYTES_MIN", 30_000)
    monkeypatch.setattr(accumulator, "COMPACT_BYTES_MAX", 200_000)
    merged, whole, largest = Merged(2), Merged(2), 0
    drawn = np.random.default_rng(5).lognormal(6, 2, 40_000).astype("<i8")
    for part in np.split(drawn, 80):
        for one in (merged, whole):
            one.add_packed(0, LATENCY, part.tobytes(), b"")
            one.values_of(0, LATENCY).rows.append(part.tobytes())
        merged.compact()
        largest = max(largest, merged.size_bytes)
    few = np.arange(100, dtype="<i8").tobytes()
    merged.add_packed(1, LATENCY, few, b"")
    merged.values_of(1, LATENCY).rows.append(few)
    monkeypatch.setattr(accumulator, "COMPACT_BYTES_MIN", 0)
    merged.compact()
    assert merged.values[1, LATENCY].rows == [few]
    assert largest < drawn.nbytes / 2
    key = (0, LATENCY)
    assert totals_in(merged.totals(OF_LATENCY), key) == totals_in(whole.totals(OF_LATENCY), key)
    ordered, wanted = np.sort(drawn), [0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 0.999]
    found = merged.values[key].quantiles(OF_LATENCY, 0, wanted, float(ordered[0]), float(ordered[-1]))
    assert found is not None
    for quantile, value in zip(wanted, found, strict=True):
        ranks = [np.searchsorted(ordered, value, side) / len(ordered) for side in ("left", "right")]
        bound = 0.0005 if quantile >= 0.999 else 0.002 if quantile >= 0.95 else 0.005
        assert ranks[0] - bound <= quantile <= ranks[1] + bound, quantile
