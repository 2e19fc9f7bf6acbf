"""Exact percentiles of a list of numbers, and how far a sketch may be off (behaviour §2)."""

import math
from collections.abc import Sequence
from fractions import Fraction

EXACT_VALUES_MAX = 50


def percentile(ordered: Sequence[Fraction | int], percent: Fraction) -> Fraction:
    """Linear interpolation between the closest ranks, numpy's default; `ordered` ascends and is not empty."""
    position = percent / 100 * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (position - below) * (ordered[above] - Fraction(ordered[below]))


def allowed_range(ordered: Sequence[Fraction | int], percent: Fraction) -> tuple[Fraction | int, Fraction | int] | None:
    """The lowest and highest value within the rank bound; None where the percentile must be exact.

    An answer may lie between two values, so the bound reaches to the next value beyond it on either side.
    """
    if len(ordered) <= EXACT_VALUES_MAX or percent in (0, 100):
        return None
    ranks = max(Fraction(1), _rank_error(percent) * len(ordered))
    position = percent / 100 * (len(ordered) - 1)
    lowest = max(math.ceil(position - ranks) - 1, 0)
    highest = min(math.floor(position + ranks) + 1, len(ordered) - 1)
    return ordered[lowest], ordered[highest]


def _rank_error(percent: Fraction) -> Fraction:
    if percent < 95:
        return Fraction(5, 1000)
    if percent < Fraction("99.9"):
        return Fraction(2, 1000)
    return Fraction(5, 10_000)
