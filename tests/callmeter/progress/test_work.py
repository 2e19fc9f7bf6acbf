"""How far counted work is: on a terminal a bar, else log lines, both with the rate."""

import io
import logging

import pytest
from rich.console import Console

from callmeter.progress import work as work_progress
from callmeter.progress.work import WorkProgress


def test_log_lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Now and then a line says what is done, of how much, at which rate, and how long the rest will take."""
    seconds = iter([100.0, 101.0, 104.0, 104.5])
    monkeypatch.setattr("callmeter.progress.work.time.monotonic", lambda: next(seconds))
    monkeypatch.setattr(work_progress, "LOG_S", 3.0)
    with caplog.at_level(logging.INFO), WorkProgress("folding", "messages", 50) as progress:
        progress.add(10)
        progress.total = 120
        progress.add(30)
        progress.add(5)
    [line] = caplog.records
    said = {name: vars(line)[name] for name in ("messages", "of", "per_second", "seconds_left")}
    assert (line.getMessage(), said) == (
        "folding",
        {"messages": 40, "of": 120, "per_second": 10, "seconds_left": 8},
    )


def test_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets a bar."""
    monkeypatch.setattr(work_progress, "LOOK_S", 0.0)
    shown = io.StringIO()
    monkeypatch.setattr(work_progress, "Console", lambda **_: Console(file=shown, force_terminal=True, width=100))
    with WorkProgress("folding", "messages", 100) as progress:
        progress.add(40)
    assert "folding" in shown.getvalue()
    assert "40/100" in shown.getvalue()
    assert "messages/s" in shown.getvalue()
