"""Calls being counted, before they are added to cells."""

from collections.abc import Hashable, Iterable
from typing import TypeVar

from aggregator.call import Call, usage_row
from aggregator.cell import Cell
from aggregator.series import LATENCY, Row, model_series, pack_latency, pack_usage, series_of

Key = TypeVar("Key", bound=Hashable)


class CallTally:
    """How many calls, how many failed, and by series packed rows; apart from them rows too large to be packed."""

    __slots__ = ("calls", "errors", "large", "rows")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.rows: dict[bytes, list[bytes]] = {}
        self.large: dict[bytes, list[Row]] = {}

    def add_end(self, call: Call, latency_ms: int) -> None:
        """Count what is known of a started call from its end on."""
        self.errors += call.failed
        rows = self.rows
        latencies = rows.get(LATENCY)
        if latencies is None:
            rows[LATENCY] = [pack_latency(latency_ms)]
        else:
            latencies.append(pack_latency(latency_ms))
        for model, numbers in call.usage.items():
            name, packed = model_series(model), pack_usage(numbers)
            if packed is None:
                self.large.setdefault(name, []).append(usage_row(numbers))
            elif name in rows:
                rows[name].append(packed)
            else:
                rows[name] = [packed]

    def merge(self, other: "CallTally") -> None:
        """Take in what `other` counted; `other` is left alone."""
        self.calls += other.calls
        self.errors += other.errors
        for name, more in other.rows.items():
            mine = self.rows.get(name)
            if mine is None:
                self.rows[name] = list(more)
            else:
                mine += more
        for name, large in other.large.items():
            self.large.setdefault(name, []).extend(large)

    def cell(self) -> Cell:
        """What was counted as a cell that keeps all its rows, however many."""
        return Cell(
            self.calls,
            self.errors,
            {name: b"".join(rows) for name, rows in self.rows.items()},
            large={name: series_of(name).layout.of_values(rows) for name, rows in self.large.items()},
        )


def tally_of(calls: Iterable[Call]) -> CallTally:
    """Started calls, counted."""
    tally = CallTally()
    for call in calls:
        tally.calls += 1
        latency_ms = call.latency_ms
        if latency_ms is not None:
            tally.add_end(call, latency_ms)
    return tally


def add_shared(into: dict[Key, CallTally], key: Key, tally: CallTally, copied: set[Key]) -> None:
    """Add a tally under a key; it is shared as long as no second one comes. `copied`: keys whose tally is their own."""
    known = into.get(key)
    if known is None:
        into[key] = tally
        return
    if key not in copied:
        copied.add(key)
        own = into[key] = CallTally()
        own.merge(known)
        known = own
    known.merge(tally)
