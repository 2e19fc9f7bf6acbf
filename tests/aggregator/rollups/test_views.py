"""Views: each call in the right ones, limits that are told, and filters that find each matching call once."""

from collections import Counter
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rollups.view import View
from aggregator.rollups.views import (
    ALL_CALLS,
    NotKept,
    ViewDirectory,
    ViewFilter,
    fields_to_select,
    matches_any,
    may_be_selected,
    select,
    views_of,
)

OPS = ("weave:///p/op/chat:v1", "weave:///p/op/chat:v2", "plain", "")
USERS = ("u1", "u2", "")
RUNS = ("r1", "r2")


class Dimensions(NamedTuple):
    """The values that tell a call apart from others."""

    op_name: str
    root: bool
    user_id: str | None
    run_id: str | None


def count_all(calls: list[Dimensions], views_max: int) -> tuple[dict[bytes, bytes], dict[int, Counter[Dimensions]]]:
    """The directory as it is stored, and which calls each view has counted."""
    writer = ViewDirectory()
    stored: dict[bytes, bytes] = {}
    counted: dict[int, Counter[Dimensions]] = {ALL_CALLS: Counter(calls)}
    for call in calls:
        for view in views_of(*call):
            number, fields = writer.admit(view, views_max)
            stored |= fields
            if number is not None:
                counted.setdefault(number, Counter())[call] += 1
    return stored, counted


dimensions = st.builds(
    Dimensions, st.sampled_from(OPS), st.booleans(), st.sampled_from([None, *USERS]), st.sampled_from([None, *RUNS])
)


