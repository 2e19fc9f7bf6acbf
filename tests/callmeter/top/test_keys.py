"""What keys do, from state to state, and how a terminal writes them."""

from callmeter.top.keyboard import named
from callmeter.top.keys import BACKSPACE, DOWN, ENTER, ESCAPE, LEFT, UP, State, pressed
from callmeter.top.view import View
from tests.callmeter.top.looks import frame


def after(*keys: str, state: State | None = None) -> State:
    state = state or State(frame(), projects=("acme/agents", "acme/search"))
    for key in keys:
        state = pressed(state, key)
    return state


def test_switching_and_ordering() -> None:
    """Letters choose the dimension, the order and the calls; the same order again turns it round."""
    view = after("m", "e", "w").frame.view
    assert (view.dimension, view.order_by, view.order, view.kind) == ("model", "sum_error_count", "desc", "slowest")
    assert after("e", "e").frame.view.order == "asc"
    assert after("e", "e", "e").frame.view.order == "desc"
    assert after("e", "e", "l").frame.view.order == "desc"


def test_choosing_a_row_stays_within_the_rows() -> None:
    """Up from the first and down from the last do nothing."""
    assert after(UP).frame.selected == 0
    assert after(*[DOWN] * 50).frame.selected == 11
    assert after("j", "j", "k").frame.selected == 1


def test_into_a_row_and_back() -> None:
    """Into an op: its calls alone, by user; into a user: by op; back, step by step, to where one was."""
    into = after(DOWN, ENTER)
    assert into.frame.view.filters == (("op", "weave:///acme/agents/op/op-1:v1"),)
    assert (into.frame.view.dimension, into.frame.selected) == ("wb_user_id", 0)
    assert into.frame.view.filter == {"op_names": ["weave:///acme/agents/op/op-1:v1"]}
    back = after(BACKSPACE, state=into)
    assert back.frame.view == View("acme/agents")
    assert back.back == ()


def test_rows_of_another_answer_are_not_entered() -> None:
    """Return does nothing before the answer by model is there."""
    assert after("m", ENTER).frame.view.filters == ()


def test_typing_a_filter() -> None:
    """`/` takes letters until return; `op:` filters, letters narrow the rows, escape leaves all as it was."""
    assert after("/", *"op:answer:*", ENTER).frame.view.filters == (("op", "answer:*"),)
    assert after("/", *"q-3", ENTER).frame.view.containing == "q-3"
    assert after("/", *"roots", ENTER).frame.view.filter == {"trace_roots_only": True}
    assert after("/", *"ab", BACKSPACE, ENTER).frame.view.containing == "a"
    assert after("/", BACKSPACE).frame.typing is None
    left = after("/", *"op:x", ESCAPE)
    assert (left.frame.typing, left.frame.view) == (None, View("acme/agents"))
    assert after("/", *"user:ann", ENTER, LEFT).frame.view.filters == ()


def test_windows_projects_and_the_end() -> None:
    """`-` is longer, `+` shorter, both have an end; `p` goes through the projects; `q` ends, also not while typing."""
    assert after("-").frame.view.window_s == 10_800
    assert after("+", "+", "+").frame.view.window_s == 900
    assert after("p").frame.view.project_id == "acme/search"
    assert after("p", "p").frame.view.project_id == "acme/agents"
    assert after("q").ended
    assert not after("/", "q").ended
    assert after(" ").frame.held
    assert after("?").frame.helping
    assert not after("?", "q").ended


def test_how_a_terminal_writes_keys() -> None:
    """Arrows of both kinds, return, both backspaces; sequences without a name are no letters."""
    assert named("\x1b[A\x1bOBx\r\x7f\x08\x1b") == [UP, DOWN, "x", ENTER, BACKSPACE, BACKSPACE, ESCAPE]
    assert named("\x1b[15~é$") == ["é", "$"]
