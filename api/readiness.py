"""Whether the api is ready: somebody folds what comes, so that its answers are of now. Pure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from aggregator.layout.keys import ShardName, shard_member
from aggregator.time_units import SECOND_US
from aggregator.timestamps import format_utc

# The oldest ones are enough to find the worker.
STALE_SHOWN_MAX = 10


class Readiness(NamedTuple):
    """Whether it is ready, and what is said of it."""

    is_ready: bool
    body: dict[str, Any]


def readiness_of(shards: Sequence[tuple[ShardName, int | None]], now_us: int, stale_s_max: int) -> Readiness:
    """Ready unless all shards that say how far they are, at least one, are as of over `stale_s_max` ago (0: never).

    A partition at its end is as of about now, so all of them are behind only where no worker runs, or all that run have
    much to catch up with. Some are behind where one of several workers stands still: most answers are good, and those
    shards are named.
    """
    known = sorted((as_of_us, name) for name, as_of_us in shards if as_of_us is not None)
    stale = [
        (as_of_us, name) for as_of_us, name in known if stale_s_max and now_us - as_of_us > stale_s_max * SECOND_US
    ]
    if not stale:
        return Readiness(True, {"status": "ok"})
    named = [
        {
            "shard": shard_member(name),
            "as_of": format_utc(as_of_us),
            "seconds_behind": (now_us - as_of_us) // SECOND_US,
        }
        for as_of_us, name in stale[:STALE_SHOWN_MAX]
    ]
    if len(stale) < len(known):
        return Readiness(True, {"status": "ok", "stale": named})
    why = f"no worker folds: all {len(known)} partitions are more than {stale_s_max} s behind"
    return Readiness(False, {"status": "not ready", "why": why, "stale": named})
