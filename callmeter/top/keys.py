"""What a key does: from one state to the next, pure; the keyboard itself is in `keyboard.py`."""

from typing import NamedTuple

from callmeter.top.screen import Frame, visible_rows
from callmeter.top.view import Dimension, Kind, View

UP, DOWN, LEFT, RIGHT, ENTER, BACKSPACE, ESCAPE = "up", "down", "left", "right", "enter", "backspace", "escape"

_DIMENSIONS: dict[str, Dimension] = {"o": "op_name", "m": "model", "u": "wb_user_id", "n": "wb_run_id"}
_KINDS: dict[str, Kind] = {"f": "failing", "N": "newest", "w": "slowest", "d": "dearest"}
_ORDERS = {
    "c": "count",
    "e": "sum_error_count",
    "%": "avg_error_count",
    "l": "p95_latency_ms",
    "t": "sum_total_tokens",
    "$": "sum_total_cost",
}
_STEPS = {UP: -1, "k": -1, DOWN: 1, "j": 1}


class State(NamedTuple):
    """What is seen, the views one came from (the last is the newest), the projects there are; `ended`: time to go."""

    frame: Frame
    back: tuple[View, ...] = ()
    projects: tuple[str, ...] = ()
    ended: bool = False


def pressed(state: State, key: str) -> State:
    """The state after a key; a key that means nothing changes nothing."""
    frame = state.frame
    if frame.typing is not None:
        return _typed(state, frame.typing, key)
    if frame.helping:
        return state._replace(frame=frame._replace(helping=False))
    if key in ("q", "Q"):
        return state._replace(ended=True)
    if key in _STEPS:
        last = max(0, len(visible_rows(frame)) - 1)
        return state._replace(frame=frame._replace(selected=max(0, min(last, frame.selected + _STEPS[key]))))
    if key in (ENTER, RIGHT):
        return _into(state)
    if key in (BACKSPACE, LEFT, ESCAPE):
        return _gone_back(state)
    toggled = {
        "/": frame._replace(typing=""),
        "?": frame._replace(helping=True),
        " ": frame._replace(held=not frame.held),
    }
    if key in toggled:
        return state._replace(frame=toggled[key])
    return _looking_at(state, _view_after(state, key))


def _view_after(state: State, key: str) -> View:
    """The view that a key asks for, without regard to where one came from."""
    view = state.frame.view
    if key in _DIMENSIONS:
        return view._replace(dimension=_DIMENSIONS[key], containing="")
    if key in _ORDERS:
        return view.ordered_by(_ORDERS[key])
    if key in _KINDS:
        return view._replace(kind=_KINDS[key])
    if key in ("+", "=", "-"):
        return view.longer(1 if key == "-" else -1)
    if key == "p" and state.projects:
        at = state.projects.index(view.project_id) if view.project_id in state.projects else -1
        return View(state.projects[(at + 1) % len(state.projects)], view.window_s)
    return view


def _looking_at(state: State, view: View) -> State:
    """Another view; what was chosen in the one before is not in this one."""
    if view == state.frame.view:
        return state
    kept = state.frame.selected if view.dimension == state.frame.view.dimension else 0
    return state._replace(frame=state.frame._replace(view=view, selected=kept))


def _into(state: State) -> State:
    rows = visible_rows(state.frame)
    if not rows:
        return state
    view = state.frame.view.narrowed(rows[min(state.frame.selected, len(rows) - 1)]["value"])
    if view is None:
        return state
    return _looking_at(state, view)._replace(back=(*state.back, state.frame.view))


def _gone_back(state: State) -> State:
    """Goes to the view before; from the first one, to it without filters."""
    if state.back:
        return _looking_at(state, state.back[-1])._replace(back=state.back[:-1])
    return _looking_at(state, state.frame.view._replace(filters=(), roots_only=False, containing=""))


def _typed(state: State, text: str, key: str) -> State:
    frame = state.frame
    if key == ENTER:
        view = frame.view.typed(text)
        done = state._replace(frame=frame._replace(typing=None))
        followed = _looking_at(done, view)
        return followed._replace(back=(*state.back, frame.view)) if view.filters != frame.view.filters else followed
    if key == ESCAPE:
        return state._replace(frame=frame._replace(typing=None))
    if key == BACKSPACE:
        return state._replace(frame=frame._replace(typing=text[:-1] if text else None))
    return state._replace(frame=frame._replace(typing=text + key)) if len(key) == 1 and key.isprintable() else state
