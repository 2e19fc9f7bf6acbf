"""Rows that are replaced in cells: exact wherever they are still rows, exact in sums and counts wherever they are."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.rollups.cell import ROWS_BESIDE_MAX, ROWS_IN_CELL_MAX, place_of
from aggregator.rollups.levels import LEVELS
from aggregator.rollups.series import OF_USAGE, model_series
from aggregator.rollups.tally import CallTally
from tests.support.cell_store import HOURS_KEY, DictionaryStore, tally
from tests.support.vectors import usage_row, vector

A = model_series("a")
CELL = (HOURS_KEY, place_of(0, 0))
LARGE = [2**63 - 1, 0, 2**63 - 1, 0, 0, 1]


def numbers(count: int, first: int = 1) -> list[list[int]]:
    """Returns so many rows, all of them different, every other one with a price."""
    return [[at, 1, at + 1, 0, 0, 1, *([at, 0, 0, 7] if at % 2 else [])] for at in range(first, first + count)]


def replacing(before: Sequence[list[int]], after: Sequence[list[int]]) -> CallTally:
    """Returns what a batch brings that counts some rows instead of others."""
    made = CallTally()
    for one in before:
        made.rows.replace(model_series, {"a": vector(one)}, {})
    for one in after:
        made.rows.replace(model_series, {}, {"a": vector(one)})
    return made


def store_of(rows: Sequence[list[int]]) -> DictionaryStore:
    """A cell that counts these, batch by batch."""
    store = DictionaryStore()
    for at in range(0, len(rows), 100):
        store.add({CELL: tally(usage={"a": rows[at : at + 100]})})
    return store


@pytest.mark.parametrize("forget", [False, True])
@pytest.mark.parametrize(
    "count", [2, ROWS_IN_CELL_MAX, ROWS_IN_CELL_MAX + 1, ROWS_IN_CELL_MAX + 3, 300, ROWS_BESIDE_MAX]
)
def test_what_is_still_a_row_is_replaced_as_if_it_had_never_been_there(count: int, forget: bool) -> None:
    """A row that is replaced leaves no trace in the cell, beside it, or in both: totals with their ends, and every
    value."""
    rows = numbers(count)
    store = store_of(rows)
    if forget:
        store.forget()
    store.add({CELL: replacing([rows[0], rows[-1]], numbers(1, first=5_000))})
    kept = [usage_row(one) for one in [*rows[1:-1], *numbers(1, first=5_000)]]
    assert store.totals(CELL, A) == OF_USAGE.layout.of_values(kept)
    values = store.values(CELL, A)
    assert dict(values[0]) == {float(row[0]): 1 for row in kept}
    assert store.cells.rows_still_shown == 0


def test_a_series_of_which_nothing_is_left_is_gone() -> None:
    """A series of which nothing is left is gone, so that no row of an answer shows it."""
    for count in (1, 40):
        store = store_of(numbers(count))
        store.add({CELL: replacing(numbers(count), [])})
        cell = store.cell(CELL)
        assert (cell.rows, cell.totals, cell.large) == ({}, {}, {})


@pytest.mark.parametrize("forget", [False, True])
def test_a_compressed_row_is_exact_in_sums_and_counts(forget: bool) -> None:
    """A compressed row is taken out of sums and counts exactly, and reported as one that other answers may still show,
    in each level; as many values are kept as counted."""
    rows = numbers(2_000)
    store = store_of(rows)
    if forget:
        store.forget()
    gone, new = [rows[0], rows[700], rows[-1]], numbers(2, first=9_000)
    store.add({CELL: replacing(gone, new)})
    kept = [usage_row(one) for one in [*rows[1:700], *rows[701:-1], *new]]
    layout = OF_USAGE.layout
    totals, exact = store.totals(CELL, A), layout.of_values(kept)
    assert totals[: layout.minima] == exact[: layout.minima]
    assert totals[layout.minima] in (1, 2)
    assert totals[layout.maxima] == 9_001
    assert store.cells.rows_still_shown == 3 * len(LEVELS)
    assert sum(store.values(CELL, A)[0].values()) == len(kept)


def test_large_rows_are_taken_back() -> None:
    """Large rows are taken back, those beyond 64 bits too, and the cell has none any more."""
    store = store_of(numbers(3))
    store.add({CELL: tally(usage={"a": [LARGE, LARGE]})})
    store.add({CELL: replacing([LARGE], [])})
    assert OF_USAGE.layout.sum(store.totals(CELL, A), 0) == 1 + 2 + 3 + 2**63 - 1
    store.add({CELL: replacing([LARGE], numbers(1, first=4))})
    assert OF_USAGE.layout.sum(store.totals(CELL, A), 0) == 1 + 2 + 3 + 4
    assert store.cell(CELL).large == {}


def test_what_is_not_there_takes_nothing_away() -> None:
    """A block that was past its retention has no row to take back: what came since stays."""
    store = DictionaryStore()
    store.add({CELL: replacing(numbers(2), numbers(1, first=9))})
    assert store.totals(CELL, A) == OF_USAGE.layout.of_values([usage_row(one) for one in numbers(1, first=9)])
    store = store_of(numbers(40))
    store.add({CELL: replacing(numbers(1, first=777), [])})
    assert store.totals(CELL, A) == OF_USAGE.layout.of_values([usage_row(one) for one in numbers(40)])


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_any_replacements_come_to_what_is_left(data: st.DataObject) -> None:
    """Rows that come, change and go in any batches: the totals are those of the rows that are left."""
    store, left = DictionaryStore(), list[list[int]]()
    row = st.sampled_from([*numbers(4), LARGE])
    for _ in range(data.draw(st.integers(1, 6))):
        gone = data.draw(st.lists(st.sampled_from(left), max_size=3)) if left else []
        gone = [one for at, one in enumerate(gone) if gone[: at + 1].count(one) <= left.count(one)]
        new = data.draw(st.lists(row, max_size=9))
        store.add({CELL: replacing(gone, new)})
        for one in gone:
            left.remove(one)
        left += new
        if data.draw(st.booleans()):
            store.forget()
    layout = OF_USAGE.layout
    exact = layout.of_values([usage_row(one) for one in left])
    assert store.totals(CELL, A)[: layout.minima] == exact[: layout.minima]
