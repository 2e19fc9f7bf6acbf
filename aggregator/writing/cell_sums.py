"""Adds up finer cells, with all that is beside them, and adds what they come to to coarser ones: many at once.

Counts and totals are exact, as of rows that are counted one by one; sketches are merged, of all cells together once.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from aggregator.layout.write import ShardWrite
from aggregator.rollups.cell import Cell
from aggregator.rollups.series import OF_LATENCY, OF_USAGE, Series, series_of
from aggregator.rollups.sketch import merge_each
from aggregator.writing.cached_cell import CachedCell, CachedSeries, add_totals, write_beside
from aggregator.writing.overflow import Overflow


class CellSum(NamedTuple):
    """What several cells come to; rows of a series are as many as these cells have together."""

    cell: Cell
    overflow: dict[bytes, Overflow]


def sum_cells(groups: Sequence[Sequence[CachedCell]]) -> list[CellSum]:
    """Return the sum of each group of cells, which are left alone; what is beside them is at hand."""
    sums = []
    beside: dict[Series, list[tuple[CellSum, bytes, list[CachedCell]]]] = {OF_LATENCY: [], OF_USAGE: []}
    for group in groups:
        total = CellSum(Cell(), {})
        rows: dict[bytes, list[bytes]] = {}
        of_series: dict[bytes, list[CachedCell]] = {}
        for cached in group:
            total.cell.calls += cached.cell.calls
            total.cell.errors += cached.cell.errors
            for name, of_cell in cached.cell.rows.items():
                rows.setdefault(name, []).append(of_cell)
            for name in cached.cell.overflow:
                of_series.setdefault(name, []).append(cached)
        total.cell.rows = {name: b"".join(several) for name, several in rows.items()}
        for name, several_cells in of_series.items():
            beside[series_of(name)].append((total, name, several_cells))
        sums.append(total)
    for series, parts in beside.items():
        _sum_totals(series, parts)
        _sum_beside(series, parts)
    return sums


def _sum_totals(series: Series, parts: Sequence[tuple[CellSum, bytes, list[CachedCell]]]) -> None:
    layout = series.layout
    packed: list[bytes] = []
    starts: list[int] = []
    summed: list[tuple[CellSum, bytes]] = []
    for total, name, several in parts:
        of_name = [cached.cell.totals[name] for cached in several if name in cached.cell.totals]
        if of_name:
            starts.append(len(packed))
            packed += of_name
            summed.append((total, name))
        for cached in several:
            if name in cached.cell.large:
                layout.merge(total.cell.large.setdefault(name, layout.none()), cached.cell.large[name])
    if packed:
        rows = layout.merged_segments(layout.unpack(b"".join(packed)), np.array(starts))
        for (total, name), one in zip(summed, _packed_rows(layout.packed(rows), len(summed)), strict=True):
            total.cell.totals[name] = one


def _sum_beside(series: Series, parts: Sequence[tuple[CellSum, bytes, list[CachedCell]]]) -> None:
    pairs: list[tuple[Overflow, list[Overflow]]] = []
    for total, name, several in parts:
        finer = [cached.overflow[name] for cached in several]
        total.overflow[name] = Overflow(b"".join([one.rows for one in finer]))
        pairs.append((total.overflow[name], finer))
    _merge_sketches(series, pairs)


def add_beside(series: Series, added: Sequence[tuple[CachedCell, CellSum, bytes]], write: ShardWrite) -> None:
    """Add what is beside cells of a series, and the totals of that, to cells of which the same is at hand."""
    if not added:
        return
    layout = series.layout
    both = [(cached, total, name) for cached, total, name in added if name in total.cell.totals]
    if both:
        gained = layout.unpack(b"".join([total.cell.totals[name] for _, total, name in both]))
        add_totals(series, [(cached, name) for cached, _, name in both], gained)
    merged: dict[CachedSeries, list[Overflow]] = {}
    for cached, total, name in added:
        if name in total.cell.large:
            layout.merge(cached.cell.large.setdefault(name, layout.none()), total.cell.large[name])
        overflow, more_beside = cached.overflow.setdefault(name, Overflow()), total.overflow[name]
        overflow.rows += more_beside.rows
        if more_beside.sketches:
            merged[cached, name] = [Overflow(b"", overflow.sketches), more_beside]
    _merge_sketches(series, [(cached.overflow[name], both_of) for (cached, name), both_of in merged.items()])
    write_beside(series, [(cached, name) for cached, _, name in added], merged, write)


def _merge_sketches(series: Series, pairs: Sequence[tuple[Overflow, list[Overflow]]]) -> None:
    """Give each the sketches of several, merged metric by metric."""
    pairs = [(into, several) for into, several in pairs if any(one.sketches for one in several)]
    metrics = range(series.layout.metrics)
    merged = iter(
        merge_each(
            [[one.sketches[metric] for one in several if one.sketches] for _, several in pairs for metric in metrics]
        )
    )
    for into, _ in pairs:
        into.sketches = [next(merged) for _ in metrics]


def _packed_rows(packed: bytes, count: int) -> Iterator[bytes]:
    """Rows of totals that are packed one after the other, each by itself."""
    width = len(packed) // count
    return (packed[at : at + width] for at in range(0, len(packed), width))
