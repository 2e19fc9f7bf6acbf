"""Cells that are added to buckets from their frames, many at once, against the same cells one by one."""

from collections.abc import Mapping, Sequence

import numpy as np

from aggregator.rollups.accumulator import BucketSeries, Merged, SeriesTotals
from aggregator.rollups.series import KINDS, LATENCY, series_of
from aggregator.segments.gathering import FullCell
from aggregator.segments.unpacked_frame import Frames


def check_merged(
    packed: Sequence[bytes],
    cells: Sequence[FullCell],
    buckets: Mapping[int, int],
    trees: bool,
    latency_values: bool,
    usage_values: bool,
) -> None:
    """Asserts that cells of frames come to the same together as one by one, and so do their values.

    `cells`: all of these frames, in their order; `buckets`: by their positions, the bucket of those that are added.
    """
    together, one_by_one = Merged(2, trees), Merged(2, trees)
    positions, in_buckets = (np.array([*some], dtype=np.int64) for some in (buckets, buckets.values()))
    Frames(packed).add_to(together, positions, in_buckets, latency_values, usage_values)
    for at, bucket in buckets.items():
        cell, beside = cells[at]
        one_by_one.add_cell(bucket, cell)
        for name in {*cell.rows, *beside}:
            if one_by_one.wants(name) and (latency_values if name == LATENCY else usage_values):
                one_by_one.values_of(bucket, name).rows.append(cell.rows.get(name, b""))
                if name in beside:
                    one_by_one.add_beside(bucket, name, *beside[name])
    assert _said(together) == _said(one_by_one)
    for kind in KINDS:
        needed = Merged(2, trees, [kind], [kind])
        Frames(packed).add_to(needed, positions, in_buckets, latency_values, usage_values)
        for other in KINDS:
            assert _sums(needed.totals(other)) == (_sums(together.totals(kind)) if other is kind else {})


def _sums(totals: SeriesTotals) -> dict[BucketSeries, list[int]]:
    """Returns counts and sums alone."""
    rows = zip(totals.keys, totals.rows.tolist(), strict=True)
    return {key: totals.large.get(key, row)[: totals.series.layout.ones] for key, row in rows}


def _said(merged: Merged) -> object:
    """Returns all that was counted, rows in an order of their own."""
    totals = {
        key: found.large.get(key, row)
        for kind in KINDS
        for found in [merged.totals(kind)]
        for key, row in zip(found.keys, found.rows.tolist(), strict=True)
    }
    values = {
        key: (sorted(series_of(key[1]).unpack(b"".join(of.rows))), sorted(of.sketches))
        for key, of in merged.values.items()
        if any(of.rows) or of.sketches
    }
    return merged.calls, merged.errors, totals, values
