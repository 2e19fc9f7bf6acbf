"""Distributions of values that sketches are tested with: lifelike ones, and those that a sketch finds hard."""

from collections.abc import Callable

import numpy as np

from aggregator.rollups.packed_sketch import Floats


def lognormal(rng: np.random.Generator, n: int) -> Floats:
    return np.rint(rng.lognormal(6, 1.2, n))


def pareto(rng: np.random.Generator, n: int) -> Floats:
    return np.rint(1000 * (rng.pareto(1.1, n) + 1))


def bimodal(rng: np.random.Generator, n: int) -> Floats:
    return np.rint(np.where(rng.random(n) < 0.9, rng.normal(100, 10, n), rng.normal(100_000, 5_000, n)))


def constant(rng: np.random.Generator, n: int) -> Floats:
    return np.full(n, 7.0)


def ascending(rng: np.random.Generator, n: int) -> Floats:
    return np.arange(n, dtype=np.float64)


def descending(rng: np.random.Generator, n: int) -> Floats:
    return -np.arange(n, dtype=np.float64)


def clusters_of_all_magnitudes(rng: np.random.Generator, n: int) -> Floats:
    return np.rint(10.0 ** rng.integers(2, 14, n) * (1 + rng.random(n) / 100))


def two_values(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < 0.37, np.float64(3), np.float64(1e15))


def zeros_and_ones(rng: np.random.Generator, n: int) -> Floats:
    return (rng.random(n) < 0.3).astype(np.float64)


def few_integers(rng: np.random.Generator, n: int) -> Floats:
    return rng.poisson(20, n).astype(np.float64)


def zeros_and_lognormal(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < 0.6, 0, np.rint(rng.lognormal(7, 1, n)))


def round_numbers_and_lognormal(rng: np.random.Generator, n: int) -> Floats:
    return np.where(rng.random(n) < 0.5, rng.integers(1, 400, n) * 100, np.rint(rng.lognormal(9, 1, n)))


def long_run_then_outliers(rng: np.random.Generator, n: int) -> Floats:
    return np.concatenate([np.full(n - n // 50, 5.0), 1e9 + np.arange(n // 50)])


def tiny_and_huge_in_turn(rng: np.random.Generator, n: int) -> Floats:
    return np.where(np.arange(n) % 2 == 0, 1.0 + np.arange(n) % 10, np.float64(1e17))


def beyond_float32(rng: np.random.Generator, n: int) -> Floats:
    """A million neighbours that a 32-bit float holds for 8 values."""
    return np.float64(2**40) + rng.integers(0, 1_000_000, n).astype(np.float64)


def negative(rng: np.random.Generator, n: int) -> Floats:
    return np.rint(rng.normal(-500, 300, n))


def dense_then_sparse(rng: np.random.Generator, n: int) -> Floats:
    """Returns values without a gap, whose distance between neighbours leaps a million times."""
    values: Floats = np.where(rng.random(n) < 0.5, rng.uniform(1000, 1100, n), rng.uniform(1100, 1e8, n))
    return np.rint(values)


def drifting(rng: np.random.Generator, n: int) -> Floats:
    return np.rint(rng.lognormal(6, 0.5, n) * (1 + 10 * np.arange(n) / n))


def steep_at_the_top(rng: np.random.Generator, n: int) -> Floats:
    """Returns values of both signs, each a multiple of the one before."""
    values: Floats = rng.permutation(1e17 / (1 + np.arange(n) ** 1.5)) * rng.choice([-1.0, 1.0], n)
    return np.rint(values)


DISTRIBUTIONS: list[Callable[[np.random.Generator, int], Floats]] = [
    lognormal,
    pareto,
    bimodal,
    constant,
    ascending,
    descending,
    clusters_of_all_magnitudes,
    two_values,
    zeros_and_ones,
    few_integers,
    zeros_and_lognormal,
    round_numbers_and_lognormal,
    long_run_then_outliers,
    tiny_and_huge_in_turn,
    beyond_float32,
    negative,
    dense_then_sparse,
    drifting,
    steep_at_the_top,
]
