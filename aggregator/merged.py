"""Rollups, sketches and single calls merged into what one bucket of an answer is made of."""

from collections.abc import Iterable

from aggregator.call import Call, usage_row
from aggregator.rollup import (
    USAGE_METRICS,
    ModelRollup,
    Rollup,
    RollupDelta,
    add_calls,
    add_to_model,
    columns,
    merge,
)
from aggregator.sketch import Packed


class Merged:
    """Exact totals, and the sketches to read percentiles from: of latencies, and by model and metric of
    USAGE_METRICS.
    """

    __slots__ = ("latencies", "rollup", "usage")

    def __init__(self) -> None:
        self.rollup = Rollup()
        self.latencies: list[Packed] = []
        self.usage: dict[str, list[list[Packed]]] = {}

    def add_rollup(self, rollup: Rollup) -> None:
        """Merge the totals of `rollup`, which is left alone."""
        merge(self.rollup, rollup)

    def add_latencies(self, packed: Packed) -> None:
        """Merge a latency sketch."""
        self.latencies.append(packed)

    def add_usage(self, model: str, metrics: Iterable[Packed]) -> None:
        """Merge the sketches of a model's metrics."""
        mine = self.usage.get(model)
        if mine is None:
            mine = self.usage[model] = [[] for _ in USAGE_METRICS]
        for sketches, packed in zip(mine, metrics, strict=False):
            if packed:
                sketches.append(packed)

    def add_calls(self, calls: Iterable[Call]) -> None:
        """Count single started calls."""
        delta = RollupDelta()
        for call in calls:
            delta.calls += 1
            latency_ms = call.latency_ms
            if latency_ms is None:
                continue
            delta.errors += call.failed
            delta.latencies_ms.append(latency_ms)
            for model, numbers in call.usage.items():
                delta.rows.setdefault(model, []).append(usage_row(numbers))
        add_calls(self.rollup, delta)
        if delta.latencies_ms:
            self.latencies.append(list(delta.latencies_ms))
        for model, rows in delta.rows.items():
            values, priced = columns(rows)
            add_to_model(self.rollup.models.setdefault(model, ModelRollup()), len(rows), priced, values)
            self.add_usage(model, [list(column) for column in values])
