"""What follows from other cells of a frame comes back with all it had; what does not follow is stored."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aggregator.rollups.accumulator import Merged
from aggregator.rollups.cell import Cell, first_place
from aggregator.rollups.series import LATENCY, OF_LATENCY, OF_USAGE, Row, series_of
from aggregator.rollups.view_numbers import USERS_FROM
from aggregator.rollups.views import ALL_CALLS
from aggregator.segments import following
from aggregator.segments.columns import Integers
from aggregator.segments.frame import pack_frame
from aggregator.segments.gathering import FullCell, PackedOverflow
from aggregator.segments.unpacked_frame import Frames, unpack_frame
from tests.support.cell_state import totals_of
from tests.support.merged_frames import check_merged

MODELS = (b":gpt-4o", b":o3", b"^o3")
USERS = (USERS_FROM, USERS_FROM + 2_048)
COMBINATIONS, FACETS = (16, 32, 48), (1, 2, 15)

Values = dict[bytes, list[Row]]
"""Rows by series, as values."""

latencies = st.integers(0, 3) | st.integers(-(2**40), 2**40)
usages = st.tuples(*[st.integers(0, 2) | st.integers(0, 2**32 - 1)] * 5, *[st.integers(0, 2**50)] * 2, st.just(0))


@st.composite
def combinations(draw: st.DrawFn) -> tuple[Values, dict[int, Values]]:
    """The rows of a combination, and by facet some of its latencies, each as part of several now and then."""
    rows: Values = {LATENCY: [(one,) for one in draw(st.lists(latencies, max_size=5))]}
    for model in draw(st.lists(st.sampled_from(MODELS), unique=True, max_size=2)):
        rows[model] = draw(st.lists(usages, min_size=1, max_size=3))
    facets: dict[int, Values] = {}
    for row in rows[LATENCY]:
        for facet in draw(st.lists(st.sampled_from(FACETS), unique=True, max_size=2)):
            facets.setdefault(facet, {LATENCY: []})[LATENCY].append(row)
    return rows, facets


@st.composite
def cells(draw: st.DrawFn, name_rows: Values) -> FullCell:
    """A cell of these rows: some in it, some beside it, a few of those only in sketches."""
    cell, beside = Cell(draw(st.integers(0, 9)), draw(st.integers(0, 2))), {}
    for name, values in name_rows.items():
        kind = series_of(name)
        rows = [kind.rows(np.array([row], dtype=np.int64)) for row in values]
        in_cell = draw(st.just(len(rows)) | st.integers(0, len(rows)))
        if rows[:in_cell]:
            cell.rows[name] = b"".join(rows[:in_cell])
        if rows[in_cell:]:
            sketched = draw(st.just(0) | st.integers(0, len(rows) - in_cell))
            of_all = kind.layout.of_segments(kind.values(b"".join(rows[in_cell:])), np.zeros(1, dtype=np.int64))
            cell.totals[name] = kind.layout.packed(of_all)
            sketches = [b"%d" % sketched] * kind.layout.metrics if sketched else []
            beside[name] = PackedOverflow(b"".join(rows[in_cell + sketched :]), sketches)
    return FullCell(cell, beside)


@st.composite
def frames(draw: st.DrawFn) -> dict[int, FullCell]:
    """Cells of some users in some slots, many of which follow; some miss, or have what no other has."""
    found: dict[int, FullCell] = {}
    for slot in draw(st.lists(st.integers(0, 2), unique=True, min_size=1, max_size=2)):
        for user in draw(st.lists(st.sampled_from(USERS), unique=True, min_size=1)):
            first, together = first_place(slot) + user, Counter[tuple[bytes, Row]]()
            for combination in draw(st.lists(st.sampled_from(COMBINATIONS), unique=True)):
                rows, facets = draw(combinations())
                together.update((name, row) for name, of_name in rows.items() for row in of_name)
                found[first + combination] = draw(cells(rows))
                for facet, of_facet in facets.items():
                    found[first + combination + facet] = draw(cells(of_facet))
            together.update((LATENCY, (latency,)) for latency in draw(st.lists(latencies, max_size=2)))
            for usage_row in draw(st.lists(usages, max_size=2)):
                together[draw(st.sampled_from(MODELS)), usage_row] += 1
            rows_of_user: Values = {}
            for name, row in draw(st.permutations(sorted(together.elements()))):
                rows_of_user.setdefault(name, []).append(row)
            found[first] = draw(cells(rows_of_user))
    for place in draw(st.lists(st.sampled_from(sorted(found)), unique=True, max_size=1)):
        del found[place]
    for place in draw(st.lists(st.sampled_from(sorted(found)), max_size=1)) if found else []:
        found[place].cell.large[LATENCY] = OF_LATENCY.layout.of_values([(2**70,)])
        found[place].beside.setdefault(LATENCY, PackedOverflow(b"", [b"large"]))
    return found


def values_of(full: FullCell) -> dict[bytes, Counter[Row]]:
    """All rows by series, in the cell and beside it; where sketches are, which ones stand for others."""
    found: dict[bytes, Counter[Row]] = {}
    for name, rows in [*full.cell.rows.items(), *((name, rows) for name, (rows, _) in full.beside.items())]:
        found.setdefault(name, Counter()).update(series_of(name).unpack(rows))
    return {name: rows for name, rows in found.items() if rows}


def check(cells: Mapping[int, FullCell], found: Mapping[int, FullCell]) -> None:
    """Asserts that cells say what they did: counts and totals, and the same rows, or rows for what sketches told."""
    assert found.keys() == cells.keys()
    for place, full in cells.items():
        ours = found[place]
        assert (ours.cell.calls, ours.cell.errors) == (full.cell.calls, full.cell.errors)
        assert ours.cell.large == full.cell.large
        for name in {*full.cell.rows, *full.beside, *ours.cell.rows, *ours.beside}:
            assert totals_of(ours.cell, name) == totals_of(full.cell, name)
            sketches, before = (of.beside.get(name, PackedOverflow(b"", [])).sketches for of in (ours, full))
            assert sketches in (before, [])
            if sketches == before:
                assert values_of(ours).get(name) == values_of(full).get(name)
            else:
                rows = values_of(ours)[name]
                assert rows >= values_of(full).get(name, Counter())
                assert rows.total() == totals_of(full.cell, name)[0]


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=60)
@given(frames(), st.data())
def test_come_back(cells: dict[int, FullCell], data: st.DataObject) -> None:
    """All cells, and any of them alone, whatever follows from what."""
    packed = pack_frame(cells)
    check(cells, unpack_frame(packed))
    for place in data.draw(st.lists(st.sampled_from(sorted(cells)), max_size=3)) if cells else []:
        check({place: cells[place]}, unpack_frame(packed, [place]))
    check(cells, unpack_frame(pack_frame(unpack_frame(packed))))


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=30)
@given(st.lists(frames(), min_size=1, max_size=2), st.data(), st.booleans(), st.booleans(), st.booleans())
def test_many_at_once_count_as_each_does(
    many: list[dict[int, FullCell]], data: st.DataObject, trees: bool, latency_values: bool, usage_values: bool
) -> None:
    """Wholes and their parts in one bucket count once each, merged from their frames as they are one by one."""
    packed = [pack_frame(one) for one in many]
    each = [full for one in packed for _, full in sorted(unpack_frame(one).items())]
    buckets = {at: data.draw(st.integers(0, 1)) for at in range(len(each)) if data.draw(st.booleans())}
    check_merged(packed, each, buckets, trees, latency_values, usage_values)


def usage(rng: np.random.Generator, count: int) -> bytes:
    """Packed rows of usage that do not compress."""
    values = np.zeros((count, 8), dtype=np.int64)
    values[:, :2] = rng.integers(0, 2**31, (count, 2))
    return OF_USAGE.rows(values)


def a_user(count: int, seed: int = 1) -> dict[int, FullCell]:
    """A user, two combinations, and two facets of one of them, with `count` calls each."""
    rng = np.random.default_rng(seed)
    rows = [
        {LATENCY: rng.integers(0, 2**40, count).astype("<i8").tobytes(), MODELS[0]: usage(rng, count)} for _ in range(2)
    ]
    half = len(rows[0][LATENCY]) // 16 * 8
    together = {name: rows[0][name] + rows[1][name] for name in rows[0]}
    found = {USERS_FROM: FullCell(Cell(2 * count, 0, together), {})}
    found |= {USERS_FROM + 16 * at: FullCell(Cell(count, 0, of), {}) for at, of in enumerate(rows, 1)}
    for facet, latency in ((17, rows[0][LATENCY][:half]), (18, rows[0][LATENCY][half:])):
        found[USERS_FROM + facet] = FullCell(Cell(count // 2, 0, {LATENCY: latency}), {})
    return found


def test_what_follows_takes_next_to_nothing() -> None:
    """A user's cell takes nothing, and a facet's a part of a byte a call; alone they take what their rows do."""
    cells = a_user(400)
    parts = {place: cells[place] for place in (USERS_FROM + 16, USERS_FROM + 32)}
    of_parts = len(pack_frame(parts))
    assert len(pack_frame({USERS_FROM: cells[USERS_FROM]})) > of_parts * 0.9
    assert len(pack_frame(parts | {USERS_FROM: cells[USERS_FROM]})) < of_parts + 60
    assert len(pack_frame(cells)) < of_parts + 60 + 400 / 8 + 100


def test_what_a_user_has_besides_is_all_that_is_stored_of_it() -> None:
    """Rows that no combination has take what they are, not what all rows of the user are."""
    cells, besides = a_user(400), a_user(4, seed=2)[USERS_FROM].cell.rows
    together = {name: besides[name] + rows for name, rows in cells[USERS_FROM].cell.rows.items()}
    with_besides = cells | {USERS_FROM: FullCell(Cell(808, 0, together), {})}
    packed = pack_frame(with_besides)
    check(with_besides, unpack_frame(packed))
    assert len(packed) < len(pack_frame(cells)) + sum(map(len, besides.values()))


def test_sketches_give_way_to_rows_they_stand_for() -> None:
    """Combinations have all rows, up to 4,096 of a series; sketches stay where there are more, or a minimum differs."""
    for count, shift, gives_way in ((2_048, 0, True), (2_049, 0, False), (2_048, 1, False)):
        cells = a_user(count)
        user = cells[USERS_FROM].cell
        kind = series_of(LATENCY)
        values = kind.values(user.rows.pop(LATENCY))
        totals = kind.layout.of_segments(values, np.zeros(1, dtype=np.int64))
        totals[0, kind.layout.minima] -= shift
        user.totals[LATENCY] = kind.layout.packed(totals)
        full = FullCell(user, {LATENCY: PackedOverflow(b"", [b"a sketch"])})
        found = unpack_frame(pack_frame(cells | {USERS_FROM: full}))[USERS_FROM]
        assert bool(found.beside) != gives_way
        assert totals_of(found.cell, LATENCY) == totals_of(user, LATENCY)


def test_rows_that_come_to_the_same_are_not_the_same() -> None:
    """Totals alone say nothing of rows: a user whose values differ and add up to the same keeps its own."""
    ours, others = ([0, 30, 10, 20], [0, 30, 14, 16])
    cells = {USERS_FROM + at: FullCell(latencies_of(*values), {}) for at, values in ((0, ours), (16, others))}
    check(cells, unpack_frame(pack_frame(cells)))


@pytest.mark.parametrize("order", [following._ORDER, following._ORDER * 0], ids=["as-it-is", "all-alike"])
@pytest.mark.parametrize("ours", [(5, 5, 7), (5, 5, 5, 7, 9), (5, 7, 9), (5, 5, 9), (7, 7, 7, 5), (5, 7)])
def test_how_often_counts(monkeypatch: pytest.MonkeyPatch, ours: tuple[int, ...], order: Integers) -> None:
    """A user has each row as often as its combinations, or keeps its own: also where rows are put in no order."""
    monkeypatch.setattr(following, "_ORDER", order)
    cells = {USERS_FROM + at: FullCell(latencies_of(*of), {}) for at, of in ((0, ours), (16, (5, 7)), (32, (5,)))}
    check(cells, unpack_frame(pack_frame(cells)))


@pytest.mark.parametrize("claimed", [1, 2])
def test_calls_of_two_facets(claimed: int) -> None:
    """The call of a model and of an error is the model's by its label, and the error's own row is stored."""
    rows = range(20)
    facets = ((16, rows), (17, rows[:claimed]), (18, rows[:15]), (19, rows[15:]))
    cells = {USERS_FROM + at: FullCell(latencies_of(*of), {}) for at, of in facets}
    check(cells, unpack_frame(pack_frame(cells)))


def test_rounds_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Facets that claim the same calls again and again have their rows stored; those of other combinations follow."""
    monkeypatch.setattr(following, "_ROUNDS", 2)
    rows = range(20)
    facets = ((16, rows), (17, rows[:9]), (18, rows[:15]), (32, rows), (33, rows[:7]))
    cells = {USERS_FROM + at: FullCell(latencies_of(*of), {}) for at, of in facets}
    check(cells, unpack_frame(pack_frame(cells)))


