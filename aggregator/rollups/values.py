"""What percentiles are read from: values themselves, and sketches of those that are too many to be kept."""

from collections.abc import Sequence

import numpy as np

from aggregator.rollups.cell import ROWS_BESIDE_MAX
from aggregator.rollups.packed_sketch import Floats
from aggregator.rollups.series import Row, Series
from aggregator.rollups.sketch import centroids, merged, quantiles
from aggregator.rollups.totals import ABSENT

SERIES_BYTES, ROW_BYTES, LARGE_BYTES = 300, 80, 1_000
"""What is taken besides packed bytes: by a series of a bucket, a piece of bytes, numbers in Python's integers."""


class Values:
    """What percentiles of one series are read from: its rows, where they are still kept, and sketches."""

    __slots__ = ("_columns", "large", "rows", "sketches")

    def __init__(self) -> None:
        self.rows: list[bytes] = []
        self.large: list[Row] = []
        self.sketches: list[list[bytes]] = []
        self._columns: Floats | None = None

    @property
    def kept_bytes(self) -> int:
        """About how much memory it takes."""
        sketches = sum(ROW_BYTES * len(one) + sum(map(len, one)) for one in self.sketches)
        return SERIES_BYTES + sum(map(len, self.rows)) + sketches + LARGE_BYTES * len(self.large)

    def quantiles(
        self, series: Series, metric: int, wanted: Sequence[float], minimum: float, maximum: float
    ) -> list[float] | None:
        """Quantiles (0-1) of a metric between its exact ends; None where no value is here."""
        if self._columns is None:
            self._columns = series.values(b"".join(self.rows)).T.astype(np.float64)
        values = self._columns[metric]
        if metric >= series.layout.costs_at:
            values = values[values != ABSENT]
        if self.large:
            values = np.concatenate([values, [float(row[metric]) for row in self.large if metric < len(row)]])
        sketches = [sketch[metric] for sketch in self.sketches if sketch[metric]]
        if not sketches and not len(values):
            return None
        return quantiles(sketches, values, wanted, minimum, maximum)

    def compact(self, series: Series) -> None:
        """Keep sketches alone of rows that are many, and one sketch of several."""
        if sum(map(len, self.rows)) <= ROWS_BESIDE_MAX * series.row_bytes and len(self.sketches) < 2:
            return
        columns = series.values(b"".join(self.rows)).T.astype(np.float64)
        of_metrics: list[bytes] = []
        for metric, values in enumerate(columns):
            present = values[values != ABSENT] if metric >= series.layout.costs_at else values
            of_metrics.append(merged([one[metric] for one in self.sketches if one[metric]], present))
        self.rows, self.sketches, self._columns = [], [of_metrics], None

    def counts_up_to(self, series: Series, metric: int, bounds: Floats) -> Floats:
        """How many values of a metric are at most each of `bounds`, which ascend; a centroid counts at its mean."""
        values = series.values(b"".join(self.rows)).T[metric].astype(np.float64)
        if metric >= series.layout.costs_at:
            values = values[values != ABSENT]
        large = np.array([float(row[metric]) for row in self.large if metric < len(row)])
        means, weights = centroids([sketch[metric] for sketch in self.sketches if sketch[metric]])
        counts = np.searchsorted(np.sort(np.concatenate([values, large])), bounds, side="right").astype(np.float64)
        if len(means):
            ends = np.concatenate([[0.0], np.cumsum(np.abs(weights))])
            counts += ends[np.searchsorted(means, bounds, side="right")]
        return counts
