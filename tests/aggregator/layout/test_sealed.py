"""Directories of what is sealed: which frames may hold which places."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.layout.sealed import SealedDirectory, SealedRange
from aggregator.rollups.cell import first_place

slots, views = st.integers(0, 5), st.integers(0, 5)
places = st.lists(st.builds(lambda slot, view: first_place(slot) + view, slots, views), max_size=8)


@st.composite
def directories(draw: st.DrawFn) -> SealedDirectory:
    ranges = []
    for number in range(draw(st.integers(0, 5))):
        (first_slot, last_slot), (first_view, last_view) = (sorted(draw(st.tuples(one, one))) for one in (slots, views))
        ranges.append(SealedRange(number, first_slot, last_slot, first_view, last_view))
    return SealedDirectory(b"", len(ranges), tuple(ranges))


@given(directories(), places)
def test_frames_of_places_are_those_of_each(directory: SealedDirectory, wanted: list[int]) -> None:
    """The frames of many places are all that may hold one of them, and no others, in their order."""
    of_each = {one for place in wanted for one in directory.of_place(place)}
    assert directory.of_places(wanted) == [one for one in directory.ranges if one in of_each]
