"""Frames: whatever cells go in come out, all or those asked for; damaged bytes are told, never read."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.rollups.cell import Cell
from aggregator.rollups.series import LATENCY, OF_USAGE, series_of
from aggregator.rollups.totals import ABSENT, Totals
from aggregator.segments.compression import CorruptFrame
from aggregator.segments.frame import pack_frame
from aggregator.segments.gathering import FullCell, PackedOverflow
from aggregator.segments.unpacked_frame import Frames, unpack_frame
from tests.support.merged_frames import check_merged

NAMES = (LATENCY, b":gpt-4o", b":", b"^gpt-4o")
PRICES = (2_500_000, -1_250_000, 600_000)

counts = st.integers(0, 5) | st.integers(0, 2**32 - 1)
costs = st.integers(0, 2**62 - 1)


def usage_row(tokens: tuple[int, ...], own_costs: tuple[int, int] | None, priced: bool) -> list[int]:
    """Returns one row; its costs follow from the tokens where they are priced and not stated."""
    if not priced:
        return [*tokens, ABSENT, ABSENT, ABSENT]
    by_price = tokens[0] * PRICES[0] + tokens[3] * PRICES[1] + tokens[4] * PRICES[2], tokens[1] * 10_000_000
    input_cost, output_cost = own_costs or by_price
    return [*tokens, max(input_cost, 0), output_cost, 0]


usage = st.builds(usage_row, st.tuples(*[counts] * 5), st.none() | st.tuples(costs, costs), st.booleans())


@st.composite
def rows(draw: st.DrawFn, name: bytes) -> bytes:
    """Packed rows of a series."""
    if name == LATENCY:
        latencies = draw(st.lists(st.integers(-(2**40), 2**40) | st.integers(0, 50), max_size=6))
        return np.array(latencies, dtype="<i8").tobytes()
    drawn = draw(st.lists(usage, max_size=6))
    return OF_USAGE.rows(np.array(drawn, dtype=np.int64).reshape(-1, 8))


@st.composite
def full_cells(draw: st.DrawFn) -> FullCell:
    """A cell as a writer leaves it: what is in it, and beside it where it has totals."""
    cell, beside = Cell(draw(st.integers(0, 2**40)), draw(st.integers(0, 100))), {}
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True)):
        layout = series_of(name).layout
        in_cell = draw(rows(name))
        if in_cell:
            cell.rows[name] = in_cell
        kind = draw(st.integers(0, 3))
        if kind & 1:
            # So far from the ends of 64 bits that they may be added up in any order.
            totals = draw(st.lists(st.integers(-(2**58), 2**58), min_size=layout.width, max_size=layout.width))
            cell.totals[name] = np.array(totals, dtype="<i8").tobytes()
        if kind & 2:
            cell.large[name] = draw(st.lists(st.integers(0, 2**200), min_size=layout.width, max_size=layout.width))
        if kind:
            sketches = draw(st.sampled_from([[], [bytes([at] * at) for at in range(layout.metrics)]]))
            beside[name] = PackedOverflow(draw(rows(name)), sketches)
    return FullCell(cell, beside)


frames = st.dictionaries(st.integers(0, 2**40 - 1), full_cells(), max_size=4)


def in_order(full: FullCell) -> tuple[int, int, dict[bytes, object], dict[bytes, bytes], dict[bytes, Totals], object]:
    """All that a cell says, rows by their values: their order says nothing."""
    cell, beside = full
    unpacked = {name: sorted(series_of(name).unpack(packed)) for name, packed in cell.rows.items()}
    of_beside = {
        name: (sorted(series_of(name).unpack(packed)), sketches) for name, (packed, sketches) in beside.items()
    }
    return cell.calls, cell.errors, unpacked, cell.totals, cell.large, of_beside  # type: ignore[return-value]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=60)
@given(frames)
def test_come_back(cells: dict[int, FullCell]) -> None:
    """All that a cell counts, and all that is beside it; nothing else."""
    found = unpack_frame(pack_frame(cells))
    assert {place: in_order(full) for place, full in found.items()} == {
        place: in_order(full) for place, full in cells.items()
    }


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=30)
@given(frames, st.sets(st.integers(0, 2**40 - 1)), st.data())
def test_only_what_is_wanted(cells: dict[int, FullCell], more: set[int], data: st.DataObject) -> None:
    """The cells asked for are as if all had been read."""
    packed = pack_frame(cells)
    wanted = data.draw(st.sets(st.sampled_from(sorted(cells)))) if cells else set()
    found = unpack_frame(packed, wanted | more)
    assert set(found) == (wanted | more) & set(cells)
    every = unpack_frame(packed)
    assert all(in_order(found[place]) == in_order(every[place]) for place in found)


def test_costs_of_one_price_take_nothing() -> None:
    """A thousand priced rows take no more than their tokens do without prices."""
    rng = np.random.default_rng(1)
    tokens = rng.integers(1, 4_000, (1_000, 2))
    values = np.zeros((1_000, 8), dtype=np.int64)
    values[:, 0], values[:, 1], values[:, 2] = tokens[:, 0], tokens[:, 1], tokens.sum(axis=1)
    unpriced = values.copy()
    unpriced[:, 5:7] = ABSENT
    values[:, 5], values[:, 6] = values[:, 0] * 2_500_000, values[:, 1] * 10_000_000
    sizes = [
        len(pack_frame({1: FullCell(Cell(1_000, 0, {b":m": OF_USAGE.rows(of)}), {})})) for of in (unpriced, values)
    ]
    assert sizes[1] <= sizes[0] + 40
    assert sizes[0] < 1_000 * 4.5


def test_damage_is_found() -> None:
    """One wrong byte anywhere, or a missing end, is an error, and gives no cell."""
    cells = {1: FullCell(Cell(3, 1, {LATENCY: np.array([5, 7, 9], dtype="<i8").tobytes()}), {})}
    packed = pack_frame(cells)
    assert unpack_frame(packed)
    for at in range(len(packed)):
        damaged = packed[:at] + bytes([packed[at] ^ 0x55]) + packed[at + 1 :]
        with pytest.raises(CorruptFrame):
            unpack_frame(damaged)
        with pytest.raises(CorruptFrame):
            unpack_frame(packed[:at])


@given(st.lists(frames, min_size=1, max_size=3), st.data(), st.booleans(), st.booleans(), st.booleans())
@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)
def test_many_at_once_count_as_each_does(
    many: list[dict[int, FullCell]], data: st.DataObject, trees: bool, latency_values: bool, usage_values: bool
) -> None:
    """Cells that are added to buckets from their frames come to what they come to one by one; so do their values."""
    cells = [of_one[place] for of_one in many for place in sorted(of_one)]
    buckets = {at: data.draw(st.integers(0, 1)) for at in range(len(cells)) if data.draw(st.booleans())}
    check_merged([pack_frame(one) for one in many], cells, buckets, trees, latency_values, usage_values)


@given(st.lists(frames, min_size=1, max_size=4))
@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=30)
def test_cells_are_found_in_their_frame(many: list[dict[int, FullCell]]) -> None:
    """Whole cells of several frames are as they are of each alone; what a frame does not hold is not found in it."""
    together = Frames([pack_frame(one) for one in many])
    for at, of_one in enumerate(many):
        alone = unpack_frame(pack_frame(of_one))
        places = sorted({place for one in many for place in one})
        found = together.find(np.full(len(places), at), np.array(places, dtype=np.int64)).tolist()
        here = {place: position for place, position in zip(places, found, strict=True) if position >= 0}
        assert here.keys() == alone.keys()
        assert set(together.frame_of[list(here.values())].tolist()) <= {at}
        for place, full in zip(here, together.full_cells(list(here.values())), strict=True):
            assert in_order(full) == in_order(alone[place])
