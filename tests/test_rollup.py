"""Rollups: exact totals that do not depend on how calls are split up."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rollup import CallTally, Increment, ModelRollup, Rollup, Row, add, join, merge, merge_totals

DOLLAR = 10**12
# Ones and zeros, dollars, and more than 64 bits hold.
values = st.sampled_from([0, 1, 2, DOLLAR, 2**70]) | st.integers(0, 100)
rows = st.tuples(*[values] * 5) | st.tuples(*[values] * 8)
calls = st.tuples(
    st.booleans(),
    st.none() | st.integers(-5, 5),
    st.dictionaries(st.sampled_from(["", "a", "b"]), rows, max_size=2),
)
Told = tuple[bool, int | None, dict[str, Row]]


def tally_of(told: list[Told]) -> CallTally:
    tally = CallTally()
    for failed, latency_ms, usage in told:
        tally.calls += 1
        tally.errors += failed
        if latency_ms is not None:
            tally.latencies_ms.append(latency_ms)
        for model, row in usage.items():
            tally.rows.setdefault(model, []).append(row)
    return tally


def rollup_of(increment: Increment) -> Rollup:
    rollup = Rollup()
    add(rollup, increment)
    return rollup


def values_of(increment: Increment) -> dict[str, list[list[int]]]:
    """What goes to the sketches, unordered."""
    by_model = {name: [sorted(metric) for metric in model.values] for name, model in increment.models.items()}
    return by_model | {"latencies": [sorted(increment.latencies_ms)]}


def copy(value: Any) -> Any:
    return msgspec.to_builtins(value)


@given(st.lists(calls, max_size=8), st.lists(calls, max_size=8))
def test_any_split_comes_to_the_same(left: list[Told], right: list[Told]) -> None:
    """Tallied together, tallies merged, increments joined or added in turn, rollups merged: one result, no damage."""
    together = tally_of(left + right).increment()
    whole = rollup_of(together)
    one, other = tally_of(left), tally_of(right)
    increments = one.increment(), other.increment()
    joined = join(increments)
    assert rollup_of(joined) == whole
    assert values_of(joined) == values_of(together)
    assert increments == (one.increment(), other.increment())

    added = rollup_of(increments[0])
    add(added, increments[1])
    assert added == whole

    merged, more = rollup_of(increments[0]), rollup_of(increments[1])
    unchanged = copy(more)
    merge(merged, more)
    assert merged == whole
    merge(merged, more)
    assert copy(more) == unchanged

    other_before = copy({"rows": other.rows, "latencies": other.latencies_ms})
    one.merge(other)
    assert rollup_of(one.increment()) == whole
    one.merge(other)
    assert copy({"rows": other.rows, "latencies": other.latencies_ms}) == other_before


def test_totals_by_hand() -> None:
    """Sum, minimum, maximum, ones and zeros of each metric; a cost's one is a dollar; unpriced rows have none."""
    tally = CallTally()
    tally.calls, tally.errors, tally.latencies_ms = 3, 1, [5, 1, 0, 1]
    tally.rows["m"] = [(1, 0, 1, 0, 0), (3, 1, 4, 0, 2, DOLLAR, 0, DOLLAR), (0, 0, 0, 0, 0, 1, 1, 2)]
    rollup = rollup_of(tally.increment())
    assert (rollup.calls, rollup.errors, rollup.finished) == (3, 1, 4)
    assert rollup.latency == [7, 0, 5, 2, 1]
    assert rollup.models == {
        "m": ModelRollup(
            rows=3,
            priced=2,
            totals=[
                *(4, 0, 3, 1, 1),
                *(1, 0, 1, 1, 2),
                *(5, 0, 4, 1, 1),
                *(0, 0, 0, 0, 3),
                *(2, 0, 2, 0, 2),
                *(DOLLAR + 1, 1, DOLLAR, 1, 0),
                *(1, 0, 1, 0, 1),
                *(DOLLAR + 2, 2, DOLLAR, 1, 0),
            ],
        )
    }


def test_values_of_an_increment() -> None:
    """By metric; of costs only those of priced rows."""
    tally = CallTally()
    tally.rows["m"] = [(1, 2, 3, 4, 5), (6, 7, 8, 9, 10, 11, 12, 13)]
    assert [list(metric) for metric in tally.increment().models["m"].values] == [
        *([1, 6], [2, 7], [3, 8], [4, 9], [5, 10]),
        *([11], [12], [13]),
    ]


def test_merge_totals_of_different_lengths() -> None:
    """Costs appear with the first priced row, on either side."""
    short, long = [1, 1, 1, 1, 0], [2, 2, 2, 0, 0, 9, 9, 9, 0, 0]
    into = list(short)
    merge_totals(into, long)
    assert into == [3, 1, 2, 1, 0, 9, 9, 9, 0, 0]
    into = list(long)
    merge_totals(into, short)
    assert into == [3, 1, 2, 1, 0, 9, 9, 9, 0, 0]
    into = []
    merge_totals(into, short)
    assert into == short
