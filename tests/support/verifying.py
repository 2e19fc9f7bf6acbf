"""Verifies what a test has folded into Redis, as the command does, and changes what is stored there."""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import redis

from aggregator.reading.differences import Difference
from aggregator.rollups.cell import CELL_CODEC, place_of
from aggregator.time_units import HOUR_US
from callmeter.settings import Settings
from callmeter.settings_reading import read_settings
from callmeter.window_verification import Verified, verify_window
from tests.support.folding import NOW_US, PROJECT, T0_US, apply, complete, end, open_shard, start, tokens

PRICED = "gpt-4o"


def environment(redis_url: str) -> dict[str, str]:
    """Returns what an operator sets."""
    kept = {f"RETENTION__{level}": "3650d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")}
    return {"REDIS__URL": redis_url, "NOW": "2026-06-11T12:00:00Z"} | kept


def settings(redis_url: str) -> Settings:
    """Returns the settings that an operator sets."""
    return read_settings({f"CALLMETER_{name}": value for name, value in environment(redis_url).items()})


def verified(redis_url: str, start_us: int, end_us: int, project: str = PROJECT) -> Verified:
    """Rollups and trees of a window."""
    return asyncio.run(verify_window(settings(redis_url), None, project, start_us, end_us, NOW_US, tree=True))


def differences(redis_url: str) -> list[Difference]:
    """Returns the differences of the hour of T0 and the one before."""
    return verified(redis_url, T0_US - HOUR_US, T0_US + HOUR_US).differences


def fold_tree(client: redis.Redis) -> None:
    """A root with two children and a grandchild, over several minutes, the last of them unfinished."""
    events = [
        start("root", 0, user_id="ann"),
        complete("child-1", 70, 75, {PRICED: tokens(3, 4)}, parent_id="root", op_name="llm"),
        complete("child-2", 80, 91, {"nobodys": tokens(1, 1)}, parent_id="root", op_name="llm"),
        start("grandchild", 400, parent_id="child-1"),
        end("root", 500, usage={PRICED: tokens(2, 2)}, failed=True),
    ]
    apply(open_shard(client), events)


def change(
    client: redis.Redis,
    pattern: str,
    how: Callable[[bytes], bytes | None],
    view: int | None = None,
    beside: bytes = b"",
) -> None:
    """Change the first field of the first key that matches; with `view`, of its first cell, or what is beside that."""
    keys: Any = sorted(client.keys(pattern))
    assert keys, pattern
    fields: Any = client.hgetall(keys[0])
    field = sorted(one for one in fields if view is None or (one[2:5] == place_of(0, view)[2:] and one[5:] == beside))[
        0
    ]
    changed = how(fields[field])
    if changed is None:
        client.hdel(keys[0], field)
    else:
        client.hset(keys[0], field, changed)


def one_more_call(packed: bytes) -> bytes:
    """A cell that counts one call more."""
    cell = CELL_CODEC.unpack(packed)
    return CELL_CODEC.pack(msgspec.structs.replace(cell, calls=cell.calls + 1))


def gone(packed: bytes) -> None:
    """Returns None in place of what was packed: it is gone."""


def fold_many(client: redis.Redis, calls: int) -> None:
    """Folds so many calls in one minute, in two batches, half of them priced."""
    shard = open_shard(client)
    models = (PRICED, "nobodys")
    events = [complete(f"call-{at}", 0, at, {models[at % 2]: tokens(at, at * at)}) for at in range(calls)]
    apply(shard, events[: calls // 3])
    apply(shard, events[calls // 3 :])
