"""Recording: results are added, figures replaced benchmark by benchmark."""

import json
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import main
from bench.measuring import Line, alone, compared
from bench.recording import Occasion, record_figures, record_results

OCCASION = Occasion(date(2026, 1, 2), "2 cores", short=False)


def test_figures_of_a_benchmark_replace_those_before(tmp_path: Path) -> None:
    """Medians of what has a name, rounded; other benchmarks' sections stay."""
    path = tmp_path / "figures.json"
    record_figures("memory", OCCASION, [alone("a call", "B", [1, 2], figure="call_bytes")], path)
    record_figures("sketch", OCCASION, [alone("a sketch", "B", [7], figure="sketch_bytes")], path)
    lines = [alone("a view", "B", [12.3456, 1, 99], figure="view_bytes"), compared("not a figure", "B", [1], [2])]
    record_figures("memory", OCCASION._replace(short=True), lines, path)
    about = {"measured": "2026-01-02", "machine": "2 cores"}
    assert json.loads(path.read_text()) == {
        "memory": {**about, "short": True, "figures": {"view_bytes": 12.35}},
        "sketch": {**about, "short": False, "figures": {"sketch_bytes": 7.0}},
    }


@pytest.mark.parametrize("line", [Line("memory", absent="it fell", broke=True), alone("no figure", "B", [1])])
def test_nothing_to_record_leaves_the_figures(line: Line, tmp_path: Path) -> None:
    """A benchmark that broke off half way does not replace figures that are whole."""
    path = tmp_path / "figures.json"
    lines = [alone("a call", "B", [1], figure="call_bytes" if line.broke else ""), line]
    record_figures("memory", OCCASION, lines, path)
    assert not path.exists()


def test_results_are_added(tmp_path: Path) -> None:
    """Under a heading of their own, below what was there."""
    path = tmp_path / "RESULTS.md"
    record_results(OCCASION, [alone("a call", "B", [1])], path)
    record_results(OCCASION._replace(short=True), [alone("a view", "B", [2])], path)
    text = path.read_text()
    assert text.index("## 2026-01-02: 2 cores") < text.index("a call") < text.index("## 2026-01-02 (short): 2 cores")
    assert text.index("(short)") < text.index("a view")


def test_divided_amounts_are_not_recorded() -> None:
    """Figures of divided amounts are not recorded: they mean nothing."""
    done = CliRunner().invoke(main, ["--divide", "10", "--record", "--only", "sketch"])
    assert done.exit_code == 2
    assert "not to be recorded" in done.output
