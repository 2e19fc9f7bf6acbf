"""The loop of `top`: a thread asks again and again, this one draws and takes the keys."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live

from callmeter.api_client import NotAnswered
from callmeter.top.asking import Api, Shown
from callmeter.top.keyboard import Keyboard
from callmeter.top.keys import State, pressed
from callmeter.top.screen import Frame, rows_room, screen, visible_rows
from callmeter.top.view import View

# How long a key may go unnoticed, at most.
KEY_WAIT_S = 0.1
# Trends of rows are asked again when they are older than this: one question a row.
TREND_S_MAX = 10.0


class ViewPoller(threading.Thread):
    """Asks for a view every so often, and at once when it becomes another; what came of it is in `found`."""

    def __init__(self, api: Api, view: View, every_s: float) -> None:
        super().__init__(name="asking", daemon=True)
        self._api, self._every_s = api, every_s
        self.view, self.held, self.rows_max = view, False, 10
        # The view that was asked, its answers, the trends of its rows, and why there are none if there are none.
        self.found: tuple[View, Shown | None, dict[str, list[float]], str] = (view, None, {}, "")
        self._wanted = threading.Event()
        self._trends: dict[str, tuple[float, list[float]]] = {}
        self._trends_of: tuple[object, ...] = ()

    def look_at(self, view: View) -> None:
        """Shows this view from now on."""
        if view != self.view:
            self.view = view
            self._wanted.set()

    def run(self) -> None:
        """Ask until the process ends."""
        while True:
            began_s = time.monotonic()
            self._wanted.clear()
            if not self.held or self.found[1] is None or self.found[0] != self.view:
                self._look(self.view)
            self._wanted.wait(max(0.05, self._every_s - (time.monotonic() - began_s)))

    def _look(self, view: View) -> None:
        try:
            shown = self._api.look(view, datetime.now(UTC))
            kept = {value: trend for value, (_, trend) in self._trends.items()}
            self.found = (view, shown, kept if self._is_of(view) else {}, "")
            self.found = (view, shown, self._trends_for(view, shown), "")
        except NotAnswered as trouble:
            before = self.found[1] if self.found[0] == view else None
            self.found = (view, before, self.found[2], str(trouble))

    def _is_of(self, view: View) -> bool:
        return self._trends_of == (view.project_id, view.dimension, view.filters, view.roots_only, view.window_s)

    def _trends_for(self, view: View, shown: Shown) -> dict[str, list[float]]:
        """The trend of each row that is to be seen; those that are young are not asked again."""
        now, now_s = datetime.now(UTC), time.monotonic()
        if view.dimension == "model":
            return self._api.model_trends(view, now)
        if not self._is_of(view):
            self._trends = {}
            self._trends_of = (view.project_id, view.dimension, view.filters, view.roots_only, view.window_s)
        for row in visible_rows(Frame(view, shown))[: self.rows_max]:
            value = str(row["value"])
            if self.view != view:
                break  # somebody waits for another one
            if value not in self._trends or now_s - self._trends[value][0] > TREND_S_MAX:
                self._trends[value] = (now_s, self._api.row_trend(view, row["value"], now))
        return {value: trend for value, (_, trend) in self._trends.items()}


def watch(console: Console, api: Api, state: State, every_s: float, between: Callable[[], None]) -> None:
    """Show until somebody quits; `between` is called some times a second, and may raise to end it."""
    poller = ViewPoller(api, state.frame.view, every_s)
    poller.start()
    drawn: tuple[object, ...] = ()
    with Keyboard() as keyboard, Live(console=console, screen=True, auto_refresh=False) as live:
        while not state.ended:
            between()
            for key in keyboard.read(KEY_WAIT_S):
                state = pressed(state, key)
            poller.held = state.frame.held
            poller.rows_max = rows_room(console.height)
            poller.look_at(state.frame.view)
            state = state._replace(frame=_with_found(state.frame, poller))
            now = (state, console.width, console.height)
            if now != drawn:
                drawn = now
                lines = screen(state.frame, console.width, console.height)
                live.update(Group(*lines), refresh=True)


def _with_found(frame: Frame, poller: ViewPoller) -> Frame:
    """The frame with the newest answers; those to another view stay until there are some to this one."""
    view, shown, trends, trouble = poller.found
    if view != frame.view and shown is not None:
        return frame._replace(trouble="")
    return frame._replace(shown=shown or frame.shown, trends=trends, trouble=trouble)
