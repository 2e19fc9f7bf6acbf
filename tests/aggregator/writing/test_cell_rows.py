"""Rows of cells: kept singly while few, then as totals and sketches, and exact whatever their size."""

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rollups.cell import ROWS_BESIDE_MAX, ROWS_IN_CELL_MAX, place_of
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, model_series
from aggregator.rollups.tally import CallTally
from aggregator.writing import cached_cell as cells
from tests.support.cell_store import DictionaryStore, tally, values_of
from tests.support.cell_values import CELL, KEY, LARGE, LARGE_COST, PRICED, UNPRICED, A
from tests.support.vectors import usage_row


def numbers_of(count: int, seed: int = 0) -> list[list[int]]:
    """Usage, all of it different, two thirds priced."""
    rng = random.Random(seed)
    return [
        [rng.randint(0, 2**32 - 1), place, 3, place % 2, 0, 1, *([place, 1, 2, 10**12] if place % 3 else [])]
        for place in range(count)
    ]


def in_batches(count: int, size: int) -> Iterator[CallTally]:
    """Returns so many calls, each with a row of the model."""
    told = numbers_of(count)
    for at in range(0, count, size):
        part = told[at : at + size]
        yield tally(range(at, at + len(part)), {"a": part})


@pytest.mark.parametrize("size", [1, 7, 300, 5_000])
@pytest.mark.parametrize("count", [1, 15, 16, 17, 511, 512, 513, 514, 1_200])
def test_what_is_written_is_read_again(count: int, size: int) -> None:
    """Batches through Redis are the same as batches in memory, byte by byte; totals are exact, no value is lost."""
    in_memory, through_redis = DictionaryStore(), DictionaryStore()
    for one, other in zip(in_batches(count, size), in_batches(count, size), strict=True):
        in_memory.add({CELL: one})
        through_redis.forget()
        through_redis.add({CELL: other})
    assert in_memory.kept == through_redis.kept
    assert in_memory.cell(CELL).calls == count
    rows = [usage_row(numbers) for numbers in numbers_of(count)]
    assert in_memory.totals(CELL, A) == OF_USAGE.layout.of_values(rows)
    assert in_memory.totals(CELL, LATENCY) == OF_LATENCY.layout.of_values((at,) for at in range(count))
    kept, told = in_memory.values(CELL, A), values_of(rows, 8)
    assert [metric.total() for metric in kept] == [metric.total() for metric in told]
    if count <= ROWS_BESIDE_MAX:  # beyond, some values are mixed
        assert kept == told
        assert in_memory.values(CELL, LATENCY) == values_of([(at,) for at in range(count)], 1)


