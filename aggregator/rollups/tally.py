"""Calls being counted, before they are added to cells; and rows that were counted before, being replaced."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from aggregator.calls.call import Call
from aggregator.calls.usage_vector import Usage, Vector
from aggregator.rollups.cell import Cell
from aggregator.rollups.series import (
    LATENCY,
    Row,
    model_series,
    pack_latency,
    pack_usage,
    series_of,
    tree_series,
    usage_row,
)

NO_ROWS: Mapping[bytes, bytes] = {}
NO_LARGE: Mapping[bytes, list[Row]] = {}


class PackedTally(msgspec.Struct, frozen=True, gc=False):
    """A tally as cells take it in, which leave it alone: rows of a series are one after the other.

    `lost` and `lost_large`: rows that a cell has counted before and counts no more.
    """

    calls: int
    errors: int
    rows: Mapping[bytes, bytes]
    large: Mapping[bytes, list[Row]]
    lost: Mapping[bytes, bytes] = msgspec.field(default=NO_ROWS)
    lost_large: Mapping[bytes, list[Row]] = msgspec.field(default=NO_LARGE)

    def cell(self) -> Cell:
        """Return what was counted as a cell that keeps all its rows, however many."""
        large = {name: series_of(name).layout.of_values(rows) for name, rows in self.large.items()}
        return Cell(self.calls, self.errors, dict(self.rows), large=large)


class Rows:
    """Rows by series: packed ones, and apart from them those too large to be packed."""

    __slots__ = ("large", "packed")

    def __init__(self) -> None:
        self.packed: dict[bytes, list[bytes]] = {}
        self.large: dict[bytes, list[Row]] = {}

    def add(self, name: bytes, vector: Vector) -> None:
        """Add a row of usage to a series."""
        packed = pack_usage(vector)
        if packed is None:
            self.large.setdefault(name, []).append(usage_row(vector))
        elif name in self.packed:
            self.packed[name].append(packed)
        else:
            self.packed[name] = [packed]

    def add_latency(self, latency_ms: int | None) -> None:
        """Add a latency, if there is one."""
        if latency_ms is None:
            return
        latencies = self.packed.get(LATENCY)
        if latencies is None:
            self.packed[LATENCY] = [pack_latency(latency_ms)]
        else:
            latencies.append(pack_latency(latency_ms))

    def joined(self) -> dict[bytes, bytes]:
        """The packed rows of each series, one after the other."""
        return _joined(self.packed)


class RowChanges:
    """Rows that are counted from now on, and rows that no longer are."""

    __slots__ = ("added", "lost")

    def __init__(self) -> None:
        self.added = Rows()
        self.lost: Rows | None = None

    def replace(self, name_of: Callable[[str], bytes], before: Usage, after: Usage) -> None:
        """Count what a call, or a tree, used instead of what it had used before; `name_of`: the series of a model."""
        for model, vector in after.items():
            if before.get(model) != vector:
                self.added.add(name_of(model), vector)
        for model, vector in before.items():
            if after.get(model) != vector:
                if self.lost is None:
                    self.lost = Rows()
                self.lost.add(name_of(model), vector)


class CallTally:
    """How many calls, how many failed, and rows by series: of the calls, and apart from them of the trees of roots.

    `facets`: the same of those of them that have a facet, by facet. `numbers`: the record numbers of the calls, where
    a batch counts them.
    """

    __slots__ = ("_trees", "calls", "errors", "facets", "numbers", "rows")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.numbers: list[int] = []
        self.rows = RowChanges()
        self.facets: dict[str, CallTally] = {}
        self._trees: RowChanges | None = None  # most groups of calls are of no roots

    def facet(self, facet: str) -> "CallTally":
        """The tally of those that have a facet, to add to."""
        tally = self.facets.get(facet)
        if tally is None:
            tally = self.facets[facet] = CallTally()
        return tally

    def add_end(self, call: Call) -> None:
        """Count what is known of a started call from its end on: its error, its latency and its own usage."""
        self.errors += call.failed
        added = self.rows.added
        added.add_latency(call.latency_ms)
        for model, vector in call.usage.items():
            added.add(model_series(model), vector)

    def add_finished(self, call: Call) -> None:
        """Count a finished call, but not its usage."""
        self.calls += 1
        self.errors += call.failed
        self.rows.added.add_latency(call.latency_ms)

    def take_finished(self, call: Call) -> None:
        """Count a finished call no more that `add_finished` has counted before."""
        self.calls -= 1
        self.errors -= call.failed
        if self.rows.lost is None:
            self.rows.lost = Rows()
        self.rows.lost.add_latency(call.latency_ms)

    @property
    def has_trees(self) -> bool:
        """Whether anything of trees has changed."""
        return self._trees is not None

    @property
    def tree_rows(self) -> RowChanges:
        """The rows of trees, to add to."""
        if self._trees is None:
            self._trees = RowChanges()
        return self._trees

    def packed(self, with_trees: bool = False) -> PackedTally:
        """Return what was counted, of the calls, and if asked of the trees of roots."""
        if self.rows.lost is None and not (with_trees and self._trees is not None):
            added = self.rows.added
            return PackedTally(self.calls, self.errors, added.joined(), added.large)
        changes = [self.rows, self._trees] if with_trees and self._trees is not None else [self.rows]
        rows: dict[bytes, bytes] = {}
        large: dict[bytes, list[Row]] = {}
        lost, lost_large = NO_ROWS, NO_LARGE
        for change in changes:
            rows |= change.added.joined()
            large |= change.added.large
            if change.lost is not None:
                lost = {**lost, **change.lost.joined()}
                lost_large = {**lost_large, **change.lost.large}
        return PackedTally(self.calls, self.errors, rows, large, lost, lost_large)


def tally_of(calls: Iterable[Call]) -> CallTally:
    """Started calls, counted, and the trees of those that are roots."""
    tally = CallTally()
    for call in calls:
        tally.calls += 1
        if call.is_ended:
            tally.add_end(call)
        if call.is_root and call.is_ended:
            tally.tree_rows.replace(tree_series, {}, call.tree_usage())
    return tally


def merge_tallies(tallies: Sequence[PackedTally]) -> PackedTally:
    """Return the sum of several tallies, at least one."""
    if len(tallies) == 1:
        return tallies[0]
    calls = errors = 0
    rows: dict[bytes, list[bytes]] = {}
    large: dict[bytes, list[Row]] = {}
    lost: dict[bytes, list[bytes]] = {}
    lost_large: dict[bytes, list[Row]] = {}
    for packed in tallies:
        calls += packed.calls
        errors += packed.errors
        _collect(rows, packed.rows)
        if packed.large:
            _extend(large, packed.large)
        if packed.lost:
            _collect(lost, packed.lost)
        if packed.lost_large:
            _extend(lost_large, packed.lost_large)
    return PackedTally(calls, errors, _joined(rows), large, _joined(lost), lost_large)


def _collect(into: dict[bytes, list[bytes]], more: Mapping[bytes, bytes]) -> None:
    for name, packed in more.items():
        known = into.get(name)
        if known is None:
            into[name] = [packed]
        else:
            known.append(packed)


def _extend(into: dict[bytes, list[Row]], more: Mapping[bytes, list[Row]]) -> None:
    for name, rows in more.items():
        into.setdefault(name, []).extend(rows)


def _joined(rows: Mapping[bytes, Sequence[bytes]]) -> dict[bytes, bytes]:
    """The packed rows of each series, one after the other."""
    return {name: packed[0] if len(packed) == 1 else b"".join(packed) for name, packed in rows.items()}
