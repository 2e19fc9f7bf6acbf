"""Numbers taken in rounds, and the line that a benchmark prints: ours, the other, their ratio, the target, the verdict.

A number of one moment says little on a machine that does other things too: a benchmark takes what it compares in turn,
round by round, and a ratio is the median of the rounds' ratios.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

PARTS = 5


class Measured(NamedTuple):
    """The median of some rounds, and half of the range between the lowest and the highest as a part of it."""

    median: float
    spread: float


def measured(values: Sequence[float]) -> Measured:
    """Returns the median and the spread of these values, of which there is at least one."""
    median = statistics.median(values)
    return Measured(median, (max(values) - min(values)) / 2 / median if median else 0.0)


def percentile(values: Sequence[float], wanted: float) -> float:
    """The percentile (0-100) of at least one value, interpolated linearly."""
    ordered = sorted(values)
    rank = wanted / 100 * (len(ordered) - 1)
    below = ordered[int(rank)]
    above = ordered[min(int(rank) + 1, len(ordered) - 1)]
    return below + (above - below) * (rank % 1)


def percentile_in_parts(values: Sequence[float], wanted: float) -> Measured:
    """The percentile of all values, with the spread of those of PARTS that came one after the other; for what goes on
    without rounds.
    """
    size = max(1, len(values) // PARTS)
    parts = [percentile(values[at : at + size], wanted) for at in range(0, size * min(PARTS, len(values)), size)]
    return Measured(percentile(values, wanted), measured(parts).spread)


def in_turn(rounds: int, contenders: Mapping[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Returns what each contender measures, one round after the other."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, measure in contenders.items():
            taken[name].append(measure())
    return taken


@dataclass(frozen=True)
class Target:
    """A bound on the ratio, or on our own number."""

    of: Literal["ratio", "ours"]
    kind: Literal["at least", "at most"]
    bound: float

    def is_met(self, value: float) -> bool:
        return value >= self.bound if self.kind == "at least" else value <= self.bound


def ratio_at_least(bound: float) -> Target:
    return Target("ratio", "at least", bound)


def ratio_at_most(bound: float) -> Target:
    return Target("ratio", "at most", bound)


def ours_at_least(bound: float) -> Target:
    return Target("ours", "at least", bound)


def ours_at_most(bound: float) -> Target:
    return Target("ours", "at most", bound)


@dataclass(frozen=True)
class Line:
    """One result. `unit` is that of `ours` and `other`; `absent` says why there is nothing to tell, `broke` that there
    should have been. `figure` is the name by which `callmeter plan` knows our number
    (callmeter/planning/figures.py)."""

    name: str
    unit: str = ""
    ours: Measured | None = None
    other: Measured | None = None
    ratio: float | None = None
    target: Target | None = None
    absent: str = ""
    broke: bool = False
    figure: str = ""

    @property
    def missed(self) -> bool:
        """Whether there is a target and it is not met, or the benchmark broke off."""
        value = self.ratio if self.target and self.target.of == "ratio" else self.ours and self.ours.median
        return self.broke or bool(self.target and value is not None and not self.target.is_met(value))

    def __str__(self) -> str:
        if self.absent:
            return f"{self.name:<66} {'broke off' if self.broke else 'not run'}: {self.absent}"
        verdict = "" if self.target is None else "missed" if self.missed else "met"
        ratio = "-" if self.ratio is None else f"{self.ratio:.3g}"
        columns = f"{_shown(self.ours, self.unit):>20} {_shown(self.other, self.unit):>20} {ratio:>8}"
        return f"{self.name:<66} {columns} {_bound(self.target, self.unit):>14}  {verdict}".rstrip()


HEADING = f"{'name':<66} {'ours':>20} {'other':>20} {'ratio':>8} {'target':>14}"


def compared(name: str, unit: str, ours: Sequence[float], other: Sequence[float], target: Target | None = None) -> Line:
    """Two contenders, measured in the same rounds."""
    ratios = [mine / theirs if theirs else float("inf") for mine, theirs in zip(ours, other, strict=True)]
    return Line(name, unit, measured(ours), measured(other), statistics.median(ratios), target)


def alone(name: str, unit: str, values: Sequence[float], target: Target | None = None, figure: str = "") -> Line:
    """Our number by itself."""
    return Line(name, unit, measured(values), target=target, figure=figure)


def _shown(number: Measured | None, unit: str) -> str:
    if number is None:
        return "-"
    spread = f" ±{number.spread:.0%}" if number.spread >= 0.005 else ""
    return f"{_rounded(number.median)} {unit}".rstrip() + spread


def _bound(target: Target | None, unit: str) -> str:
    if target is None:
        return "-"
    sign = ">=" if target.kind == "at least" else "<="
    return f"{sign} {_rounded(target.bound)} {unit if target.of == 'ours' else ''}".rstrip()


def _rounded(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
