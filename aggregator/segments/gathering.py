"""What cells hold, gathered by series: the form in which a frame is packed."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aggregator.rollups.cell import Cell
from aggregator.rollups.series import series_of
from aggregator.rollups.totals import Totals

HAS_TOTALS, HAS_LARGE, HAS_SKETCHES, FOLLOWS = 1, 2, 4, 8
HAS_MORE = HAS_TOTALS | HAS_LARGE | HAS_SKETCHES


class PackedOverflow(NamedTuple):
    """What is beside a cell of one series: rows, and a sketch for each metric (or none at all)."""

    rows: bytes
    sketches: list[bytes]


class FullCell(NamedTuple):
    """A cell, and by series what is beside it."""

    cell: Cell
    beside: dict[bytes, PackedOverflow]


NO_OVERFLOW = PackedOverflow(b"", [])


class OfSeries:
    """A series of some cells: which of them, in their order, with the rows in each; of those that have more than rows,
    by their position here, what that is; of which the rows follow.
    """

    __slots__ = ("cells", "follow", "more", "rows", "series")

    def __init__(self, name: bytes) -> None:
        self.series = series_of(name)
        self.cells: list[int] = []
        self.rows: list[bytes] = []
        self.more: dict[int, More] = {}
        self.follow: list[int] = []


class More(NamedTuple):
    """What a cell has of a series besides rows."""

    totals: bytes | None
    large: Totals | None
    beside: PackedOverflow

    @property
    def kind(self) -> int:
        """Return what there is."""
        return (
            HAS_TOTALS * (self.totals is not None)
            | HAS_LARGE * (self.large is not None)
            | HAS_SKETCHES * bool(self.beside.sketches)
        )


def gather(cells: Iterable[FullCell], are_facets: Sequence[bool]) -> dict[tuple[bytes, bool], OfSeries]:
    """Return what cells hold by series, that of facets apart."""
    found: tuple[dict[bytes, OfSeries], dict[bytes, OfSeries]] = ({}, {})
    for at, ((cell, beside), is_facet) in enumerate(zip(cells, are_facets, strict=True)):
        by_name, of_cell = found[is_facet], cell.rows
        for name, rows in of_cell.items():  # nearly all that most cells have: this loop is much of what sealing takes
            of = by_name.get(name)
            if of is None:
                of = by_name[name] = OfSeries(name)
            of.cells.append(at)
            of.rows.append(rows)
        if beside or cell.totals or cell.large:
            for name in {*cell.totals, *cell.large, *beside}:
                of = by_name.get(name)
                if of is None:
                    of = by_name[name] = OfSeries(name)
                if name not in of_cell:
                    of.cells.append(at)
                    of.rows.append(b"")
                more = More(cell.totals.get(name), cell.large.get(name), beside.get(name, NO_OVERFLOW))
                of.more[len(of.cells) - 1] = more
    return {(name, bool(of_facets)): of for of_facets in (0, 1) for name, of in found[of_facets].items()}
