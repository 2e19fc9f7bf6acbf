"""Tallies: calls in any split come to the same, rows packed, and apart from them those that are too large."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import astuple

from aggregator.calls.call import Call
from aggregator.calls.usage_vector import Usage
from aggregator.rollups.series import LATENCY, OF_USAGE, model_series, pack_latency, pack_usage, series_of, usage_row
from aggregator.rollups.tally import CallTally, merge_tallies, tally_of
from tests.support.vectors import vector

UNPRICED, PRICED = vector([100, 20, 120, 30, 10, 1]), vector([100, 20, 120, 30, 10, 1, 7, 8, 9, 10])
LARGE = vector([2**32, 0, 2**32, 0, 0, 1])
LARGE_COST = vector([1, 1, 2, 0, 0, 1, 2**70, 0, 0, 5])

numbers = st.sampled_from([UNPRICED, PRICED, LARGE, LARGE_COST])
calls = st.builds(
    lambda latency_ms, failed, usage: call(latency_ms, failed, usage),
    st.none() | st.integers(-5, 5),
    st.booleans(),
    st.dictionaries(st.sampled_from(["", "a", "b"]), numbers, max_size=2),
)


def call(latency_ms: int | None = None, failed: bool = False, usage: Usage | None = None) -> Call:
    """A started call; one without a latency has no end, and neither failed nor used anything."""
    if latency_ms is None:
        return Call(1, b"", 0, started_us=0)
    return Call(1, b"", 0, started_us=0, ended_us=latency_ms * 1000, failed=failed, usage=usage or {})


def content(tally: CallTally) -> Any:
    """Everything in it, as a copy."""
    added = tally.rows.added
    return tally.calls, tally.errors, added.joined(), {name: list(large) for name, large in added.large.items()}, {}, {}


@given(st.lists(st.lists(calls, max_size=8), min_size=1, max_size=3))
def test_any_split_comes_to_the_same(parts: list[list[Call]]) -> None:
    """Tallied at once, or apart and brought together, which leaves the parts alone."""
    packed = [tally_of(part).packed() for part in parts]
    whole = tally_of(one for part in parts for one in part)
    assert merge_tallies(packed) == whole.packed()
    assert astuple(merge_tallies(packed)) == content(whole)
    assert packed == [tally_of(part).packed() for part in parts]


@given(st.lists(calls, max_size=8))
def test_every_value_is_kept(of: list[Call]) -> None:
    """Calls, errors, a latency of each call that has ended, and a row for each model of each call, in order."""
    tally = tally_of(of)
    rows, large = tally.rows.added.packed, tally.rows.added.large
    assert (tally.calls, tally.errors) == (len(of), sum(one.failed for one in of))
    latencies = [one.latency_ms for one in of if one.latency_ms is not None]
    assert b"".join(rows.get(LATENCY, [])) == b"".join(map(pack_latency, latencies))
    assert LATENCY not in large
    for model in ("", "a", "b"):
        used = [one.usage[model] for one in of if model in one.usage]
        small = [usage_row(one) for one in used if pack_usage(one) is not None]
        assert OF_USAGE.unpack(b"".join(rows.get(model_series(model), []))) == small
        assert large.get(model_series(model), []) == [usage_row(one) for one in used if pack_usage(one) is None]


@given(st.lists(calls, max_size=8))
def test_a_cell_of_the_tally_has_all(of: list[Call]) -> None:
    """Rows as they are, however many; totals of those too large; nothing beside it."""
    packed = tally_of(of).packed()
    cell = packed.cell()
    assert (cell.calls, cell.errors, cell.totals) == (packed.calls, packed.errors, {})
    assert cell.rows == packed.rows
    assert cell.large == {name: series_of(name).layout.of_values(rows) for name, rows in packed.large.items()}


def test_by_hand() -> None:
    """Three calls are tallied as by hand: one that goes on, one that failed, one with a large row in one model and a
    usual one in another."""
    tally = tally_of([call(), call(5, failed=True), call(7, usage={"a": LARGE, "": UNPRICED})])
    assert content(tally) == (
        3,
        1,
        {LATENCY: pack_latency(5) + pack_latency(7), b":": pack_usage(UNPRICED)},
        {b":a": [(2**32, 0, 2**32, 0, 0)]},
        {},
        {},
    )
