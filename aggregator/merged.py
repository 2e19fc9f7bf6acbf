"""Rollups, sketches and single calls merged into what one bucket of an answer is made of."""

from collections.abc import Iterable

from aggregator.call import Call, usage_row
from aggregator.rollup import USAGE_METRICS, CallTally, Rollup, add, merge
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
        tally = CallTally()
        for call in calls:
            tally.calls += 1
            latency_ms = call.latency_ms
            if latency_ms is None:
                continue
            tally.errors += call.failed
            tally.latencies_ms.append(latency_ms)
            for model, numbers in call.usage.items():
                tally.rows.setdefault(model, []).append(usage_row(numbers))
        increment = tally.increment()
        add(self.rollup, increment)
        if increment.latencies_ms:
            self.latencies.append(list(increment.latencies_ms))
        for model, more in increment.models.items():
            self.add_usage(model, [list(values) for values in more.values])
