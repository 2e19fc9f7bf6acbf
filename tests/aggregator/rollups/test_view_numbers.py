"""Numbers of views: none is drawn twice, whoever goes on drawing, and those of a user lie together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.rollups import view_numbers
from aggregator.rollups.view import View
from aggregator.rollups.view_numbers import (
    NUMBERS_MAX,
    OTHERS_FROM,
    USERS_FROM,
    ViewNumbers,
    are_facets,
    are_users,
    combinations_of,
    groups_of,
)
from aggregator.rollups.views import model_facet

USER = View(user_id="u")
named = st.sampled_from(["a", "b", "c"])
views = st.builds(
    View,
    st.none() | named,
    st.sampled_from([None, True]),
    st.none() | st.sampled_from("uvw"),
    st.none() | named,
    st.none() | st.integers(0, 40).map(lambda at: model_facet(str(at))),
).filter(any)


def drawn(wanted: list[View], known: dict[View, int] | None = None) -> dict[View, int]:
    """Returns numbers by view, drawn one after the other."""
    found = dict(known or {})
    numbers = ViewNumbers(found.items())
    for view in wanted:
        if view not in found:
            found[view] = numbers.draw(view)
    return found


@given(st.lists(views, max_size=80), st.integers(0, 80))
def test_no_number_is_drawn_twice(wanted: list[View], again_after: int) -> None:
    """Numbers differ and fit, and users share no group, also when somebody else goes on who knows what is taken."""
    first = drawn(wanted[:again_after])
    found = drawn(wanted[again_after:], dict(reversed(first.items())))
    assert found == drawn(wanted)
    assert len(set(found.values()) | {0}) == len(found) + 1
    assert all(0 < number < NUMBERS_MAX for number in found.values())
    users: dict[int, set[str | None]] = {}
    for view, number in found.items():
        assert (USERS_FROM <= number < OTHERS_FROM) == (view.user_id is not None)
        users.setdefault(int(groups_of(np.array([number]))[0]), set()).add(view.user_id)
    assert all(len(of_group) == 1 for of_group in users.values())


def test_a_user_its_combinations_and_their_facets() -> None:
    """The user is first, a combination is every sixteenth, its first fifteen facets follow it; more begin again."""
    combination, other = View("op", None, "u"), View("op", True, "u")
    facets = [combination._replace(facet=model_facet(str(at))) for at in range(16)]
    found = drawn([View("op"), USER, combination, facets[0], other, *facets])
    first = found[USER]
    assert (first, found[View("op")]) == (USERS_FROM, 1)
    assert [found[view] - first for view in (combination, other, *facets)] == [16, 32, *range(17, 32), 49]
    numbers = np.array(list(found.values()))
    assert [found[USER]] == numbers[are_users(numbers)].tolist()
    assert are_facets(numbers).sum() == len(facets)
    assert combinations_of(np.array([found[facets[3]]])).tolist() == [found[combination]]


def test_many_combinations_of_a_user_go_on_in_another_block() -> None:
    """No combination takes the place of a user in a further block, nor is one of another user between."""
    combinations = [View(f"op-{at}", None, "u") for at in range(130)]
    found = drawn([USER, View(user_id="v"), *combinations, View("op-0", None, "v")])
    numbers = np.array([found[view] for view in combinations])
    assert not are_users(numbers).any()
    assert sorted(set(groups_of(numbers).tolist())) == [USERS_FROM, USERS_FROM + 2 * 2_048]
    assert found[View("op-0", None, "v")] == USERS_FROM + 2_048 + 16


def test_what_finds_no_block_is_numbered_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users beyond the last block, and views without users beyond their range, have numbers of their own."""
    monkeypatch.setattr(view_numbers, "USERS_FROM", 2_048)
    monkeypatch.setattr(view_numbers, "OTHERS_FROM", 3 * 2_048)
    users = [View(user_id=str(at)) for at in range(4)]
    ops = [View(str(at)) for at in range(2_049)]
    found = drawn([*users, *ops])
    assert [found[user] for user in users] == [2_048, 4_096, 1, 2]
    assert [found[op] for op in ops[2_043:2_047]] == [2_046, 2_047, 6_144, 6_145]
    assert found == drawn([*users, *ops], dict(list(found.items())[:2_050]))
    assert len(set(found.values())) == len(found)