@pytest.mark.parametrize("size", [1, 5_000])
@pytest.mark.parametrize("name", [LATENCY, A])
def test_where_rows_are_kept(name: bytes, size: int) -> None:
    """The 16th row still is in the cell; with the 17th all go beside it and into totals, and so with every 17th; when
    more than 512 are beside it, all those become a sketch.
    """
    row_bytes = {LATENCY: 8, A: 36}[name]

    def stored(count: int) -> tuple[int | None, bool, int | None, bool]:
        """Rows in the cell, whether it has totals, rows beside it, whether there are sketches."""
        store = DictionaryStore()
        for batch in in_batches(count, size):
            store.add({CELL: batch})
        cell = store.cell(CELL)
        rows, sketches = store.overflow(CELL, name)
        in_cell = cell.rows.get(name)
        assert all(len(one or b"") % row_bytes == 0 for one in (in_cell, rows))
        counts = [None if one is None else len(one) // row_bytes for one in (in_cell, rows)]
        return counts[0], name in cell.totals, counts[1], sketches is not None

    assert (ROWS_IN_CELL_MAX, ROWS_BESIDE_MAX) == (16, 512)
    assert stored(16) == (16, False, None, False)
    assert stored(17) == (None, True, 17, False)
    if size == 1:
        assert stored(18) == (1, True, 17, False)
        assert stored(17 + 16) == (16, True, 17, False)
        assert stored(17 + 17) == (None, True, 34, False)
        assert stored(30 * 17 + 16) == (16, True, 510, False)
        assert stored(31 * 17) == (None, True, 0, True)
        assert stored(31 * 17 + 30 * 17) == (None, True, 510, True)
        assert stored(31 * 17 + 31 * 17) == (None, True, 0, True)
    else:
        assert stored(512) == (None, True, 512, False)
        assert stored(513) == (None, True, 0, True)


def test_sums_beyond_64_bits_in_a_cell() -> None:
    """Costs near 2^62, each of them packed: 600 of them are more than 64 bits hold."""
    costly = [1, 1, 2, 0, 0, 1, 2**62 - 1, 0, 0, 2**62 - 1]
    store = DictionaryStore()
    for _ in range(6):
        store.add({CELL: tally(usage={"a": [costly] * 100})})
        store.forget()
    totals = store.totals(CELL, A)
    assert [OF_USAGE.layout.sum(totals, metric) for metric in (5, 6, 7)] == [
        *(600 * (2**62 - 1), 600 * (2**62 - 1), 600 * (2**63 - 2)),
    ]
    assert store.cell(CELL).large == {}


@pytest.mark.parametrize("forget", [False, True])
@pytest.mark.parametrize("few", [0, 3, 16, 40])
def test_large_rows(few: int, forget: bool) -> None:
    """Go to exact totals of any size in the cell, and at once to the sketches; other rows stay where they are.

    Two counts of 2^63 - 1 are more than 64 bits hold, and so is a cost of 2^70.
    """
    store = DictionaryStore()
    told: list[list[int]] = [UNPRICED, PRICED] * (few // 2) + [PRICED] * (few % 2)
    batches = [told, [LARGE], [LARGE, LARGE_COST, UNPRICED], [PRICED] * 30, [LARGE_COST] * 2]
    for batch in batches:
        store.add({CELL: tally(usage={"a": batch}, calls=len(batch))})
        if forget:
            store.forget()
        if batch == [LARGE]:
            cell, (rows, sketches) = store.cell(CELL), store.overflow(CELL, A)
            assert (A in cell.rows, A in cell.totals) == (0 < few <= 16, few > 16)
            assert cell.large == {A: OF_USAGE.layout.of_values([usage_row(LARGE)])}
            assert rows == b""
            assert sketches is not None
    rows_told = [usage_row(numbers) for batch in batches for numbers in batch]
    totals = store.totals(CELL, A)
    assert totals == OF_USAGE.layout.of_values(rows_told)
    assert OF_USAGE.layout.sum(totals, 0) > 2**64
    assert totals[OF_USAGE.layout.maxima + 5] == 2**70
    assert store.values(CELL, A) == values_of(rows_told, 8)


def test_only_large_rows_of_no_price() -> None:
    """No costs are kept of large rows without a price."""
    store = DictionaryStore()
    store.add({CELL: tally(usage={"a": [LARGE]})})
    _, sketches = store.overflow(CELL, A)
    assert sketches is not None
    assert [bool(sketch) for sketch in sketches] == [True] * 5 + [False] * 3
    assert store.cell(CELL).overflow == [A]


usages = st.sampled_from([UNPRICED, PRICED, LARGE, LARGE_COST, [0] * 6, [1, 1, 2, 0, 0, 1, 0, 0, 0, 10**12]])
batches = st.lists(
    st.tuples(
        st.lists(st.integers(-3, 3), max_size=6),
        st.dictionaries(st.sampled_from(["", "a"]), st.lists(usages, min_size=1, max_size=6), max_size=2),
        st.sampled_from([3, 4]),
        st.booleans(),
    ),
    max_size=8,
)


@given(batches, st.integers(0, 4), st.integers(0, 8))
def test_any_batches_through_few_rows(
    told: list[tuple[list[int], dict[str, list[list[int]]], int, bool]], in_cell_max: int, beside_max: int
) -> None:
    """Totals are exact and each value is kept, in two slots, where limits are so low that rows move on all the time."""
    store = DictionaryStore()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(cells, "ROWS_IN_CELL_MAX", in_cell_max)
        patched.setattr(cells, "ROWS_BESIDE_MAX", beside_max)
        for latencies_ms, usage, slot, forget in told:
            store.add({(KEY, place_of(slot, 0)): tally(latencies_ms, usage)})
            if forget:
                store.forget()
    for slot in {slot for _, _, slot, _ in told}:
        mine = [(latencies_ms, usage) for latencies_ms, usage, of_slot, _ in told if of_slot == slot]
        cell_key = (KEY, place_of(slot, 0))
        assert store.cell(cell_key).calls == sum(len(latencies_ms) for latencies_ms, _ in mine)
        latencies = [(one,) for latencies_ms, _ in mine for one in latencies_ms]
        assert store.totals(cell_key, LATENCY) == OF_LATENCY.layout.of_values(latencies)
        assert store.values(cell_key, LATENCY) == values_of(latencies, 1)
        for model in ("", "a"):
            rows = [usage_row(numbers) for _, usage in mine for numbers in usage.get(model, [])]
            name = model_series(model)
            assert store.totals(cell_key, name) == OF_USAGE.layout.of_values(rows)
            assert store.values(cell_key, name) == values_of(rows, 8)