def latencies_of(*values: int) -> Cell:
    """Returns a cell of calls of these latencies."""
    return Cell(len(values), 0, {LATENCY: np.array(values, dtype="<i8").tobytes()})


def test_a_facet_keeps_what_it_has_besides_rows() -> None:
    """Rows that would follow stay beside sketches, so that these stay with them."""
    facet = latencies_of(5)
    facet.totals[LATENCY] = OF_LATENCY.layout.packed(
        OF_LATENCY.layout.of_segments(np.array([[5], [9]]), np.zeros(1, dtype=np.int64))
    )
    cells = {
        USERS_FROM + 16: FullCell(latencies_of(5, 9), {}),
        USERS_FROM + 17: FullCell(facet, {LATENCY: PackedOverflow(b"", [b"a sketch"])}),
    }
    check(cells, unpack_frame(pack_frame(cells)))


def test_what_stands_behind_a_user_is_no_facet_of_it() -> None:
    """The rows of a user follow, so that none could be labelled."""
    places = {0: (5, 9), 1: (5,), 16: (5, 9)}
    cells = {USERS_FROM + at: FullCell(latencies_of(*values), {}) for at, values in places.items()}
    check(cells, unpack_frame(pack_frame(cells)))


def test_as_many_rows_as_there_are_may_be_others() -> None:
    """A user, its combination, and one of two of another user count three rows, though not those that are stored."""
    places = {0: (1,), 16: (1,), 2_048: (10, 100), 2_048 + 16: (10,), 2_048 + 32: (100,)}
    cells = {USERS_FROM + at: FullCell(latencies_of(*values), {}) for at, values in places.items()}
    frame, merged = Frames([pack_frame(cells)]), Merged(1)
    frame.add_to(merged, np.array([0, 1, 3]), np.zeros(3, dtype=np.int64), False, False)
    [totals] = merged.totals(OF_LATENCY).rows.tolist()
    assert OF_LATENCY.layout.sum(totals, 0) == 1 + 1 + 10


