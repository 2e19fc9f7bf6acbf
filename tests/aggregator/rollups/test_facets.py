"""Facets of calls: which there are, and that their views count a part of the calls and no filter reads them."""

from typing import Any

from aggregator.calls.call import Call
from aggregator.calls.usage_vector import stated_vector
from aggregator.reading.view_rollups import views_by_combination
from aggregator.rollups.facets import count_facets, error_facet_of
from aggregator.rollups.series import LATENCY, pack_latency
from aggregator.rollups.tally import CallTally
from aggregator.rollups.view import ERROR, MODEL, OP, USER
from aggregator.rollups.view_values import MORE, views_by_value
from aggregator.rollups.views import NotKept, ViewDirectory, ViewFilter, select
from tests.support.folding import tokens

USAGE = {"a": stated_vector(tokens(1)), "b": stated_vector(tokens(2))}


def call(**told: Any) -> Call:
    """A finished call of five milliseconds."""
    return Call(1, b"\0c", 0, 1_000_000, 1_005_000, **told)


def facets_of(one: Call) -> dict[str, tuple[int, int, int]]:
    """Returns by facet how many calls, errors and latencies it counts."""
    tallies: dict[str, CallTally] = {}
    count_facets(one, lambda facet: tallies.setdefault(facet, CallTally()))
    return {
        facet: (tally.calls, tally.errors, len(tally.packed().rows.get(LATENCY, b"")) // len(pack_latency(0)))
        for facet, tally in tallies.items()
    }


def test_models_of_a_call() -> None:
    """A call's models are those it used; where it failed and used none, the one its start named; else none."""
    assert facets_of(call(usage=USAGE)) == {"ma": (1, 0, 1), "mb": (1, 0, 1), "+": (1, 0, 0)}
    assert facets_of(call(failed=True, error="E: x", model="c")) == {"eE": (1, 1, 1), "mc": (1, 1, 1)}
    assert facets_of(call(failed=True, error="E: x", model="c", usage={"a": USAGE["a"]})).keys() == {"eE", "ma"}
    assert facets_of(call(model="c")) == {}
    assert facets_of(call(failed=True, stated=USAGE, model="c")).keys() == {"e"}


def test_errors_without_a_class_are_one_facet() -> None:
    """Errors without a class are one facet, so that every failed call is in some facet and no other call is."""
    assert error_facet_of(call(failed=True)) == error_facet_of(call(failed=True, error="it broke: badly")) == "e"
    assert error_facet_of(call()) is None
    assert error_facet_of(Call(1, b"\0c", 0, 1_000_000, failed=True)) is None  # it has no end


def directory(views_max: int = 9) -> ViewDirectory:
    """Two ops of two users, each with a facet of every kind."""
    made = ViewDirectory()
    for op_name, user_id in (("a", "u"), ("b", "u"), ("a", "v")):
        made.admit_call(op_name, True, user_id, None, views_max)
        for facet in ("mgpt", "m", "eE", "+"):
            made.admit_call(op_name, True, user_id, None, views_max, facet)
    return made


def test_filters_leave_facets_out() -> None:
    """A view of a facet counts some calls of its combination: no filter by dimensions may add it to them."""
    made = directory()
    views = {number: view for view, number in made.numbers.items()}
    for wanted in (
        ViewFilter(op_names=("a",)),
        ViewFilter(op_names=("a",), user_ids=("u",)),
        ViewFilter(roots_only=True, user_ids=("u",)),
    ):
        assert all(views[number].facet is None for number in select(made, wanted))


def test_values_of_facets() -> None:
    """Alone, and under a filter: then together with the combinations that pass it."""
    made = directory()
    views = {number: view for view, number in made.numbers.items()}
    models = views_by_value(made, ViewFilter(), MODEL)
    assert {value: len(numbers) for value, numbers in models.items()} == {"gpt": 1, "": 1, MORE: 1}
    errors = views_by_value(made, ViewFilter(op_names=("a",)), ERROR)
    assert [(views[number].op_name, views[number].facet) for number in errors["E"]] == [("a", "eE"), ("a", "eE")]


def test_full_facets_refuse_nothing_else() -> None:
    """Questions by model are refused where not all models could be kept, and no others."""
    made = directory(views_max=1)
    wanted = ViewFilter(op_names=("a",), user_ids=("u",))
    for asked in (ViewFilter(), wanted):
        try:
            views_by_value(made, asked, MODEL)
        except NotKept:
            continue
        raise AssertionError
    roomy = ViewDirectory()
    roomy.admit_call("a", True, "u", None, 9)
    for facet in ("mx", "my"):
        roomy.admit_call("a", True, "u", None, 1, facet)
    assert len(select(roomy, wanted)) == 1


def test_no_other_reader_adds_facets() -> None:
    """A reader of whole combinations, as labels of Prometheus are, leaves facets out and so counts each call once."""
    assert all(view.facet is None for view in views_by_combination(directory(), OP | USER))
