"""The sketch: its rank error on all kinds of data, sizes and ways of merging; exact while values are few."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from aggregator.rollups.cell import ROWS_BESIDE_MAX, SKETCHES_CODEC
from aggregator.rollups.packed_sketch import Floats
from aggregator.rollups.sketch import centroids, compress, compress_each, quantiles
from tests.support.distributions import (
    DISTRIBUTIONS,
    bimodal,
    lognormal,
    pareto,
    round_numbers_and_lognormal,
    steep_at_the_top,
)

SIZES = (51, 200, 2_000, 20_000, 200_000)
# Dense everywhere, denser where the bound is tighter, and the very ends.
QUANTILES = sorted({*np.arange(0, 1, 0.0025), *np.arange(0.95, 1, 0.0005), *np.arange(0.999, 1, 0.00005), 1.0})
SEED = 20_260_303


def rank_error_max(quantile: float) -> float:
    """Returns the error of ranks that the specification allows, as a part of all values."""
    if quantile < 0.95 - 1e-12:
        return 0.005
    return 0.002 if quantile < 0.999 - 1e-12 else 0.0005


class Fed(NamedTuple):
    """One metric's values beside a cell: those of its newest rows, and what is stored of all others."""

    values: Floats
    sketch: bytes


def stored(sketch: bytes) -> bytes:
    """Returns what Redis gives back."""
    [packed] = SKETCHES_CODEC.unpack(SKETCHES_CODEC.pack([sketch]))
    return packed


def fed_in_batches(values: Floats, size: int) -> Fed:
    """Feeds values in batches, as a cell is fed: they are kept as they are, and compressed once they are more than rows
    may be."""
    rows, sketch = np.empty(0), b""
    for at in range(0, len(values), size):
        rows = np.concatenate([rows, values[at : at + size]])
        if len(rows) > ROWS_BESIDE_MAX:
            rows, sketch = np.empty(0), stored(compress(sketch, rows))
    return Fed(rows, sketch)


def fed_to_cells(values: Floats, cells: int) -> list[Fed]:
    """Neighbouring parts of the values in a cell each, in batches of 100."""
    parts = [values[len(values) * at // cells : len(values) * (at + 1) // cells] for at in range(cells)]
    return [fed_in_batches(part, 100) for part in parts if len(part)]


def ways_of_merging(values: Floats) -> dict[str, list[Fed]]:
    """Returns the values merged in all ways that their number makes interesting and time allows."""
    batch_sizes = [size for size in (1, 7, 100, 5_000) if len(values) <= 2_000 * size]
    by_way = {f"batches of {size}": [fed_in_batches(values, size)] for size in batch_sizes}
    return by_way | ({"60 cells": fed_to_cells(values, 60)} if len(values) > 10_000 else {})


def asked(merged: Sequence[Fed], wanted: Sequence[float], ends: Iterable[float]) -> list[float]:
    """Quantiles of cells together, as the api asks for them."""
    sketches = [cell.sketch for cell in merged if cell.sketch]
    ordered = sorted(ends)
    return quantiles(sketches, np.concatenate([cell.values for cell in merged]), wanted, ordered[0], ordered[-1])


def too_far(values: Floats, merged: list[Fed]) -> list[str]:
    """The quantiles whose answer is further from its rank than allowed."""
    ordered = np.sort(values)
    ranks, last = np.arange(len(ordered)), len(ordered) - 1
    answers = asked(merged, QUANTILES, (ordered[0], ordered[-1]))
    found = []
    for quantile, answer in zip(QUANTILES, answers, strict=True):
        slack = 0 if quantile in (0, 1) else max(1, rank_error_max(quantile) * len(ordered))
        lowest, highest = np.interp([quantile * last - slack, quantile * last + slack], ranks, ordered)
        rounding = 1e-9 * max(abs(lowest), abs(highest)) if slack else 0
        if not lowest - rounding <= answer <= highest + rounding:
            found.append(f"q{quantile:.5f}: {answer}, not in [{lowest}, {highest}]")
    return found


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: distribution.__name__)
def test_rank_error(distribution: Callable[[np.random.Generator, int], Floats], size: int) -> None:
    """Every quantile is within the rank bound, however the values were merged; the ends are exact."""
    values = distribution(np.random.default_rng(SEED), size)
    for way, merged in ways_of_merging(values).items():
        assert not too_far(values, merged), way


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: distribution.__name__)
@pytest.mark.parametrize("size", [1, 2, 3, 49, 50, ROWS_BESIDE_MAX])
@pytest.mark.parametrize("cells", [1, 3, 50])
def test_exact_while_few(distribution: Callable[[np.random.Generator, int], Floats], size: int, cells: int) -> None:
    """Quantiles are numpy's while nothing is compressed, and so for 50 values at any rate."""
    values = distribution(np.random.default_rng(SEED), size)
    merged = fed_to_cells(values, min(cells, size))
    assert not any(cell.sketch for cell in merged)
    answers = asked(merged, QUANTILES, values)
    np.testing.assert_allclose(answers, np.quantile(values, QUANTILES), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("distribution", [lognormal, bimodal, round_numbers_and_lognormal, steep_at_the_top])
def test_rank_error_of_a_day(distribution: Callable[[np.random.Generator, int], Floats]) -> None:
    """1,440 compressed cells, as many as a day has minutes, are within the bound as one is."""
    values = distribution(np.random.default_rng(SEED), 1_440 * (ROWS_BESIDE_MAX + 44))
    assert not too_far(values, fed_to_cells(values, 1_440))


def test_exact_when_many_cells_stay_few() -> None:
    """50,000 cells of 4 values each answer for 200,000 values exactly."""
    values = lognormal(np.random.default_rng(SEED), 200_000)
    answers = asked(fed_to_cells(values, 50_000), QUANTILES, values)
    np.testing.assert_allclose(answers, np.quantile(values, QUANTILES), rtol=1e-9)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=lambda distribution: distribution.__name__)
