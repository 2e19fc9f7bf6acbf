"""First calls of busy minutes come back as they were packed, whatever their numbers."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.layout.first_calls import FirstCalls, no_first_calls, pack_first_calls, unpack_first_calls

NUMBERS = st.one_of(st.integers(0, 1_000), st.integers(0, 2**63 - 1))
COSTS = st.one_of(NUMBERS, st.integers(-(2**70), 2**70))


def first_calls(ranks: st.SearchStrategy[int] | None) -> st.SearchStrategy[FirstCalls]:
    """Some calls with their floor, in the order of their places. `ranks`: None for those ranked by their start."""
    places = st.tuples(NUMBERS if ranks is None else ranks, NUMBERS)
    if ranks is None:
        places = places.map(lambda place: (place[0], place[0]))
    entries = st.lists(st.tuples(places, NUMBERS), max_size=8)
    return st.builds(
        lambda entries, floor: FirstCalls(sorted(((*place, number) for place, number in entries), reverse=True), floor),
        entries,
        st.none() | places,
    )


BY_ORDER = st.tuples(first_calls(None), first_calls(None), first_calls(NUMBERS), first_calls(COSTS)).map(list)


@given(BY_ORDER)
def test_they_come_back(by_order: list[FirstCalls]) -> None:
    """Unpacked, they are as they were before."""
    assert unpack_first_calls(pack_first_calls(by_order)) == by_order


def test_few_bytes() -> None:
    """A start that is the rank is not stored twice, and all else as how much it is above the one before."""
    by_order = no_first_calls()
    by_order[0] = FirstCalls([(1_000_200, 1_000_200, 70_007), (1_000_100, 1_000_100, 70_003)], (1_000_050, 1_000_050))
    packed = "94 92 94 ce00011177 ce000f4308 fc d09c 91 d0ce 92 90 90 92 90 90 92 90 90"
    assert pack_first_calls(by_order) == bytes.fromhex(packed)
