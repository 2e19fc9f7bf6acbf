"""Quantiles of many series at once, of those that have few rows and nothing else: one sort for all of a metric.

One by one a series takes some 15 µs, however few its values are; an answer asks that of each bucket, model and metric.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from aggregator.rollups.accumulator import BucketSeries
from aggregator.rollups.series import Series
from aggregator.rollups.totals import ABSENT, Integers
from aggregator.rollups.values import Values

# Sorting more by itself takes as long as all that is done besides; all of these together stay in few megabytes.
ROWS_MAX = 1_000
_INTEGER_BITS = 63


class RowQuantiles:
    """The exact quantiles of those of some series that have at most ROWS_MAX rows, no sketch and no large row."""

    def __init__(self, series: Series, keys: Sequence[BucketSeries], values: Mapping[BucketSeries, Values]) -> None:
        self._costs_at = series.layout.costs_at
        self.place_of: dict[BucketSeries, int] = {}
        """By key, which of the quantiles are its own."""
        rows: list[bytes] = []
        for key in keys:
            of_key = values.get(key)
            if of_key is None or of_key.sketches or of_key.large:
                continue
            packed = b"".join(of_key.rows)
            if len(packed) <= ROWS_MAX * series.row_bytes:
                self.place_of[key] = len(rows)
                rows.append(packed)
        counts = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows)) // series.row_bytes
        self._columns = series.values(b"".join(rows)).T
        self._of = np.repeat(np.arange(len(rows)), counts)

    def quantiles(self, metric: int, wanted: Sequence[float]) -> list[list[float | None]]:
        """Return for each wanted quantile (0-1) that of each place; None where the metric has no value there."""
        of, values = self._of, self._columns[metric]
        if metric >= self._costs_at:
            present = values != ABSENT
            of, values = of[present], values[present]
        counts = np.bincount(of, minlength=len(self.place_of))
        if not len(values):
            return [[None] * len(counts) for _ in wanted]
        ordered = _ordered(of, values).astype(np.float64)
        last = np.maximum(counts - 1, 0)
        begins = np.minimum(np.cumsum(counts) - counts, len(ordered) - 1)
        found: list[list[float | None]] = []
        for quantile in wanted:
            ranks = quantile * last
            below = ranks.astype(np.int64)
            low, high = ordered[begins + below], ordered[begins + np.minimum(below + 1, last)]
            of_each: list[float | None] = (low + (high - low) * (ranks - below)).tolist()
            for empty in (counts == 0).nonzero()[0].tolist():
                of_each[empty] = None
            found.append(of_each)
        return found


def _ordered(of: Integers, values: Integers) -> Integers:
    """Return the values in order, those of each series by themselves; `of`, which ascends, says whose each is."""
    lowest = int(values.min())
    bits = (int(values.max()) - lowest).bit_length()
    if bits + int(of[-1]).bit_length() > _INTEGER_BITS:
        return values[np.lexsort((values, of))]
    together = (of << bits) + (values - lowest)
    together.sort()
    found: Integers = (together & ((1 << bits) - 1)) + lowest
    return found
