"""The commands of Redis that store what a step changes in a shard."""

import secrets
from collections.abc import Iterator
from itertools import chain

from aggregator.layout.keys import VERSION_BYTES, ShardKeys
from aggregator.layout.slot_versions import pack_version
from aggregator.layout.write import ShardWrite, Value
from aggregator.store.transaction import Command


def commands_of(write: ShardWrite, keys: ShardKeys, session: bytes, fence: bytes | None) -> Iterator[Command]:
    """Everything that a write changes, and last the fence, where there is one, with the session that writes it."""
    for key in write.drops:
        yield ("DEL", key)
    for key, fields in write.fields.items():
        yield ("HSET", key, *chain.from_iterable(fields.items()))
    for key, deleted in write.deletions.items():
        yield ("HDEL", key, *deleted)
    for ref_key, names in write.names.items():
        scored: list[Value] = [part for name in names for part in (0, name)]
        yield ("ZADD", ref_key, *scored)
    version = secrets.token_bytes(VERSION_BYTES)
    for versions_key, slots in write.new_versions.items():
        latest_us = write.latest_starts_us.get(versions_key, {})
        drawn: list[Value] = [part for slot in slots for part in (slot, pack_version(version, latest_us.get(slot, 0)))]
        yield ("HSET", versions_key, *drawn)
    for counter, count in write.increments.items():
        yield ("HINCRBY", keys.shard, counter, count)
    for key, at_unix_s in write.expiries.items():
        yield ("EXPIREAT", key, at_unix_s)
    if fence is not None:
        # Numbers of calls and projects may be others after a replay; who reads is told by this that there was one.
        yield ("HSET", keys.writer, "session", session)
        yield ("SET", keys.next, fence)
