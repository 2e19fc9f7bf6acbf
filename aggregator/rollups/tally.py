"""Calls being counted, before they are added to cells."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aggregator.calls.call import PRICED, Call
from aggregator.rollups.cell import Cell
from aggregator.rollups.series import LATENCY, Row, model_series, pack_latency, pack_usage, series_of


def usage_row(numbers: list[int]) -> Row:
    """The metrics of one model's usage, in the order of USAGE_METRICS."""
    row = tuple(numbers[:5])
    if len(numbers) == PRICED:
        input_cost = numbers[6] + numbers[7] + numbers[8]
        return (*row, input_cost, numbers[9], input_cost + numbers[9])
    return row


class PackedTally(NamedTuple):
    """A tally as cells take it in, which leave it alone: rows of a series are one after the other."""

    calls: int
    errors: int
    rows: dict[bytes, bytes]
    large: dict[bytes, list[Row]]


class CallTally:
    """How many calls, how many failed, and by series packed rows; apart from them rows too large to be packed."""

    __slots__ = ("calls", "errors", "large", "rows")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.rows: dict[bytes, list[bytes]] = {}
        self.large: dict[bytes, list[Row]] = {}

    def add_end(self, call: Call, latency_ms: int | None) -> None:
        """Count what is known of a started call from its end on; without a latency where that makes no sense."""
        self.errors += call.failed
        rows = self.rows
        latencies = rows.get(LATENCY)
        if latency_ms is None:
            pass
        elif latencies is None:
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

    def packed(self) -> PackedTally:
        """What was counted."""
        return PackedTally(
            self.calls, self.errors, {name: b"".join(rows) for name, rows in self.rows.items()}, self.large
        )

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
        if call.is_ended:
            tally.add_end(call, call.latency_ms)
    return tally


def merge_tallies(packed_tallies: Sequence[PackedTally]) -> PackedTally:
    """What several bring, at least one."""
    if len(packed_tallies) == 1:
        return packed_tallies[0]
    calls = errors = 0
    rows: dict[bytes, list[bytes]] = {}
    large: dict[bytes, list[Row]] = {}
    for packed in packed_tallies:
        calls += packed.calls
        errors += packed.errors
        for name, more in packed.rows.items():
            known = rows.get(name)
            if known is None:
                rows[name] = [more]
            else:
                known.append(more)
        for name, of_series in packed.large.items():
            large.setdefault(name, []).extend(of_series)
    return PackedTally(calls, errors, {name: b"".join(packed) for name, packed in rows.items()}, large)
