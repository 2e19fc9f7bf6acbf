"""An event: the start of a call, its end, or both, decoded and checked; nothing downstream checks it again.

Times are integer microseconds since 1970-01-01T00:00Z (`_us`). Ids are opaque strings.
"""

from typing import NamedTuple

import msgspec


class UsageCounts(NamedTuple):
    """Token counts of one call for one model; none is negative. `input_tokens` as stated, gross or net of cache.

    The first six are counted. `cache_creation_1h_input_tokens` are those of the cache creation that are kept for an
    hour, which has a price of its own. Where `is_read` is not true no count of tokens was found: what it cost is
    unknown.
    """

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    requests: int
    cache_creation_1h_input_tokens: int = 0
    is_read: bool = True


class CallStart(msgspec.Struct, frozen=True, gc=False):
    """What only a call's start tells. `trace_id` and `parent_id` are never empty: such a one is absent.

    `may_roll_up`: its producer is known to repeat in a call's usage what the calls below it used (see CallEnd).
    `model`: the model that its attributes name.
    """

    op_name: str
    started_at_us: int
    trace_id: str | None = None
    parent_id: str | None = None
    thread_id: str | None = None
    turn_id: str | None = None
    user_id: str | None = None
    run_id: str | None = None
    input_refs: tuple[str, ...] = ()
    may_roll_up: bool = False
    model: str | None = None


class CallEnd(msgspec.Struct, frozen=True, gc=False):
    """What only a call's end tells. `usage` is what the call states, by model.

    `may_roll_up`: what it states may repeat what the calls below it used, so that its own is only what exceeds theirs.
    A call may be such a roll-up when its start or its end says so. `error`: how what it says of its failure begins.
    """

    ended_at_us: int
    failed: bool
    usage: dict[str, UsageCounts]
    output_refs: tuple[str, ...] = ()
    may_roll_up: bool = False
    error: str | None = None


class Event(msgspec.Struct, frozen=True, gc=False):
    """A start, an end, or (a complete) both, of the call `(project_id, call_id)`."""

    project_id: str
    call_id: str
    start: CallStart | None
    end: CallEnd | None

    @property
    def at_us(self) -> int:
        """The start of its call, or the end where it has no start: what decides whether it comes too late."""
        if self.start is not None:
            return self.start.started_at_us
        return self.end.ended_at_us if self.end is not None else 0
