"""Shards that seal at once, calls to seal, and what of their blocks is sealed."""

import random
from typing import Any

from aggregator.calls.event import Event
from aggregator.rollups.levels import LEVELS
from aggregator.time_units import HOUR_S
from aggregator.writing.limits import ShardLimits
from aggregator.writing.shard import Shard
from tests.pipeline.lifelike import lifelike_events
from tests.support.folding import NOW_US, SHARD, complete, decoded, tokens

# A look through all postings ends with a step that does nothing; what came meanwhile is due in the next.
IDLE_STEPS = 3
AT_ONCE = ShardLimits(seal_after_s=-10 * 86_400)


def blocks(client: Any) -> dict[bytes, dict[bytes, bytes]]:
    """All blocks of rollups by key."""
    found = {key: client.hgetall(key) for key in client.scan_iter(f"{SHARD.tag}:*:r:*")}
    assert len(found) >= len(LEVELS)
    return found


def unsealed_fields(client: Any) -> list[bytes]:
    """Fields of blocks that are not sealed."""
    return [field for block in blocks(client).values() for field in block if not field.startswith(b"z")]


def seal_all(shard: Shard, now_us: int = NOW_US) -> int:
    """Seal until nothing more is due, however often that is asked; returns how many steps that took."""
    steps = idle = 0
    while idle < IDLE_STEPS:
        more = shard.seal(now_us)
        steps += bool(more)
        idle = 0 if more else idle + 1
    return steps


def agents_batches(rng: random.Random, count: int) -> list[list[Event]]:
    """Batches of any size of so many events of agents and 20 of them again, some out of order."""
    events = [event for one in decoded(lifelike_events(rng, count)) for event in one]
    events += rng.sample(events, 20)
    for _ in range(40):
        one, other = (rng.randrange(len(events)) for _ in range(2))
        events[one], events[other] = events[other], events[one]
    batches = []
    while events:
        size = rng.randint(1, 40)
        batches.append(events[:size])
        events = events[size:]
    return batches


def some_calls(count: int, first: int = 0, hours: int = 5) -> list[Event]:
    """Calls of some ops and users, half of them with usage; all values differ."""
    rng = random.Random(first)
    return [
        complete(
            f"call-{first + at}",
            at_s=rng.randrange(hours * HOUR_S),
            end_s=5 * HOUR_S + at * 0.001,
            usage={"gpt-4o": tokens(1_000 + at, at % 97)} if at % 2 else None,
            op_name=f"op-{at % 3}",
            user_id=f"user-{at % 4}",
        )
        for at in range(count)
    ]
