"""A call as a shard remembers it: enough to join start and end, to place it in its tree, and to filter by it.

Never inputs, outputs or attributes. A record also stands for what is not a call yet: a parent that only its children
have named, or an end that waits for its start.
"""

import msgspec

from aggregator.calls.usage_vector import COUNTS, Usage, add_usage
from aggregator.packing import Packing


class Subtree(msgspec.Struct, array_like=True, gc=False):
    """Totals of a call with all its descendants: usage by model, and how many of those calls have no end yet."""

    usage: Usage = msgspec.field(default_factory=dict)
    unfinished: int = 0

    def copied(self) -> "Subtree":
        """Return these totals once more, without models of which there is nothing."""
        return Subtree({model: vector for model, vector in self.usage.items() if any(vector)}, self.unfinished)

    def merge(self, other: "Subtree") -> None:
        """Add `other`, which is left alone and may be negative."""
        self.unfinished += other.unfinished
        add_usage(self.usage, other.usage)


class Call(msgspec.Struct, array_like=True, gc=False):
    """One record. `packed_id` names it; `number` counts the records of its shard and is where it is stored.

    `parent` is the packed id its start named; `parent_number` the record it rolls up to, if any. `usage` is what the
    call counts as its own. `stated` is what it states where that may repeat what is below it (`may_roll_up`) and both
    start and end are known. `subtree` is None while it equals the call's own usage and state. `waiting` holds, by
    packed trace, what children have brought before the start. `error` is how what a failed call says of its failure
    begins, or only its class; `model` is the one its start named, while that may matter. `seen_us` is the event time
    that decides how long the record is kept.
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
    may_roll_up: bool = False
    stated: Usage | None = None
    error: str | None = None
    model: str | None = None

    @property
    def models(self) -> list[str]:
        """The models that a finished call belongs to: those it used itself; if it failed before it used any, the one
        its start named.
        """
        if self.usage or self.stated is not None or not self.failed or self.model is None:
            return list(self.usage)
        return [self.model]

    @property
    def latency_ms(self) -> int | None:
        """Whole milliseconds from start to end, each floored first; None while either is missing, and where clocks
        differ so much that it would be negative.
        """
        if self.started_us is None or self.ended_us is None:
            return None
        latency_ms = self.ended_us // 1000 - self.started_us // 1000
        return latency_ms if latency_ms >= 0 else None

    @property
    def is_started(self) -> bool:
        return self.started_us is not None

    @property
    def is_ended(self) -> bool:
        """Whether both its start and its end are known."""
        return self.started_us is not None and self.ended_us is not None

    @property
    def is_root(self) -> bool:
        """Whether its start names no parent."""
        return self.started_us is not None and self.parent is None

    @property
    def unfinished(self) -> bool:
        return self.started_us is not None and self.ended_us is None

    def own(self) -> Subtree:
        """The call alone, as a subtree."""
        return Subtree(self.usage, int(self.unfinished)).copied() if self.started_us is not None else Subtree()

    def total(self) -> Subtree:
        """The call with all its descendants."""
        return self.subtree if self.subtree is not None else self.own()

    def tree_usage(self) -> Usage:
        """Return what a question about roots counts of the call: its usage with that of all its descendants.

        Only of a root that has ended, and of models of which any count is left.
        """
        if not (self.is_root and self.is_ended):
            return {}
        return counted_usage(self.total().usage)


def counted_usage(usage: Usage) -> Usage:
    """The models of which any count is not 0."""
    return {model: vector for model, vector in usage.items() if any(vector[COUNTS])}


CALL_CODEC = Packing(Call)
