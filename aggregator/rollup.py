"""A rollup: exact totals, in integers, of the calls of one key (project, level, slot, view).

Costs are pico-dollars. Every metric keeps sum, minimum, maximum, how many values are 1 and how many are 0 (for a
cost: one dollar, nothing), so that every aggregation of an answer is exact after any merge.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from aggregator.packing import Packing

TOKEN_METRICS = (
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
)
COST_METRICS = ("input_cost", "output_cost", "total_cost")
USAGE_METRICS = TOKEN_METRICS + COST_METRICS
PICO_PER_DOLLAR = 10**12

# One row: the values of one (call, model), in the order of USAGE_METRICS; without the costs where the model has no
# price.
Row = tuple[int, ...]

SUM, MINIMUM, MAXIMUM, ONES, ZEROS = range(5)
TOTALS = 5  # numbers per metric


class ModelRollup(msgspec.Struct, array_like=True):
    """Totals of the usage rows of one model. `totals` is flat: TOTALS numbers per metric of USAGE_METRICS."""

    rows: int = 0
    priced: int = 0
    totals: list[int] = msgspec.field(default_factory=list)


class Rollup(msgspec.Struct, array_like=True):
    """Totals of the calls of one key. `latency` is empty while no call has ended, else TOTALS numbers."""

    calls: int = 0
    errors: int = 0
    finished: int = 0
    latency: list[int] = msgspec.field(default_factory=list)
    models: dict[str, ModelRollup] = msgspec.field(default_factory=dict)


class ModelIncrement(NamedTuple):
    """What calls add to one model: how many rows, how many of them priced, flat totals, and the values by metric."""

    rows: int
    priced: int
    totals: list[int]
    values: list[Sequence[int]]


class Increment(NamedTuple):
    """What calls add to one rollup and its sketches, counted once and added to as many rollups as count these calls."""

    calls: int
    errors: int
    latency: list[int]
    latencies_ms: list[int]
    models: dict[str, ModelIncrement]


class CallTally:
    """Calls being counted: how many, how many failed, latencies in ms and usage rows by model."""

    __slots__ = ("calls", "errors", "latencies_ms", "rows")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.latencies_ms: list[int] = []
        self.rows: dict[str, list[Row]] = {}

    def merge(self, other: "CallTally") -> None:
        """Take in what `other` counted; `other` is left alone."""
        self.calls += other.calls
        self.errors += other.errors
        self.latencies_ms.extend(other.latencies_ms)
        for model, rows in other.rows.items():
            mine = self.rows.get(model)
            if mine is None:
                self.rows[model] = list(rows)
            else:
                mine.extend(rows)

    def increment(self) -> Increment:
        """What was counted, summed up."""
        latency = _totals(self.latencies_ms, 1) if self.latencies_ms else []
        models = {model: _model_increment(rows) for model, rows in self.rows.items()}
        return Increment(self.calls, self.errors, latency, self.latencies_ms, models)


def _totals(values: Sequence[int], one: int) -> list[int]:
    return [sum(values), min(values), max(values), values.count(one), values.count(0)]


def _model_increment(rows: list[Row]) -> ModelIncrement:
    """Cost values are those of the priced rows only."""
    tokens = len(TOKEN_METRICS)
    priced = [row for row in rows if len(row) > tokens]
    values: list[Sequence[int]]
    if len(priced) == len(rows):
        values = list(zip(*rows, strict=True))
    else:
        values = [
            *zip(*(row[:tokens] for row in rows), strict=True),
            *zip(*(row[tokens:] for row in priced), strict=True),
        ]
    totals: list[int] = []
    for metric, column in enumerate(values):
        totals += _totals(column, 1 if metric < tokens else PICO_PER_DOLLAR)
    return ModelIncrement(len(rows), len(priced), totals, values)


def join(increments: Sequence[Increment]) -> Increment:
    """Several increments, at least one, as one; none is changed."""
    if len(increments) == 1:
        return increments[0]
    latency: list[int] = []
    latencies_ms: list[int] = []
    models: dict[str, ModelIncrement] = {}
    for one in increments:
        merge_totals(latency, one.latency)
        latencies_ms += one.latencies_ms
        for name, model in one.models.items():
            mine = models.get(name)
            models[name] = model if mine is None else _join_models(mine, model)
    return Increment(
        sum(one.calls for one in increments), sum(one.errors for one in increments), latency, latencies_ms, models
    )


def _join_models(left: ModelIncrement, right: ModelIncrement) -> ModelIncrement:
    totals = list(left.totals)
    merge_totals(totals, right.totals)
    values: list[Sequence[int]] = [
        [*mine, *more] for mine, more in zip_longest(left.values, right.values, fillvalue=())
    ]
    return ModelIncrement(left.rows + right.rows, left.priced + right.priced, totals, values)


def merge_totals(into: list[int], more: Sequence[int]) -> None:
    """Merge flat totals metric by metric; either may be shorter (an unpriced model has no cost totals yet) or empty."""
    shared = min(len(into), len(more))
    for at in range(0, shared, TOTALS):
        into[at] += more[at]
        if more[at + 1] < into[at + 1]:
            into[at + 1] = more[at + 1]
        if more[at + 2] > into[at + 2]:
            into[at + 2] = more[at + 2]
        into[at + 3] += more[at + 3]
        into[at + 4] += more[at + 4]
    into.extend(more[shared:])


def add(rollup: Rollup, increment: Increment) -> None:
    """Count `increment`, which is left alone."""
    rollup.calls += increment.calls
    rollup.errors += increment.errors
    rollup.finished += len(increment.latencies_ms)
    merge_totals(rollup.latency, increment.latency)
    _add_models(rollup.models, increment.models)


def merge(into: Rollup, more: Rollup) -> None:
    """Add `more`, which is left alone, to `into`."""
    into.calls += more.calls
    into.errors += more.errors
    into.finished += more.finished
    merge_totals(into.latency, more.latency)
    _add_models(into.models, more.models)


def _add_models(into: dict[str, ModelRollup], more: Mapping[str, ModelRollup | ModelIncrement]) -> None:
    for name, model in more.items():
        mine = into.get(name)
        if mine is None:
            into[name] = ModelRollup(model.rows, model.priced, list(model.totals))
        else:
            mine.rows += model.rows
            mine.priced += model.priced
            merge_totals(mine.totals, model.totals)


ROLLUPS = Packing(Rollup)