@pytest.mark.parametrize(
    ("view", "name", "count", "are_joined"),
    [
        (7, MODELS[0], 64, True),
        (7, MODELS[0], 65, False),
        (7, LATENCY, 17, False),
        (ALL_CALLS, MODELS[0], 17, False),
        (USERS_FROM + 16, MODELS[0], 500, True),
        (USERS_FROM + 16, LATENCY, 500, True),
    ],
)
def test_rows_beside_cells_are_joined_with_those_in_them(view: int, name: bytes, count: int, are_joined: bool) -> None:
    """Totals that follow are left out; of all calls they stay, and where rows are many; wrong ones stay, too."""
    kind, rng = series_of(name), np.random.default_rng(2)
    rows = usage(rng, count) if name != LATENCY else rng.integers(0, 99, count).astype("<i8").tobytes()
    totals = kind.layout.of_segments(kind.values(rows), np.zeros(1, dtype=np.int64))
    for wrong in (0, 1):
        totals[0, kind.layout.low] += wrong
        cell = Cell(count, 0, {}, {name: kind.layout.packed(totals)})
        full = FullCell(cell, {name: PackedOverflow(rows, [])})
        found = unpack_frame(pack_frame({first_place(3) + view: full}))[first_place(3) + view]
        assert bool(found.cell.rows) == (are_joined and not wrong)
        check({1: full}, {1: found})
