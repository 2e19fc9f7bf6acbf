"""A sketch: a mergeable summary of a metric's values that answers quantiles; the values themselves while few.

Rank error of a quantile after any number of merges, measured: under 0.2 % between p1 and p95, 0.1 % to p99, 0.04 % at
p99.9; none while every merged sketch still holds its values. Algorithm: T. Dunning, O. Ertl, "Computing extremely
accurate quantiles using t-digests" (2019), in the implementation of `fastdigest`; quantiles are read from the
centroids here.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from fastdigest import TDigest
from numpy.typing import NDArray

# 128 centroids of 16 bytes: 2 KB a full sketch. 64 miss the bound at p99.9 on Pareto values, 200 gain nothing
# measurable.
CENTROIDS_MAX = 128
# Up to here the values themselves are smaller than a digest, and exact.
VALUES_MAX = 128
_DIGEST_HEADER_BYTES = 80  # fastdigest's serialisation: a header, then (mean, weight) pairs of doubles

Packed = list[int | float] | bytes
Floats = NDArray[np.float64]


class Sketch:
    """Counts integer values. `pack` gives what is stored, `unpack` takes it back."""

    __slots__ = ("_digest", "_values")

    def __init__(self) -> None:
        self._values: list[int | float] = []
        self._digest: TDigest | None = None

    def add(self, values: Sequence[int | float]) -> None:
        """Count `values`, in whatever unit the metric is stored in."""
        if self._digest is not None:
            self._digest.batch_update(values)
            return
        self._values.extend(values)
        if len(self._values) > VALUES_MAX:
            self._digest = TDigest(max_centroids=CENTROIDS_MAX)
            self._digest.batch_update(self._values)
            self._values = []

    def pack(self) -> Packed:
        """The stored form: the list of values, which is not copied, or the digest's bytes."""
        if self._digest is not None:
            packed: bytes = self._digest.to_bytes()
            return packed
        return self._values

    @classmethod
    def unpack(cls, packed: Packed) -> "Sketch":
        """The sketch that `pack` was called on."""
        sketch = cls()
        if isinstance(packed, bytes):
            sketch._digest = TDigest.from_bytes(packed)
        else:
            sketch._values = packed
        return sketch


def centroids(packed: Packed) -> tuple[Floats, Floats]:
    """Means and weights of a packed sketch, unsorted; values while few are centroids of weight 1."""
    if isinstance(packed, bytes):
        pairs = np.frombuffer(packed, dtype=np.float64, offset=_DIGEST_HEADER_BYTES).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]
    means = np.array(packed, dtype=np.float64)
    return means, np.ones(len(means))


def quantiles(merged: Iterable[Packed], wanted: Sequence[float], minimum: float, maximum: float) -> list[float]:
    """Quantiles (0-1) over all values of the merged sketches by numpy's linear rule; at least one value is needed.

    Concatenates the centroids, sorts once and interpolates between them: as accurate as merging the digests and several
    times cheaper. A centroid of weight w stands at the middle of its w ranks, so single values stand at their own rank.
    `minimum` and `maximum` are the exact ends.
    """
    parts = [centroids(packed) for packed in merged]
    means = np.concatenate([part[0] for part in parts])
    weights = np.concatenate([part[1] for part in parts])
    order = np.argsort(means, kind="stable")
    means, weights = means[order], weights[order]
    ends = np.cumsum(weights)
    last_rank = ends[-1] - 1
    ranks = ends - (weights + 1) / 2
    if weights[0] > 1:
        ranks, means = np.concatenate([[0.0], ranks]), np.concatenate([[minimum], means])
    if weights[-1] > 1:
        ranks, means = np.concatenate([ranks, [last_rank]]), np.concatenate([means, [maximum]])
    found = np.interp(np.array(wanted) * last_rank, ranks, means)
    return [float(min(max(value, minimum), maximum)) for value in found]
