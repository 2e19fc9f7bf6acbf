"""Cells: which of them count a batch, what must be read before, and what is written after."""

import itertools
import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.layout.write import ShardWrite
from aggregator.rollups.cell import CELL_CODEC, ROWS_BESIDE_MAX, ROWS_IN_CELL_MAX, place_of, rows_field, sketches_field
from aggregator.rollups.levels import HOURS, LEVELS
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, model_series
from aggregator.rollups.tally import CallTally, PackedTally
from aggregator.writing import cell_cache as cells
from aggregator.writing.cell_cache import Cells
from tests.support.cell_store import DAY, HOURS_KEY, KEYS, DictionaryStore, tally, values_of
from tests.support.vectors import pack_usage, usage_row

MIDNIGHT = DAY * 1440
KEY = HOURS_KEY
PLACE = place_of(3, 0)
CELL = (KEY, PLACE)
A, B = model_series("a"), model_series("b")

UNPRICED, PRICED = [100, 20, 120, 30, 10, 1], [100, 20, 120, 30, 10, 1, 7, 8, 9, 10]
LARGE, LARGE_COST = [2**63 - 1, 0, 2**63 - 1, 0, 0, 1], [1, 1, 2, 0, 0, 1, 2**70, 0, 0, 5]


def calls_by_cell(gained: dict[tuple[int, int], dict[int, PackedTally]]) -> dict[tuple[int, str, int, int, int], int]:
    """What a batch writes: by project, level, block, slot and view, how many calls."""
    write = ShardWrite()
    blocks = Cells(KEYS, lambda wanted: {}).add(gained, write)
    assert set(blocks) == set(write.fields)
    found = {}
    for key, fields in write.fields.items():
        block, slots = blocks[str(key)]
        assert slots == {int.from_bytes(field[:2], "big") for field in fields if isinstance(field, bytes)}
        assert KEYS.rollups(*block) == key
        for field, packed in fields.items():
            assert isinstance(field, bytes)
            assert isinstance(packed, bytes)
            place = int.from_bytes(field[:2], "big"), int.from_bytes(field[2:], "big")
            found[(block.project, block.level.letter, block.number, *place)] = CELL_CODEC.unpack(packed).calls
    return found


def test_all_levels_are_written() -> None:
    """14:59 and 15:00 are in two slots of every level and two blocks of minutes; 15:00 and 15:04 in one of five
    minutes; each view is apart.
    """
    minutes = {14 * 60 + 59: 0, 15 * 60: 0, 15 * 60 + 4: 0, 15 * 60 + 1: 7}
    calls = calls_by_cell({(1, MIDNIGHT + at): {view: tally([at]).packed()} for at, view in minutes.items()})
    afternoon, evening = DAY * 24 + 14, DAY * 24 + 15
    assert calls == {
        (1, "m", afternoon, 59, 0): 1,
        (1, "m", evening, 0, 0): 1,
        (1, "m", evening, 4, 0): 1,
        (1, "m", evening, 1, 7): 1,
        (1, "f", DAY, 179, 0): 1,
        (1, "f", DAY, 180, 0): 2,
        (1, "f", DAY, 180, 7): 1,
        (1, "h", DAY, 14, 0): 1,
        (1, "h", DAY, 15, 0): 2,
        (1, "h", DAY, 15, 7): 1,
    }


def test_over_midnight() -> None:
    """The last minute of a day and the first of the next are in blocks of their own days."""
    calls = calls_by_cell({(1, MIDNIGHT + at): {0: tally([1]).packed()} for at in (-1, 0)})
    assert set(calls) == {
        *((1, "m", DAY * 24 - 1, 59, 0), (1, "f", DAY - 1, 287, 0), (1, "h", DAY - 1, 23, 0)),
        *((1, "m", DAY * 24, 0, 0), (1, "f", DAY, 0, 0), (1, "h", DAY, 0, 0)),
    }


def test_projects_are_apart() -> None:
    """The same minute of two projects is in two blocks of each level."""
    calls = calls_by_cell({(project, MIDNIGHT): {0: tally([project]).packed()} for project in (1, 2)})
    assert len(calls) == 2 * len(LEVELS)


def test_gains_are_never_changed() -> None:
    """Those of three minutes in one hour come together in it, rows in order, and stay what they are."""
    tallies = {at: tally([at], {"a": [UNPRICED, LARGE], "b": [PRICED] * 20}) for at in (0, 5, 9)}
    gained = {(1, MIDNIGHT + at): {0: one.packed()} for at, one in tallies.items()}
    write = ShardWrite()
    Cells(KEYS, lambda wanted: {}).add(gained, write)
    assert gained == {(1, MIDNIGHT + at): {0: one.packed()} for at, one in tallies.items()}
    hours = write.fields[KEYS.rollups(1, HOURS, DAY)]
    cell = CELL_CODEC.unpack(hours[place_of(0, 0)])  # type: ignore[arg-type]
    assert cell.calls == 3
    assert OF_LATENCY.unpack(cell.rows[LATENCY]) == [(0,), (5,), (9,)]
    assert OF_USAGE.layout.unpack(cell.totals[B])[0, 0] == 60
    assert cell.large[A][0] == 3


