"""What was measured, as `callmeter plan` reckons with it: `figures.json`, written by `python -m bench --record`.

Each benchmark has a section there with its date and machine, replaced as a whole when it is recorded again. A figure's
name ends in its unit, then what it was measured at: `slot_bytes.m.10` are the bytes of a minute's rollup of 10 calls.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

FIGURES_FILE = Path(__file__).parent / "figures.json"


class FiguresWrong(Exception):
    """A figure is missing or no number; the message names it."""


@dataclass(frozen=True)
class Curve:
    """A cost by an amount: between measured amounts it follows a power law, beyond them it stays; more never costs
    less.
    """

    amounts: tuple[float, ...]
    costs: tuple[float, ...]

    @classmethod
    def of(cls, points: Mapping[float, float]) -> "Curve":
        """A curve through at least one point, amounts and costs above 0. What was measured as cheaper than a smaller
        amount, by chance, costs as much as that.
        """
        amounts = tuple(sorted(points))
        return cls(amounts, tuple(accumulate((points[amount] for amount in amounts), max)))

    def at(self, amount: float) -> float:
        """The cost of an amount."""
        if amount <= self.amounts[0]:
            return self.costs[0]
        points = zip(self.amounts, self.costs, strict=True)
        for (low, low_cost), (high, high_cost) in pairwise(points):
            if amount <= high:
                share = math.log(amount / low) / math.log(high / low)
                return float(low_cost * (high_cost / low_cost) ** share)
        return self.costs[-1]


@dataclass(frozen=True)
class Source:
    """When and where a benchmark measured its figures; `short`: in a short run."""

    benchmark: str
    measured: str
    machine: str
    short: bool


@dataclass(frozen=True)
class Figures:
    """Everything measured that a plan needs. `_by_` curves: worker CPU per event by how many of them there are."""

    worker_us_per_event: Curve  # elapsed time of one worker, by bytes of a message
    worker_cpu_us_per_event: Curve  # by bytes of a message
    redis_cpu_us_per_event: Curve  # by bytes of a message
    worker_resident_bytes: float
    cpu_us_by_models: Curve
    cpu_us_by_projects: Curve
    cpu_us_by_ops: Curve
    record_bytes_per_call: float  # the record and its id
    index_bytes_per_call: float  # postings and refs, which go by the day
    view_bytes: float  # an entry of a day's directory of views
    busy_bytes_per_call: float  # what is kept of a call of a busy minute, which goes by the day
    slot_bytes: Mapping[str, Curve]  # by level: a rollup without models, its latency sketch in it, by calls
    model_bytes: Mapping[str, Curve]  # by level: a model in a rollup, with its eight sketches, by its calls
    answer_floor_ms: float  # a question that finds nothing, one partition
    answer_ms_per_partition: float  # of the topic, whether it holds anything of the project or not
    # p50 of each question, by calls of the project in 30 days; one shard, five models
    answer_ms: Mapping[str, Curve]
    answer_first_ms: Mapping[str, Curve]  # where no rows are kept
    # by what it is of (`records`, `indexes`, a level's letter): bytes when sealed, as a part of those before
    sealed_share: Mapping[str, float] = field(default_factory=dict)
    # likewise, of what has moved into objects: what is left of it in Redis, and what is in the objects
    moved_share: Mapping[str, float] = field(default_factory=dict)
    object_share: Mapping[str, float] = field(default_factory=dict)
    sealing_us_per_call: float = 0.0  # of a worker, for all that is sealed of a call
    sources: tuple[Source, ...] = field(default=(), compare=False)


def read_figures(path: Path = FIGURES_FILE) -> Figures:
    """The recorded figures. Raises FiguresWrong."""
    return figures_of(json.loads(path.read_text()))


def figures_of(sections: Mapping[str, Any]) -> Figures:
    """Figures from sections by benchmark, each with `measured`, `machine`, `short` and `figures`. Raises
    FiguresWrong.
    """
    numbers: dict[str, float] = {}
    for section in sections.values():
        numbers |= section["figures"]
    return Figures(
        worker_us_per_event=_curve(numbers, "worker_us_per_event"),
        worker_cpu_us_per_event=_curve(numbers, "worker_cpu_us_per_event"),
        redis_cpu_us_per_event=_curve(numbers, "redis_cpu_us_per_event"),
        worker_resident_bytes=_number(numbers, "worker_resident_bytes"),
        cpu_us_by_models=_curve(numbers, "cpu_us_by_models"),
        cpu_us_by_projects=_curve(numbers, "cpu_us_by_projects"),
        cpu_us_by_ops=_curve(numbers, "cpu_us_by_ops"),
        record_bytes_per_call=_number(numbers, "record_bytes_per_call"),
        index_bytes_per_call=_number(numbers, "index_bytes_per_call"),
        view_bytes=_number(numbers, "view_bytes"),
        busy_bytes_per_call=_number(numbers, "busy_bytes_per_call"),
        slot_bytes=_curves(numbers, "slot_bytes"),
        model_bytes=_curves(numbers, "model_bytes"),
        answer_floor_ms=_number(numbers, "answer_floor_ms"),
        answer_ms_per_partition=_number(numbers, "answer_ms_per_partition"),
        answer_ms=_curves(numbers, "answer_ms"),
        answer_first_ms=_curves(numbers, "answer_first_ms"),
        sealed_share=_shares(numbers, "sealed_share"),
        moved_share=_shares(numbers, "moved_share"),
        object_share=_shares(numbers, "object_share"),
        sealing_us_per_call=_number(numbers, "sealing_us_per_call") if "sealing_us_per_call" in numbers else 0.0,
        sources=tuple(
            Source(name, section["measured"], section["machine"], section["short"])
            for name, section in sections.items()
        ),
    )


def _number(numbers: Mapping[str, Any], name: str) -> float:
    value = numbers.get(name)
    if not isinstance(value, int | float) or not value > 0:
        raise FiguresWrong(f"the figure {name} is {'missing' if value is None else 'not a number above 0'}")
    return float(value)


def _shares(numbers: Mapping[str, Any], name: str) -> dict[str, float]:
    return {part: _number(numbers, f"{name}.{part}") for part in _parts(numbers, name)}


def _curve(numbers: Mapping[str, Any], name: str) -> Curve:
    points = {float(part): _number(numbers, f"{name}.{part}") for part in _parts(numbers, name)}
    if not points:
        raise FiguresWrong(f"the figure {name} is missing")
    return Curve.of(points)


def _curves(numbers: Mapping[str, Any], name: str) -> dict[str, Curve]:
    kinds = dict.fromkeys(part.rpartition(".")[0] for part in _parts(numbers, name))
    if not kinds:
        raise FiguresWrong(f"the figure {name} is missing")
    return {kind: _curve(numbers, f"{name}.{kind}") for kind in kinds}


def _parts(numbers: Iterable[str], name: str) -> list[str]:
    """Return what stands behind `name.` in figures."""
    return [figure.removeprefix(f"{name}.") for figure in numbers if figure.startswith(f"{name}.")]
