"""A rollup: exact totals, in integers, of the calls of one key (project, level, slot, view).

Costs are pico-dollars. Every metric keeps sum, minimum, maximum, how many values are 1 and how many are 0 (for a
cost: one dollar, nothing), so that every aggregation of an answer is exact after any merge.
"""

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


class RollupDelta:
    """What one batch adds to one rollup: counts, latencies in ms and usage rows by model."""

    __slots__ = ("calls", "errors", "latencies_ms", "rows")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.latencies_ms: list[int] = []
        self.rows: dict[str, list[Row]] = {}

    def merge(self, other: "RollupDelta") -> None:
        """Take in what `other` adds; `other` is left alone."""
        self.calls += other.calls
        self.errors += other.errors
        self.latencies_ms.extend(other.latencies_ms)
        for model, rows in other.rows.items():
            mine = self.rows.get(model)
            if mine is None:
                self.rows[model] = list(rows)
            else:
                mine.extend(rows)


def _totals(values: tuple[int, ...] | list[int], one: int) -> list[int]:
    return [sum(values), min(values), max(values), values.count(one), values.count(0)]


def _merge_totals(into: list[int], at: int, more: list[int], start: int) -> None:
    """Merge TOTALS numbers of one metric, `more[start:]`, into `into[at:]`."""
    into[at] += more[start]
    if more[start + MINIMUM] < into[at + MINIMUM]:
        into[at + MINIMUM] = more[start + MINIMUM]
    if more[start + MAXIMUM] > into[at + MAXIMUM]:
        into[at + MAXIMUM] = more[start + MAXIMUM]
    into[at + ONES] += more[start + ONES]
    into[at + ZEROS] += more[start + ZEROS]


def merge_totals(into: list[int], more: list[int]) -> None:
    """Merge flat totals metric by metric; either may be shorter (an unpriced model has no cost totals yet) or empty."""
    shared = min(len(into), len(more))
    for at in range(0, shared, TOTALS):
        _merge_totals(into, at, more, at)
    into.extend(more[shared:])


def columns(rows: list[Row]) -> tuple[list[tuple[int, ...]], int]:
    """The values of `rows` metric by metric, and how many rows are priced; cost columns hold the priced rows only."""
    tokens = list(zip(*(row[: len(TOKEN_METRICS)] for row in rows), strict=True))
    priced = [row[len(TOKEN_METRICS) :] for row in rows if len(row) > len(TOKEN_METRICS)]
    return tokens + list(zip(*priced, strict=True)), len(priced)


def add_to_model(model: ModelRollup, row_count: int, priced: int, values: list[tuple[int, ...]]) -> None:
    """Count rows given as `columns` gives them."""
    model.rows += row_count
    model.priced += priced
    more: list[int] = []
    for metric, column in enumerate(values):
        more += _totals(column, 1 if metric < len(TOKEN_METRICS) else PICO_PER_DOLLAR)
    merge_totals(model.totals, more)


def add_calls(rollup: Rollup, delta: RollupDelta) -> None:
    """Count the calls and latencies of `delta` (its usage rows go through `add_to_model`)."""
    rollup.calls += delta.calls
    rollup.errors += delta.errors
    if delta.latencies_ms:
        rollup.finished += len(delta.latencies_ms)
        merge_totals(rollup.latency, _totals(delta.latencies_ms, 1))


def merge(into: Rollup, more: Rollup) -> None:
    """Add `more`, which is left alone, to `into`."""
    into.calls += more.calls
    into.errors += more.errors
    into.finished += more.finished
    merge_totals(into.latency, more.latency)
    for name, model in more.models.items():
        mine = into.models.get(name)
        if mine is None:
            into.models[name] = ModelRollup(model.rows, model.priced, list(model.totals))
        else:
            mine.rows += model.rows
            mine.priced += model.priced
            merge_totals(mine.totals, model.totals)


ROLLUPS = Packing(Rollup)
