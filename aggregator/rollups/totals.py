"""Totals of the values of several metrics: sum, minimum, maximum, how many are 1 and how many are 0; many at once.

Stored and merged as rows of 64-bit integers. A sum is kept in two parts, what is left of 2^32 and how often it fits, so
that none wraps; in Python's own integers the first part alone may be of any size. What is absent (the cost of an
unpriced row) counts in nothing: its minimum is the largest integer there is, its maximum the smallest.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Totals = list[int]
"""One row, as a list; see `Layout` for what stands where."""

PICO_PER_DOLLAR = 10**12
ABSENT = -1  # in place of a cost; costs are never negative
ROWS, PRICED = 0, 1

_LOW_BITS = 32
_LOW = 2**_LOW_BITS - 1
# A sum whose upper part is below this is within 64 bits.
_HIGH_MAX = 2 ** (62 - _LOW_BITS)
_MOST, _LEAST = 2**63 - 1, -(2**63)


class Layout:
    """Where the totals of so many metrics stand in a row: two counts, then each kind of total, metric by metric.

    Of the metrics from `costs_at` on, values may be ABSENT, and 1 is a dollar.
    """

    def __init__(self, metrics: int, costs_at: int) -> None:
        self.metrics = metrics
        self.costs_at = costs_at
        self.low, self.high, self.ones, self.zeros, self.minima, self.maxima, self.width = range(
            2, 2 + 7 * metrics, metrics
        )
        # By metric, where the number of its values stands.
        self.counts = [ROWS] * costs_at + [PRICED] * (metrics - costs_at)
        # What is one: for a cost, a dollar.
        self.one = np.array([1] * costs_at + [PICO_PER_DOLLAR] * (metrics - costs_at), dtype=np.int64)
        self.packed_none = np.array(self.none(), dtype="<i8").tobytes()
        self._extremes_of_none = np.array(self.none()[self.ones :], dtype=np.int64)

    def sum(self, totals: Totals, metric: int) -> int:
        """The sum of a metric."""
        return totals[self.low + metric] + (totals[self.high + metric] << _LOW_BITS)

    def sums(self, rows: Integers, metric: int) -> list[int]:
        """The sum of a metric in each row, exact."""
        low, high = self._parts(rows, metric)
        if len(high) and (high.max() >= _HIGH_MAX or high.min() <= -_HIGH_MAX):
            return [part + (above << _LOW_BITS) for part, above in zip(low.tolist(), high.tolist(), strict=True)]
        found: list[int] = (low + (high << _LOW_BITS)).tolist()
        return found

    def float_sums(self, rows: Integers, metric: int) -> NDArray[np.float64]:
        """The sum of a metric in each row, as close as a float comes."""
        low, high = self._parts(rows, metric)
        return low + high * float(1 << _LOW_BITS)

    def _parts(self, rows: Integers, metric: int) -> tuple[Integers, Integers]:
        return rows[:, self.low + metric], rows[:, self.high + metric]

    def none(self) -> Totals:
        """Totals of no values."""
        return [0] * self.minima + [_MOST] * self.metrics + [_LEAST] * self.metrics

    def of_values(self, rows: Iterable[Sequence[int]]) -> Totals:
        """Totals of rows of values of any size; a row that ends before `metrics` has no costs."""
        totals = self.none()
        for row in rows:
            totals[ROWS] += 1
            if len(row) > self.costs_at:
                totals[PRICED] += 1
            for metric, value in enumerate(row):
                totals[self.low + metric] += value
                totals[self.ones + metric] += value == (PICO_PER_DOLLAR if metric >= self.costs_at else 1)
                totals[self.zeros + metric] += value == 0
                is_first = totals[self.counts[metric]] == 1  # which may lie beyond the ends of none
                if is_first or value < totals[self.minima + metric]:
                    totals[self.minima + metric] = value
                if is_first or value > totals[self.maxima + metric]:
                    totals[self.maxima + metric] = value
        self.carry(totals)
        return totals

    def merge(self, into: Totals, more: Totals) -> None:
        """Add `more`, which is left alone, to `into`."""
        for minimum, count in enumerate(self.counts, self.minima):
            if more[count]:
                maximum = minimum + self.metrics
                if not into[count] or more[minimum] < into[minimum]:
                    into[minimum] = more[minimum]
                if not into[count] or more[maximum] > into[maximum]:
                    into[maximum] = more[maximum]
        for at in range(self.minima):
            into[at] += more[at]
        self.carry(into)

    def take(self, into: Totals, less: Totals) -> None:
        """Take `less`, which is left alone, from `into`, of which it is a part.

        Minima and maxima stay as they are but where no value is left.
        """
        for at in range(self.minima):
            into[at] -= less[at]
        self.carry(into)
        for metric, count in enumerate(self.counts):
            if not into[count]:
                into[self.minima + metric], into[self.maxima + metric] = _MOST, _LEAST

    def carry(self, totals: Totals) -> None:
        """Bring the sums into their one form."""
        for low, high in zip(range(self.low, self.high), range(self.high, self.ones), strict=True):
            totals[high] += totals[low] >> _LOW_BITS
            totals[low] &= _LOW

    def of_segments(self, values: Integers, starts: Integers, sums_alone: bool = False) -> Integers:
        """Totals of consecutive values, shape (n, metrics), a row for each segment; segments begin at `starts`.

        `sums_alone`: all but counts and sums is as of no values.
        """
        found = np.empty((len(starts), self.width), dtype=np.int64)
        if not len(starts):
            return found
        by_metric, sizes = values.T, np.diff(starts, append=len(values))
        counted, lowest, priced = by_metric, by_metric, sizes
        present = by_metric[self.costs_at :] >= 0
        if not present.all():
            counted, lowest = by_metric.copy(), by_metric.copy()
            counted[self.costs_at :][~present] = 0
            lowest[self.costs_at :][~present] = _MOST
            priced = np.add.reduceat(present[0], starts, dtype=np.int64)
        found[:, ROWS], found[:, PRICED] = sizes, priced if self.costs_at < self.metrics else 0
        if max(int(counted.max()), -int(counted.min())) * int(sizes.max()) <= _MOST:
            found[:, self.low : self.high] = np.add.reduceat(counted, starts, axis=1).T
            found[:, self.high : self.ones] = 0
        else:
            found[:, self.low : self.high] = np.add.reduceat(counted & _LOW, starts, axis=1).T
            found[:, self.high : self.ones] = np.add.reduceat(counted >> _LOW_BITS, starts, axis=1).T
        self.carry_all(found)
        found[:, self.ones :] = self._extremes_of_none
        if not sums_alone:
            for at, same in (self.ones, by_metric == self.one[:, np.newaxis]), (self.zeros, by_metric == 0):
                for metric in same.any(axis=1).nonzero()[0].tolist():  # of few
                    found[:, at + metric] = np.add.reduceat(same[metric], starts, dtype=np.int64)
            found[:, self.minima : self.maxima] = np.minimum.reduceat(lowest, starts, axis=1).T
            maxima = np.maximum.reduceat(by_metric, starts, axis=1).T
            maxima[:, self.costs_at :][maxima[:, self.costs_at :] == ABSENT] = _LEAST
            found[:, self.maxima :] = maxima
        return found

    def merged(self, left: Integers, right: Integers) -> Integers:
        """The rows of both, each added to its counterpart."""
        found = left + right
        np.minimum(left[:, self.minima : self.maxima], right[:, self.minima : self.maxima], out=self._minima(found))
        np.maximum(left[:, self.maxima :], right[:, self.maxima :], out=found[:, self.maxima :])
        self.carry_all(found)
        return found

    def merged_segments(self, totals: Integers, starts: Integers) -> Integers:
        """The rows of each segment as one; segments begin at `starts`. Of rows that end with the sums, the rest is as
        of no values.
        """
        if len(starts) == len(totals) and totals.shape[1] == self.width:
            return totals
        found = np.empty((len(starts), self.width), dtype=np.int64)
        if totals.shape[1] < self.width:
            np.add.reduceat(totals, starts, axis=0, out=found[:, : self.ones])
            found[:, self.ones :] = self._extremes_of_none
            self.carry_all(found)
            return found
        np.add.reduceat(totals[:, : self.minima], starts, axis=0, out=found[:, : self.minima])
        np.minimum.reduceat(self._minima(totals), starts, axis=0, out=self._minima(found))
        np.maximum.reduceat(totals[:, self.maxima :], starts, axis=0, out=found[:, self.maxima :])
        self.carry_all(found)
        return found

    def _minima(self, totals: Integers) -> Integers:
        return totals[:, self.minima : self.maxima]

    def carry_all(self, totals: Integers) -> None:
        """Bring the sums of all rows into their one form."""
        low = totals[:, self.low : self.high]
        totals[:, self.high : self.ones] += low >> _LOW_BITS
        low &= _LOW

    def unpack(self, stored: bytes) -> Integers:
        """Rows that were stored one after the other."""
        return np.frombuffer(stored, "<i8").reshape(-1, self.width)

    def packed(self, rows: Integers) -> bytes:
        """Rows as they are stored, one after the other."""
        return rows.astype("<i8").tobytes()
