"""A stored cell: it comes back, and its fields are apart from all others of its block."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from aggregator.rollups.cell import CELL_CODEC, SKETCHES_CODEC, Cell, place_of, rows_field, sketches_field
from aggregator.rollups.series import LATENCY, model_series

# Around the ends of 64 bits, and far beyond.
EDGES = [sign * 2**bits + step for sign in (1, -1) for bits in (63, 64, 100) for step in (-1, 0, 1)]
numbers = st.integers(-10, 10) | st.sampled_from(EDGES) | st.integers()
names = st.just(LATENCY) | st.text().map(model_series) | st.binary()
by_series = st.dictionaries(names, st.binary(), max_size=3)


@given(
    st.builds(
        Cell, numbers, numbers, by_series, by_series, st.dictionaries(names, st.lists(numbers, max_size=8), max_size=2)
    )
)
def test_cells_come_back(cell: Cell) -> None:
    """Whatever their counts and the sums of large rows; bytes as bytes."""
    assert CELL_CODEC.unpack(CELL_CODEC.pack(cell)) == cell


@given(st.lists(st.binary(), max_size=8))
def test_sketches_come_back(sketches: list[bytes]) -> None:
    """The sketches of all metrics come back, empty ones too."""
    assert SKETCHES_CODEC.unpack(SKETCHES_CODEC.pack(sketches)) == sketches


def test_cells_share_no_list() -> None:
    """A new cell is empty, whatever was added to others."""
    Cell().rows[LATENCY] = b"x"
    assert Cell() == Cell(0, 0, {}, {}, {})


def test_fields_of_a_block_differ() -> None:
    """Slots, views, what is beside a cell, and series, whatever their names."""
    places = [place_of(slot, view) for slot, view in product((0, 1, 255, 256, 287), (0, 1, 255, 2**24 - 1))]
    series = [LATENCY, *map(model_series, ("", "l", "r", "s", ":", "é"))]
    fields = [
        *places,
        *(field(place, name) for field in (rows_field, sketches_field) for place in places for name in series),
    ]
    assert len(set(fields)) == len(fields)
    assert {len(place) for place in places} == {5}


def test_places_are_in_order() -> None:
    """A place leads back to its slot and view: two bytes and three."""
    place = place_of(287, 70_000)
    assert (int.from_bytes(place[:2], "big"), int.from_bytes(place[2:], "big")) == (287, 70_000)


def test_what_is_beside() -> None:
    """A cell names each series with totals or large rows once as being beside it, and none whose rows are in it."""
    cell = Cell(rows={b"l": b"", b":a": b""}, totals={b":b": b"", b":c": b""}, large={b":a": [], b":c": []})
    assert cell.overflow == [b":b", b":c", b":a"]


def test_stored_form() -> None:
    """Shards on disk are read by the next version: an array of two counts and three maps."""
    packed = CELL_CODEC.pack(Cell(2, 1, {b"l": b"\1\2"}))
    assert packed == bytes.fromhex("95 02 01 81 c4016c c4020102 80 80")
