"""Reading the first calls of busy minutes as shards keep them, so that few of all their calls are read."""

from collections.abc import Sequence
from typing import NamedTuple

from aggregator.layout.first_calls import (
    FirstCalls,
    Place,
    minute_field,
    unpack_first_calls,
    view_field,
)
from aggregator.layout.keys import day_of
from aggregator.reading.value_rollups import DayViews
from aggregator.rollups.orders import ORDERS, Order
from aggregator.store.reader import ProjectShard, StoreReader
from aggregator.time_units import MINUTE_US

# Of all ops of a filter together, as many as /calls/examples gives at most.
FIRST_CALLS_MAX = 100


class KeptFirst(NamedTuple):
    """Record numbers of calls of a minute in a shard; all others of the filter come no earlier than `floor` (None:
    there are none).
    """

    numbers: list[int]
    floor: Place | None


async def read_first_calls(
    reader: StoreReader, views: DayViews, minutes: Sequence[int], order: Order
) -> dict[tuple[ProjectShard, int], KeptFirst]:
    """Return what is kept of these minutes (since 1970), by shard and minute. `views`: that of all calls, or of ops."""
    wanted = [
        (shard, minute, numbers)
        for shard, day, numbers in views
        for minute in minutes
        if day_of(minute * MINUTE_US) == day
    ]
    replies = await reader.fetch(
        [
            (
                "HMGET",
                shard.keys.first_calls(shard.project, day_of(minute * MINUTE_US)),
                minute_field(minute),
                *(view_field(minute, view) for view in numbers),
            )
            for shard, minute, numbers in wanted
        ]
    )
    return {
        (shard, minute): _joined([unpack_first_calls(one)[ORDERS.index(order)] for one in stored if one is not None])
        for (is_kept, *stored), (shard, minute, _) in zip(replies, wanted, strict=True)
        if is_kept is not None
    }


def _joined(of_views: Sequence[FirstCalls]) -> KeptFirst:
    entries = sorted((entry for first in of_views for entry in first.entries), reverse=True)
    floors = [first.floor for first in of_views if first.floor is not None]
    if len(entries) > FIRST_CALLS_MAX:
        floors.append(entries[FIRST_CALLS_MAX][:2])
    return KeptFirst([number for *_, number in entries[:FIRST_CALLS_MAX]], max(floors, default=None))
