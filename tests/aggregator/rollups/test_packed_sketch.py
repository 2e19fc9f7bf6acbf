"""The stored form of sketches: pure centroids come back exactly, mixed ones almost, and once stored they stay."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aggregator.rollups.packed_sketch import (
    MOVED_PART,
    Centroids,
    Floats,
    pack_centroids,
    unpack_centroids,
    unpack_each,
)

# Finer than this nothing is kept of mixed means; of those near 2**60 only what is whole.
PART, LARGE = 1 / 256, 2.0**50
# Storings after which nothing moves any more; five were the most among 200,000 sketches made for it.
SETTLED_AFTER = 10

means = st.integers(-100, 100) | st.integers(-(2**40), 2**40) | st.integers(2**60 - 10**6, 2**60)
fractions = st.sampled_from((0.0, 0.25, 1 / 3, 0.999))
weights = st.integers(1, 60) | st.integers(1, 2**31 - 1)
drawn = st.lists(st.tuples(means, fractions, weights, st.booleans()), max_size=40)


def sketch(of: Sequence[tuple[int, float, int, bool]]) -> Centroids:
    """Centroids by ascending mean; only mixed ones have a fraction."""
    by_mean = {mean + (0.0 if pure else fraction): weight if pure else -weight for mean, fraction, weight, pure in of}
    ordered = sorted(by_mean)
    return np.array(ordered, dtype=np.float64), np.array([by_mean[mean] for mean in ordered], dtype=np.float64)


def test_example() -> None:
    """The bytes of the module's docstring; and of a mixed one after it, and one too large for it."""
    stored = pack_centroids(
        [
            (np.array([-4.0, 3.0]), np.array([100.0, 200.0])),
            (np.array([1.5]), np.array([-7.0])),
            (np.array([1e30]), np.array([-7.0])),
            (np.empty(0), np.empty(0)),
        ]
    )
    assert stored == [
        bytes.fromhex("08 01 02 7c ff0f 00 9103 a106"),
        bytes.fromhex("08 01 01 00 8006 1c"),
        bytes.fromhex("ff ea8ca039593e2946 f9ffffff"),
        b"",
    ]


@given(st.lists(drawn, max_size=6))
def test_come_back(of: list[list[tuple[int, float, int, bool]]]) -> None:
    """Weights and pure means exactly, mixed ones within their part of the distance to the nearest neighbour."""
    sketches = [sketch(one) for one in of]
    stored = pack_centroids(sketches)
    for (told, sizes), (found, found_sizes) in zip(sketches, unpack_each(stored), strict=True):
        np.testing.assert_array_equal(found_sizes, sizes)
        np.testing.assert_array_equal(found[sizes > 0], told[sizes > 0])
        if len(told) > 1:
            part = PART if np.abs(told).max() < LARGE else 1
            assert (np.abs(found - told) <= _nearest(told) / MOVED_PART + part + np.spacing(np.abs(told)) * 16).all()
        assert (np.diff(found) >= 0).all()


@given(st.lists(drawn, max_size=6))
@example([[(0, 0.0, 1, False), (1344, 0.25, 1, False), (5440, 0.0, 1, False)]])
def test_stay_as_they_are(of: list[list[tuple[int, float, int, bool]]]) -> None:
    """Means stored again move, if at all, by no more than the first time, and end to move: nothing drifts."""
    read = unpack_each(pack_centroids([sketch(one) for one in of]))
    for _ in range(SETTLED_AFTER):
        again = unpack_each(pack_centroids(read))
        for (told, _sizes), (found, _) in zip(read, again, strict=True):
            atol = np.abs(told).max(initial=0) * 1e-9 + 2 * PART
            assert (np.abs(found - told) <= _nearest(told) / MOVED_PART + atol).all()
        read = again
    for (told, _), (found, _) in zip(read, unpack_each(pack_centroids(read)), strict=True):
        np.testing.assert_allclose(found, told, rtol=0, atol=2 * PART + np.abs(told).max(initial=0) * 1e-9)


@given(st.lists(drawn, max_size=6))
def test_all_at_once(of: list[list[tuple[int, float, int, bool]]]) -> None:
    """Many read at once are those read one by one."""
    stored = pack_centroids([sketch(one) for one in of])
    apart = [unpack_centroids([one]) for one in stored]
    expected = sorted(pair for one in apart for pair in _pairs(one))
    assert sorted(_pairs(unpack_centroids(stored))) == expected


def _nearest(means: Floats) -> Floats:
    """Returns how far each mean is from its nearest neighbour; of one alone, infinite."""
    gaps = np.concatenate([[np.inf], np.diff(means), [np.inf]])
    nearest: Floats = np.minimum(gaps[1:], gaps[:-1])
    return nearest


def _pairs(of: Centroids) -> list[tuple[float, float]]:
    return list(zip(of[0].tolist(), of[1].tolist(), strict=True))


@pytest.mark.parametrize("price", [1_250_000, 2_500_000])
def test_costs_take_what_tokens_take(price: int) -> None:
    """Costs are multiples of a token's price, and are as short as the tokens."""
    rng = np.random.default_rng(3)
    tokens = np.unique(rng.integers(500, 500_000, 250)).astype(np.float64)
    ones = np.ones(len(tokens))
    of_tokens, of_costs = pack_centroids([(tokens, ones), (tokens * price, ones)])
    assert abs(len(of_costs) - len(of_tokens)) <= 8
    np.testing.assert_array_equal(unpack_centroids([of_costs])[0], tokens * price)
