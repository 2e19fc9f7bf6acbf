"""How far counted work is: on a terminal a bar, else log lines, both with the rate."""

import io
import logging

import pytest
from rich.console import Console

from callmeter.progress import shown as module
from callmeter.progress.transfer import TransferProgress
from callmeter.progress.work import WorkProgress


def test_log_lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Now and then a line says what is done, of how much, at which rate, and how long the rest will take."""
    seconds = iter([100.0, 101.0, 104.0, 104.5])
    monkeypatch.setattr("callmeter.progress.shown.time.monotonic", lambda: next(seconds))
    monkeypatch.setattr(module, "LOG_S", 3.0)
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
    monkeypatch.setattr(module, "LOOK_S", 0.0)
    shown = io.StringIO()
    monkeypatch.setattr(module, "Console", lambda **_: Console(file=shown, force_terminal=True, width=100))
    with WorkProgress("folding", "messages", 100) as progress:
        progress.add(40)
    assert "folding" in shown.getvalue()
    assert "40/100" in shown.getvalue()
    assert "messages/s" in shown.getvalue()


def test_lines_of_a_transfer(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A log line of a transfer says how many messages and bytes have gone, and at which rate."""
    seconds = iter([100.0, 100.5, 102.0])
    monkeypatch.setattr("callmeter.progress.shown.time.monotonic", lambda: next(seconds))
    monkeypatch.setattr(module, "LOG_S", 1.0)
    with caplog.at_level(logging.INFO), TransferProgress("sending", None) as progress:
        progress.look(1)
        progress.bytes_done += 4_096
        progress.look(30)
    [line] = caplog.records
    said = {name: vars(line)[name] for name in ("messages", "bytes", "messages_per_second")}
    assert (line.getMessage(), said) == ("sending", {"messages": 30, "bytes": 4_096, "messages_per_second": 15})
