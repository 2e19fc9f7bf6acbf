"""`python -m bench`: a line for each result, status 1 when a target is missed or a benchmark breaks off."""

import pytest
from click.testing import CliRunner

from bench import __main__ as command
from bench.measuring import Line, alone, ours_at_most
from bench.scale import Scale


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (alone("a result", "ms", [1], ours_at_most(1)), 0),
        (alone("a result", "ms", [2], ours_at_most(1)), 1),
        (alone("a result", "ms", [2]), 0),
        (Line("a result", absent="no wheel"), 0),
        (Line("a result", absent="it fell", broke=True), 1),
    ],
)
def test_status(line: Line, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 where all targets are met; what cannot be installed here is none that is missed."""
    monkeypatch.setattr(command, "_lines_of", lambda name, scale: iter([line]))
    done = CliRunner().invoke(command.main, ["--only", "sketch"])
    assert done.exit_code == status
    assert str(line) in done.output.splitlines()


def test_short_leaves_out_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--short` leaves out the ten million, scaling, ClickHouse and the soak, and nothing else; a full run nothing."""
    ran: list[tuple[str, bool]] = []

    def lines_of(name: str, scale: Scale) -> list[Line]:
        ran.append((name, scale.short))
        return []

    monkeypatch.setattr(command, "_lines_of", lines_of)
    CliRunner().invoke(command.main, ["--short"], catch_exceptions=False)
    left_out = set(command.ONLY_FULL)
    assert {"answers_10m", "soak"} <= left_out
    assert ran == [(name, True) for name in command.BENCHMARKS if name not in left_out]
    ran.clear()
    CliRunner().invoke(command.main, [], catch_exceptions=False)
    assert ran == [(name, False) for name in command.BENCHMARKS]


def test_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of one benchmark is told in a line, and the next one still runs."""

    def broken(scale: Scale) -> None:
        raise RuntimeError("it fell")

    monkeypatch.setattr("bench.sketch.run", broken)
    [line] = command._lines_of("sketch", Scale(short=True))
    assert line.missed
    assert str(line).split(maxsplit=1) == ["sketch", "broke off: RuntimeError: it fell"]


def test_amounts() -> None:
    """Fewer in a short run, a part of them when divided, never less than what can be measured."""
    assert Scale(short=False).amount(1_000, 100) == 1_000
    assert Scale(short=True).amount(1_000, 100) == 100
    assert Scale(short=True, divisor=10).amount(1_000, 100, least=20) == 20
    assert (Scale(short=False).rounds(5, 2), Scale(short=True).rounds(5, 2)) == (5, 2)
