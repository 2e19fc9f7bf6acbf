"""Cells: which of them count a batch, what must be read before, and what is written after."""

import itertools

from aggregator.layout.write import ShardWrite
from aggregator.objects.frame_cache import FrameCache
from aggregator.rollups.cell import CELL_CODEC, place_of, rows_field, sketches_field
from aggregator.rollups.levels import HOURS, LEVELS
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, model_series
from aggregator.rollups.tally import PackedTally
from aggregator.writing.cell_cache import Cells
from tests.support.cell_store import DAY, KEYS, DictionaryStore, tally
from tests.support.cell_values import CELL, KEY, LARGE, LARGE_COST, PLACE, PRICED, UNPRICED, A, B
from tests.support.vectors import pack_usage

MIDNIGHT = DAY * 1440


def calls_by_cell(gained: dict[tuple[int, int], dict[int, PackedTally]]) -> dict[tuple[int, str, int, int, int], int]:
    """Returns what a batch writes: by project, level, block, slot and view, how many calls."""
    write = ShardWrite()
    blocks, _ = Cells(KEYS, lambda wanted: {}, FrameCache(None)).add(gained, {}, write, {})
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
    """One minute of two projects is in two blocks of each level."""
    calls = calls_by_cell({(project, MIDNIGHT): {0: tally([project]).packed()} for project in (1, 2)})
    assert len(calls) == 2 * len(LEVELS)


def test_gains_are_never_changed() -> None:
    """Gains of three minutes in one hour are added up in the hour, rows in order, and stay what they are by
    themselves."""
    tallies = {at: tally([at], {"a": [UNPRICED, LARGE], "b": [PRICED] * 20}) for at in (0, 5, 9)}
    gained = {(1, MIDNIGHT + at): {0: one.packed()} for at, one in tallies.items()}
    write = ShardWrite()
    Cells(KEYS, lambda wanted: {}, FrameCache(None)).add(gained, {}, write, {})
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
    """A cell whose series have few rows is read with them: nothing is beside it."""
    store = DictionaryStore()
    for _ in range(2):
        store.add({CELL: tally([5], {"a": [UNPRICED]})})
        store.forget()
    assert store.asked == [CELL, CELL]


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
    """The model without a name is apart from the latencies in rows, totals and sketches; so are models called `l` and
    `:`."""
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
    """Returns the slots that are read again, of ten cells in an hour that were used one after the other in batches of
    two."""
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
    """Trimming thirty cells, ten in each level, keeps whole batches, those used last: nine tenths of what there may be,
    or less."""
    assert read_again_after_trim(30) == []
    assert read_again_after_trim(29) == [0, 1]
    assert read_again_after_trim(20) == [0, 1, 2, 3]
    assert read_again_after_trim(19) == [0, 1, 2, 3, 4, 5]
    assert read_again_after_trim(13) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_trim_keeps_all_of_the_batch() -> None:
    """However few are to be kept: what was just used is the last to go."""
    assert read_again_after_trim(1) == read_again_after_trim(0) == [0, 1, 2, 3, 4, 5, 6, 7]


def test_rows_in_the_test_are_packed() -> None:
    """The rows that these tests call large are large, and no others."""
    assert [pack_usage(one) is None for one in (UNPRICED, PRICED, LARGE, LARGE_COST)] == [False, False, True, True]