def any_of(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | st.lists(st.sampled_from(values), min_size=1, max_size=3).map(tuple)


filters = st.builds(
    ViewFilter,
    any_of((*OPS, "weave:///p/op/chat:*", "weave:*", "unknown", "*")),
    st.booleans(),
    any_of((*USERS, "unknown")),
    any_of((*RUNS, "unknown")),
)


@given(st.lists(dimensions, max_size=30), filters, st.integers(1, 4) | st.just(1000))
def test_selected_views_hold_the_matching_calls_once(
    calls: list[Dimensions], wanted: ViewFilter, views_max: int
) -> None:
    """Whatever the limit: together exactly the calls that match; refused only when something is full."""
    stored, counted = count_all(calls, views_max)
    directory = ViewDirectory(stored)
    try:
        numbers = select(directory, wanted)
    except NotKept:
        assert directory.full
        return
    found = sum((counted[number] for number in numbers), Counter[Dimensions]())
    assert found == Counter(call for call in calls if wanted.matches(*call))


@given(st.lists(dimensions, max_size=30), filters, st.integers(1, 4) | st.just(1000))
def test_few_fields_select_as_all(calls: list[Dimensions], wanted: ViewFilter, views_max: int) -> None:
    """The fields that are enough for a filter on exact values of one dimension select what the directory does."""
    stored, _ = count_all(calls, views_max)
    fields = fields_to_select(wanted)
    if fields is None:
        asked = [
            wanted.op_names is not None,
            wanted.roots_only,
            wanted.user_ids is not None,
            wanted.run_ids is not None,
        ]
        assert sum(asked) != 1 or any(name.endswith(":*") for name in wanted.op_names or ())
        return

    assert selected({field: stored[field] for field in fields if field in stored}, wanted) == selected(stored, wanted)


def selected(stored: dict[bytes, bytes], wanted: ViewFilter) -> list[int] | None:
    """The views that a directory's fields select; None where it does not keep all."""
    try:
        return sorted(select(ViewDirectory(stored), wanted))
    except NotKept:
        return None


@given(st.lists(dimensions, max_size=30), filters, st.integers(1, 4) | st.just(1000))
def test_what_may_be_selected_selects_as_all(calls: list[Dimensions], wanted: ViewFilter, views_max: int) -> None:
    """Fields that are found to be of other values without a look into them are of none that the filter selects."""
    stored, _ = count_all(calls, views_max)
    fields = may_be_selected(stored, wanted)
    assert selected(fields, wanted) == selected(stored, wanted)


def test_other_values_are_not_looked_into() -> None:
    """A filter leaves of a directory only the views that hold what it asks for, and which sets are full."""
    stored, _ = count_all([Dimensions(op, False, user, None) for op in OPS[:3] for user in USERS[:2]], 5)
    left = may_be_selected(stored, ViewFilter(op_names=("weave:///p/op/chat:*",), user_ids=("u2",)))
    assert {View(*values[:4]) for values in ViewDirectory(left).numbers} == {View(op, None, "u2") for op in OPS[:2]}
    assert ViewDirectory(left).full == ViewDirectory(stored).full != set()


def test_many_long_names_are_not_looked_for() -> None:
    """All of a directory is unpacked where getting ready to look for the names would take longer."""
    stored, _ = count_all([Dimensions(op, False, user, None) for op in OPS[:3] for user in USERS[:2]], 1_000)
    for wanted in (
        ViewFilter(op_names=("plain", *("x" * 1_000 + f"{at}:*" for at in range(1_000)))),
        ViewFilter(user_ids=("u1", "x" * 1_000_000)),
    ):
        assert may_be_selected(stored, wanted) == dict(stored)
        assert selected(may_be_selected(stored, wanted), wanted)


def test_views_of_a_call() -> None:
    """A call is in one view for each dimension that it has a value in, and in one of all together; not being a root is
    no value."""
    assert views_of("op", False, None, None) == [View("op")]
    assert views_of("op", True, None, "") == [View("op"), View(root=True), View(run_id=""), View("op", True, None, "")]
    assert views_of("op", False, "u", "r") == [
        View("op"),
        View(user_id="u"),
        View(run_id="r"),
        View("op", None, "u", "r"),
    ]


def test_dimension_sets_are_distinct() -> None:
    """Every combination has a number of its own from 0 to 15."""
    every = [View(*values) for values in product((None, ""), (None, True), (None, ""), (None, ""))]
    assert sorted(view.dimensions for view in every) == list(range(16))


def test_admit_numbers_from_one() -> None:
    """0 is the view of all calls; a known view keeps its number and changes nothing."""
    directory = ViewDirectory()
    assert [directory.admit(View(name), 9)[0] for name in ("a", "b", "a")] == [1, 2, 1]
    assert directory.admit(View("b"), 9)[1] == {}
    assert directory.admit(View(run_id="b"), 9)[0] == 3


def test_admit_up_to_the_limit() -> None:
    """Values of each set of dimensions are admitted up to the limit; the first that does not fit marks the set,
    once."""
    directory = ViewDirectory()
    assert directory.admit(View("a"), 2)[0] == 1
    assert directory.admit(View("b"), 2)[0] == 2
    assert directory.full == set()
    assert directory.admit(View("c"), 2) == (None, {b"full:1": b"1"})
    assert directory.admit(View("d"), 2) == (None, {})
    assert directory.admit(View("a"), 2)[0] == 1
    assert directory.admit(View(run_id="a"), 2)[0] == 3
    assert directory.full == {1}


def test_a_stored_directory_comes_back() -> None:
    """Numbers, counts for the limit, and marks."""
    directory = ViewDirectory()
    stored: dict[bytes, bytes] = {}
    for view in (View("a"), View("b", True, None, "r"), View("c"), View("d")):
        stored |= directory.admit(view, 2)[1]
    again = ViewDirectory(stored)
    assert (again.numbers, again.full) == (directory.numbers, {1})
    assert again.admit(View("e"), 3)[0] == 4
    assert again.admit(View("f"), 3)[0] is None


def full_of_ops() -> ViewDirectory:
    """Knows the ops a and b, and that there were more."""
    return ViewDirectory(count_all([Dimensions(op, False, "u", None) for op in "abc"], 2)[0])


@pytest.mark.parametrize(
    "wanted",
    [
        ViewFilter(op_names=("a", "c")),
        ViewFilter(op_names=("never seen",)),
        ViewFilter(op_names=("a:*",)),
        ViewFilter(op_names=("a",), user_ids=("u",)),
    ],
)
def test_a_full_set_refuses_what_it_may_not_know(wanted: ViewFilter) -> None:
    """A value without a view, a pattern, and combinations: some of their calls may be in no view."""
    with pytest.raises(NotKept):
        select(full_of_ops(), wanted)


def test_a_full_set_answers_what_it_knows() -> None:
    """Values that have a view, each once; other dimensions are not affected."""
    directory = full_of_ops()
    a, b = directory.numbers[View("a")], directory.numbers[View("b")]
    assert select(directory, ViewFilter(op_names=("b", "a", "b"))) == [b, a]
    assert select(directory, ViewFilter(user_ids=("u",))) == [directory.numbers[View(user_id="u")]]
    assert select(directory, ViewFilter()) == [ALL_CALLS]


@pytest.mark.parametrize(
    ("name", "wanted", "matches"),
    [
        ("weave:///op/x:v1", "weave:///op/x:*", True),
        ("weave:///op/x:", "weave:///op/x:*", True),
        ("weave:///op/x", "weave:///op/x:*", False),
        ("weave:///op/xy:v1", "weave:///op/x:*", False),
        ("ab", "a*", False),
        ("a*", "a*", True),
        ("x:*", "x:*", True),
        (":", ":*", True),
    ],
)
def test_prefixes_end_at_a_colon(name: str, wanted: str, matches: bool) -> None:
    """`:*` at the end stands for all that begin so, the colon included; any other star is a star."""
    assert matches_any(name, (wanted,)) is matches
