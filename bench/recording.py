"""Where results are kept: all lines in RESULTS.md, and in figures.json those that `callmeter plan` reckons with."""

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import NamedTuple

from bench.measuring import HEADING, Line
from callmeter.planning.figures import FIGURES_FILE

RESULTS = Path(__file__).parent / "RESULTS.md"
SIGNIFICANT_DIGITS = 4


class Occasion(NamedTuple):
    """The time and the machine of a run, and whether it was a short one."""

    day: date
    machine: str
    short: bool


def record_results(occasion: Occasion, lines: Sequence[Line], path: Path = RESULTS) -> None:
    """Add all lines under a heading of their own."""
    heading = f"## {occasion.day}{' (short)' if occasion.short else ''}: {occasion.machine}"
    with path.open("a") as results:
        results.write("\n".join(["", heading, "", "```", HEADING, *map(str, lines), "```", ""]))


def record_figures(benchmark: str, occasion: Occasion, lines: Sequence[Line], path: Path = FIGURES_FILE) -> None:
    """Replace the benchmark's section by what its lines say; one that broke off, or has no figures, leaves it."""
    figures = {line.figure: _rounded(line.ours.median) for line in lines if line.figure and line.ours}
    if not figures or any(line.broke for line in lines):
        return
    sections = json.loads(path.read_text()) if path.exists() else {}
    sections[benchmark] = {
        "measured": str(occasion.day),
        "machine": occasion.machine,
        "short": occasion.short,
        "figures": figures,
    }
    path.write_text(json.dumps(sections, indent=2) + "\n")


def _rounded(value: float) -> float:
    return float(f"{value:.{SIGNIFICANT_DIGITS}g}")