def test_nothing_is_read_twice() -> None:
    """An unknown cell is read; what is beside it only of series that outgrow it, once; nothing of one that is new."""
    store = DictionaryStore()
    many = {CELL: tally([5] * 20, {"a": [UNPRICED] * 20, "b": [UNPRICED] * 20})}
    store.add(many)
    assert store.asked == [CELL]
    store.add(many)
    assert store.asked == [CELL]

    store.forget()
    store.asked = []
    store.add({CELL: tally([5] * 16, {"a": [UNPRICED] * 16, "b": [UNPRICED], "c": [UNPRICED] * 20})})
    assert store.asked == [CELL]
    few = {CELL: tally([5], {"a": [UNPRICED], "c": [UNPRICED]})}
    store.add(few)
    beside = [field(PLACE, name) for name in (LATENCY, A) for field in (rows_field, sketches_field)]
    assert store.asked == [CELL, *((KEY, field) for field in beside)]
    store.add(few)
    assert len(store.asked) == 5
    store.add({CELL: tally(usage={"b": [UNPRICED] * 15})})
    assert len(store.asked) == 5
    store.add({CELL: tally(usage={"b": [UNPRICED]})})
    assert store.asked[5:] == [(KEY, rows_field(PLACE, B)), (KEY, sketches_field(PLACE, B))]


def test_few_rows_are_read_with_their_cell() -> None:
    """Nothing is beside a cell whose series have few rows."""
    store = DictionaryStore()
    for _ in range(2):
        store.add({CELL: tally([5], {"a": [UNPRICED]})})
        store.forget()
    assert store.asked == [CELL, CELL]


def numbers_of(count: int, seed: int = 0) -> list[list[int]]:
    """Usage, all of it different, two thirds priced."""
    rng = random.Random(seed)
    return [
        [rng.randint(0, 2**32 - 1), place, 3, place % 2, 0, 1, *([place, 1, 2, 10**12] if place % 3 else [])]
        for place in range(count)
    ]


def in_batches(count: int, size: int) -> Iterator[CallTally]:
    """So many calls, each with a row of the model."""
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
    """Nothing is kept of their costs."""
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
    """With limits so low that rows move on all the time: totals are exact and each value is kept, in two slots."""
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


def test_only_what_changed_is_written() -> None:
    """A batch of starts, or of few rows, writes the cell alone, one of a model not what is beside it of another."""
    store = DictionaryStore()
    store.add({CELL: tally([5] * 20, {"a": [UNPRICED] * 20, "b": [UNPRICED] * 20})})
    store.add({CELL: tally(calls=1)})
    assert set(store.written) == {CELL}
    store.add({CELL: tally(usage={"b": [UNPRICED] * 16})})
    assert set(store.written) == {CELL}
    store.add({CELL: tally(usage={"b": [UNPRICED]})})
    assert set(store.written) == {CELL, (KEY, rows_field(PLACE, B))}
    store.add({CELL: tally(usage={"b": [UNPRICED] * 512})})
    assert set(store.written) == {CELL, (KEY, rows_field(PLACE, B)), (KEY, sketches_field(PLACE, B))}


def test_the_model_without_a_name() -> None:
    """Its rows, totals and sketches are apart from the latencies'; so are those of models called `l` and `:`."""
    store = DictionaryStore()
    used = {"": [UNPRICED] * 600, "l": [PRICED] * 601, ":": [UNPRICED] * 20}
    store.add({CELL: tally([7] * 602, used)})
    store.forget()
    store.add({CELL: tally([8], {"": [UNPRICED]})})
    assert store.values(CELL, LATENCY) == [{7: 602, 8: 1}]
    counts = {"": 601, "l": 601, ":": 20}
    for model, count in counts.items():
        assert store.values(CELL, model_series(model))[0] == {100: count}
    fields = [field for key, field in store.kept if key == KEY]
    assert len(fields) == 1 + 2 * 3 + 1


def test_cells_of_one_block_are_apart() -> None:
    """Slots and views next to each other: each has its own rows, beside it too, when one batch changes all of them."""
    store = DictionaryStore()
    places = [place_of(slot, view) for slot, view in itertools.product((0, 1, 22, 23), (0, 1, 255, 256, 2**24 - 1))]
    for _ in range(2):
        store.add({(KEY, place): tally([at] * (5 + at), {"a": [UNPRICED] * at}) for at, place in enumerate(places)})
    for at, place in enumerate(places):
        assert store.cell((KEY, place)).calls == 2 * (5 + at)
        assert store.values((KEY, place), LATENCY) == [{at: 2 * (5 + at)}]
        assert store.totals((KEY, place), A)[:2] == [2 * at, 0]


def read_again_after_trim(cells_max: int) -> list[int]:
    """Of ten cells in an hour, used one after the other in batches of two: the slots of those that are then read."""
    store = DictionaryStore()
    cell_keys = [(KEY, place_of(slot, 0)) for slot in range(10)]
    for at in range(0, 10, 2):
        store.add({cell_key: tally([1]) for cell_key in cell_keys[at : at + 2]})
    store.cells.trim(cells_max)
    store.asked = []
    store.add({cell_key: tally([1]) for cell_key in cell_keys})
    assert all(key == KEY for key, _ in store.asked)
    return [int.from_bytes(field[:2], "big") for _, field in store.asked if isinstance(field, bytes)]


def test_trim_keeps_what_was_used_last() -> None:
    """Of thirty cells, ten in each level, whole batches, those used last: nine tenths of what there may be, or less."""
    assert read_again_after_trim(30) == []
    assert read_again_after_trim(29) == [0, 1]
    assert read_again_after_trim(20) == [0, 1, 2, 3]
    assert read_again_after_trim(19) == [0, 1, 2, 3, 4, 5]
    assert read_again_after_trim(13) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_trim_keeps_all_of_the_batch() -> None:
    """However few are to be kept: what was just used is the last to go."""
    assert read_again_after_trim(1) == read_again_after_trim(0) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_rows_in_the_test_are_packed() -> None:
    """What these tests call large is, and nothing else."""
    assert [pack_usage(one) is None for one in (UNPRICED, PRICED, LARGE, LARGE_COST)] == [False, False, True, True]
