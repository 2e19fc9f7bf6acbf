"""What one batch changes: the outcome of a fold, before it becomes fields and keys."""

from collections import Counter, defaultdict

import msgspec

from aggregator.calls.call import Call
from aggregator.layout.open_calls import OpenCall
from aggregator.layout.slots import ProjectDay, ProjectMinute
from aggregator.layout.unpriced import Unpriced
from aggregator.rollups.tally import CallTally

CallGroup = tuple[int, int, str, bool, str | None, str | None]
"""Project, minute, op name, root or not, user, run: calls that no filter on dimensions tells apart."""

Postings = defaultdict[str, defaultdict[bytes, list[bytes]]]
"""By index and value: the calls that have it, as they stand in postings."""


class BatchChanges(msgspec.Struct):
    """What a batch changes: records by number, tallies of groups of calls, packed postings by index and value, open
    calls, counters, calls without a cost, an example of a roll-up that states less than the calls below it count, and
    when the latest of the calls that started in a minute did.
    """

    records: set[int] = msgspec.field(default_factory=set)
    groups: dict[CallGroup, CallTally] = msgspec.field(default_factory=dict)
    postings: dict[ProjectDay, Postings] = msgspec.field(default_factory=dict)
    open_calls: dict[tuple[int, bytes], dict[int, OpenCall | None]] = msgspec.field(default_factory=dict)
    counters: Counter[str] = msgspec.field(default_factory=Counter)
    unpriced: Counter[Unpriced] = msgspec.field(default_factory=Counter)
    short_rollup: Call | None = None
    latest_starts_us: dict[ProjectMinute, int] = msgspec.field(default_factory=dict)


class Applied(msgspec.Struct, frozen=True):
    """What one batch came to, for logs and metrics."""

    events: int
    calls: int
    duplicates: int
    unpriced: int
