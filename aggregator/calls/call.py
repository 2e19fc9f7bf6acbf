"""A call as a shard remembers it: enough to join start and end, to place it in its tree, and to filter by it.

Never inputs, outputs or attributes. A record also stands for what is not a call yet: a parent that only its children
have named, or an end that waits for its start.
"""

from collections.abc import Mapping

import msgspec

from aggregator.calls.event import UsageCounts
from aggregator.packing import Packing

COUNTS = 6  # input, output, total, cache read, cache creation, requests
COSTS = 4  # uncached input, cache read, cache creation, output, in pico-dollars
PRICED = COUNTS + COSTS

# Per model: COUNTS numbers, and COSTS more where the model has a price.
Usage = dict[str, list[int]]


UNREAD = -1
"""Stands in `Call.price_by` for a model whose usage says nothing of tokens: no price makes a cost of it."""


def price_by(usage: Mapping[str, UsageCounts]) -> dict[str, int] | None:
    """What the first six counts do not tell of a cost, by model; None where there is nothing, as nearly always."""
    more = {
        model: counts.cache_creation_1h_input_tokens if counts.is_read else UNREAD
        for model, counts in usage.items()
        if counts.cache_creation_1h_input_tokens or not counts.is_read
    }
    return more or None


class Subtree(msgspec.Struct, array_like=True):
    """Totals of a call with all its descendants: usage by model, and how many of those calls have no end yet."""

    usage: Usage = msgspec.field(default_factory=dict)
    unfinished: int = 0

    def merge(self, other: "Subtree") -> None:
        """Add `other`, which is left alone."""
        self.unfinished += other.unfinished
        merge_usage(self.usage, other.usage)


def merge_usage(into: Usage, more: Usage) -> None:
    """Add `more` to `into`, model by model; costs appear once a priced usage has come."""
    for model, numbers in more.items():
        mine = into.get(model)
        if mine is None:
            into[model] = list(numbers)
            continue
        for position in range(min(len(mine), len(numbers))):
            mine[position] += numbers[position]
        mine.extend(numbers[len(mine) :])


class Call(msgspec.Struct, array_like=True):
    """One record. `packed_id` names it; `number` counts the records of its shard and is where it is stored.

    `parent` is the packed id its start named; `parent_number` the record it rolls up to, if any. `subtree` is None
    while it equals the call's own usage and state. `waiting` holds, by packed trace, what children have brought
    before the start. `seen_us` is the event time that decides how long the record is kept. `price_by` holds, by model,
    the tokens of the cache creation that are kept for an hour, or UNREAD.
    """

    project: int
    packed_id: bytes
    seen_us: int
    started_us: int | None = None
    ended_us: int | None = None
    failed: bool = False
    trace: bytes = b""
    parent: bytes | None = None
    parent_number: int | None = None
    op_name: str = ""
    user_id: str | None = None
    run_id: str | None = None
    usage: Usage = msgspec.field(default_factory=dict)
    subtree: Subtree | None = None
    waiting: dict[bytes, Subtree] | None = None
    waiting_output_refs: list[str] | None = None
    price_by: dict[str, int] | None = None

    @property
    def latency_ms(self) -> int | None:
        """Whole milliseconds from start to end, each floored first; None while either is missing.

        None too where it would be negative: the clocks of two machines differ, and nothing is known of it.
        """
        if self.started_us is None or self.ended_us is None:
            return None
        latency_ms = self.ended_us // 1000 - self.started_us // 1000
        return latency_ms if latency_ms >= 0 else None

    @property
    def is_ended(self) -> bool:
        """Whether it has a start too, so that its end counts."""
        return self.started_us is not None and self.ended_us is not None

    @property
    def is_started(self) -> bool:
        return self.started_us is not None

    @property
    def unfinished(self) -> bool:
        return self.started_us is not None and self.ended_us is None

    def own(self) -> Subtree:
        """The call alone, as a subtree."""
        if self.started_us is None:
            return Subtree()
        return Subtree({model: list(numbers) for model, numbers in self.usage.items()}, int(self.unfinished))

    def total(self) -> Subtree:
        """The call with all its descendants."""
        return self.subtree if self.subtree is not None else self.own()


CALL_CODEC = Packing(Call)