def test_rows_beside_sketches_count_as_much(distribution: Callable[[np.random.Generator, int], Floats]) -> None:
    """A full cell, one with rows alone and one with both are within the bound together."""
    rng = np.random.default_rng(SEED)
    sizes = (10_000, 400, 3 * (ROWS_BESIDE_MAX + 1) + 500)
    parts = [distribution(rng, size) for size in sizes]
    merged = [fed_in_batches(part, 1) for part in parts]
    assert [(bool(cell.sketch), len(cell.values) > 0) for cell in merged] == [(True, True), (False, True), (True, True)]
    assert not too_far(np.concatenate(parts), merged)


def test_few_distinct_values_stay_exact() -> None:
    """However many values, while few of them differ none is ever mixed with another: 1,000,000 values of 9 kinds."""
    sketch = b""
    for _ in range(100):
        sketch = stored(compress(sketch, np.array([0.0, 0, 0, 0, 1, 2, 3, 5, 8, 13] * 1_000)))
    means, weights = centroids([sketch])
    assert dict(zip(means, weights, strict=True)) == {
        0: 400_000,
        1: 100_000,
        2: 100_000,
        3: 100_000,
        5: 100_000,
        8: 100_000,
        13: 100_000,
    }
    # Ranks 0..999,999: the last 0 is at 399,999; 0.4 * 999,999 = 399,999.6 is six tenths of the way to 1.
    wanted = [0, 0.399, 0.4, 0.41, 0.95, 1]
    assert quantiles([sketch], np.empty(0), wanted, 0, 13) == pytest.approx([0, 0, 0.6, 1, 13, 13])


@pytest.mark.parametrize("compressed", [(), (10,), (20, 40), (10, 20, 40)])
def test_quantile_between_two_values(compressed: tuple[float, ...]) -> None:
    """The linear rule by hand: of 10, 20, 40 the median is 20, p25 15, p75 30, p90 36; in sketches, rows or both."""
    rows = np.array([value for value in (40.0, 10.0, 20.0) if value not in compressed])
    sketches = [compress(b"", np.array([value])) for value in compressed]
    wanted = [0, 0.25, 0.5, 0.75, 0.9, 1]
    assert quantiles(sketches, rows, wanted, 10, 40) == pytest.approx([10, 15, 20, 30, 36, 40])


def test_size_stays_small() -> None:
    """A full sketch takes under 1.5 KB of Redis whatever comes, and a few close values take 2 bytes each."""
    rng = np.random.default_rng(SEED)
    for distribution in DISTRIBUTIONS:
        sketch = fed_in_batches(distribution(rng, 50_000), 500).sketch
        assert 0 < len(SKETCHES_CODEC.pack([sketch])) < 1_500, distribution.__name__
    assert len(compress(b"", np.array([5.0, 6, 7]))) == 5 + 3 * 2
    assert compress(b"", np.empty(0)) == b""


def test_total_weight_is_the_count() -> None:
    """Nothing is lost or counted twice on the way, in mixed centroids neither."""
    fed = fed_in_batches(lognormal(np.random.default_rng(SEED), 12_345), 100)
    _, weights = centroids([fed.sketch])
    assert (weights < 0).any()
    assert np.abs(weights).sum() + len(fed.values) == 12_345


def test_integers_of_any_size() -> None:
    """Values past 64 bits, such as costs of whole fleets in pico-dollars, are kept as doubles."""
    values = np.array([float(value) for value in (2**63 - 1, 2**63, 10**30, -(2**63), -(10**25))])
    for fed in (Fed(values, b""), Fed(np.empty(0), stored(compress(b"", values)))):
        assert asked([fed], [0, 0.5, 1], values) == pytest.approx([-(10**25), 2**63, 10**30])


def test_no_answer_is_beyond_the_ends() -> None:
    """The exact ends, which may be integers of any size, bound what centroids say."""
    sketch = compress(b"", np.arange(10_000.0))
    found = quantiles([sketch], np.empty(0), [0, 1e-9, 0.5, 1], 0, 10**30)
    assert found[0] == 0
    assert found[-1] == float(10**30)
    assert found == sorted(found)


def test_arguments_are_left_alone() -> None:
    """Compressing does not touch the values, asking neither those nor their order."""
    values = np.array([*range(300, 0, -1), *range(300)], dtype=np.float64)
    values.flags.writeable = False
    copy = values.copy()
    sketch = compress(b"", values)
    compress(sketch, values)
    quantiles([sketch], values, [0.5], 0, 300)
    quantiles([], values, [0.5], 0, 300)
    np.testing.assert_array_equal(values, copy)
    assert sketch == compress(b"", values)


def test_same_values_same_bytes() -> None:
    """Equal batches give equal bytes: nothing is left to chance."""
    values = pareto(np.random.default_rng(SEED), 20_000)
    assert fed_in_batches(values, 100).sketch == fed_in_batches(values.copy(), 100).sketch


def test_many_at_once_as_one_by_one() -> None:
    """Sketches that are compressed together are what each would be by itself; one without new values stays as it is."""
    rng = np.random.default_rng(SEED)
    columns = [distribution(rng, 700) for distribution in DISTRIBUTIONS]
    sketches = [compress(b"", column) for column in columns]
    assert compress_each([b""] * len(columns), columns) == sketches
    assert compress_each([b"", *sketches], [np.empty(0)] * (len(sketches) + 1)) == [b"", *sketches]
