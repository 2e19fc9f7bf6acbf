"""The interface of aggregator.store.shard_store.ShardStore on a Redis in memory, where every command may pause or fail.

`tests/test_protocol_store.py` holds both to the same contract.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import NamedTuple
from zlib import crc32

import redis

from aggregator.layout import keys as layout
from aggregator.layout.attempt import Attempt
from aggregator.layout.keys import SESSION_BYTES, VERSION_BYTES, ShardKeys, ShardName
from aggregator.layout.slot_versions import pack_version
from aggregator.layout.write import Field, Key, ShardWrite, Value
from aggregator.store.shard_store import Fenced, ShardStore
from tests.protocol.memory_redis import Hash, MemoryRedis, State


class Fault(Enum):
    """The ways in which one command may go wrong."""

    UNSENT = "the connection is cut before it arrives"
    UNANSWERED = "it is done, and the connection is cut before the answer"
    LATE = "the client gives up waiting; it arrives later"
    FULL = "Redis has no memory for it"


class Watch(NamedTuple):
    """The connection and the key that must not change between WATCH and EXEC."""

    incarnation: int
    writes: int


def nothing_happens(command: str) -> Fault | None:
    """The default between commands."""
    del command
    return None


class MemoryStore(ShardStore):
    """One shard's keys as one client sees them. `before` is called with each command before it reaches the server."""

    def __init__(
        self, server: MemoryRedis, shard: ShardName, before: Callable[[str], Fault | None] = nothing_happens
    ) -> None:
        self._server = server
        self._before = before
        self._asked = False
        self.next_element = 0
        self._continued_at: bytes | None = None
        self.shard = shard
        self.keys = ShardKeys(shard)

    def check_policy(self) -> None:
        """Accepts the policy: this Redis drops nothing by itself."""

    def next_offset(self) -> int | None:
        stored = self._look("next_offset").string(_bytes(self.keys.next))
        self._asked, self._continued_at = True, stored
        if stored is not None and stored.startswith(layout.MOVED):
            raise Fenced("it is closed")
        return layout.stored_offset(self._continued_at)

    def shard_fields(self) -> dict[str, str]:
        [fields] = self._read_hashes("shard_fields", [self.keys.shard])
        return {name.decode(): value.decode() for name, value in fields.items()}

    def read_fields(self, wanted: Mapping[Key, Sequence[Field]]) -> dict[Key, list[bytes | None]]:
        if not any(wanted.values()):
            return {}
        hashes = self._read_hashes("read_fields", wanted)
        return {
            key: [found.get(_bytes(field)) for field in fields]
            for (key, fields), found in zip(wanted.items(), hashes, strict=True)
        }

    def read_hashes(self, keys: Iterable[Key]) -> list[dict[bytes, bytes]]:
        return self._read_hashes("read_hashes", keys)

    def field_names(self, key: Key) -> list[bytes]:
        [found] = self._read_hashes("field_names", [key])
        return list(found)

    def scan_fields(self, key: Key, cursor: int, count: int) -> tuple[int, dict[bytes, bytes]]:
        """Yields fields in the order of their checksums, so that fields that come and go meanwhile change nothing for
        the others."""
        [found] = self._read_hashes("scan_fields", [key])
        left = sorted((crc32(field), field) for field in found if crc32(field) >= cursor)
        told, rest = left[:count], left[count:]
        while rest and rest[0][0] == told[-1][0]:
            told.append(rest.pop(0))
        return rest[0][0] if rest else 0, {field: found[field] for _, field in told}

    def _read_hashes(self, command: str, keys: Iterable[Key]) -> list[Hash]:
        """A pipeline: one connection, but others may come between its commands."""
        found = []
        offsets = [self._look(command).string(_bytes(self.keys.next))]
        incarnation = self._server.incarnation
        for key in keys:
            found.append(dict(self._look("", incarnation).hash(_bytes(key))))
        offsets.append(self._look("", incarnation).string(_bytes(self.keys.next)))
        self._check(offsets)
        return found

    def _check(self, offsets: list[bytes | None]) -> None:
        if self._asked and offsets != [self._continued_at] * 2:
            raise Fenced(f"read at next offset {self._continued_at!r}, then {offsets!r}")

    def sweep_projects(self, cursor: int) -> int:
        """Does nothing: in the model nobody lists projects."""
        return 0

    def register(self, project_ids: Mapping[str, int]) -> None:
        member = _bytes(layout.shard_member(self.shard))
        namespace = self.shard.namespace
        registries = [layout.shard_registry(namespace)]
        registries += [layout.project_registry(namespace, project_id) for project_id in project_ids]

        def transaction(state: State) -> None:
            for registry in registries:
                state.add_names(_bytes(registry), [member])
            if project_ids:
                state.add_names(_bytes(layout.projects_by_name(namespace)), map(_bytes, project_ids))

        self._write(self._before("register"), lambda: self._server.change(transaction))

    def read_attempt(self) -> Attempt | None:
        """Returns none: in the model no step ends its process."""
        return None

    def note_attempt(self, attempt: Attempt) -> None: ...

    def send(
        self, first_offset: int | None, next_offset: int | None, write: ShardWrite, next_element: int = 0
    ) -> Callable[[], None]:
        """Done at once; what failed is told at the end, as a connection that is cut is."""
        failed: list[Exception] = []
        try:
            self.apply(first_offset, next_offset, write)
        except (redis.RedisError, Fenced) as why:
            failed.append(why)

        def finish() -> None:
            if failed:
                raise failed[0]

        return finish

    def apply(self, first_offset: int | None, next_offset: int | None, write: ShardWrite) -> None:
        self._apply(first_offset, None if next_offset is None else self._fence(next_offset, 0), write)

    def replace(self, write: ShardWrite) -> None:
        offset = layout.stored_offset(self._continued_at)
        assert offset is not None
        self._apply(offset, self._drawn_fence(offset), write)

    def _drawn_fence(self, offset: int) -> bytes:
        return b"%d%b%b" % (offset, layout.SEALED, secrets.token_hex(8).encode())

    def _apply(self, first_offset: int | None, fence: bytes | None, write: ShardWrite) -> None:
        key = _bytes(self.keys.next)
        stored = self._look("watch").string(key)
        watch = self._watch(key)
        self._check_fence(first_offset, stored)

        def execute() -> None:
            if self._watch(key) != watch:
                raise Fenced(f"another writer applied past {first_offset}")
            self._server.writes_of[key] = watch.writes + (fence is not None)
            self._server.change(lambda state: self._transaction(state, fence, write))

        fault = self._before("exec")
        if self._server.incarnation != watch.incarnation:
            raise redis.ConnectionError("Redis was restarted")
        self._write(fault, execute)
        if fence is not None:
            self._continued_at = fence

    def _check_fence(self, first_offset: int | None, stored: bytes | None) -> None:
        if layout.stored_offset(stored) != first_offset or (self._asked and stored != self._continued_at):
            raise Fenced(f"expected next offset {first_offset}, found {stored!r}")

    def _watch(self, key: bytes) -> Watch:
        return Watch(self._server.incarnation, self._server.writes_of.get(key, 0))

    def _transaction(self, state: State, fence: bytes | None, write: ShardWrite) -> None:
        for key in write.drops:
            state.delete(_bytes(key))
        for key, fields in write.fields.items():
            state.hset(_bytes(key), {_bytes(field): _bytes(value) for field, value in fields.items()})
        for key, deleted in write.deletions.items():
            state.hdel(_bytes(key), map(_bytes, deleted))
        for ref_key, names in write.names.items():
            state.add_names(_bytes(ref_key), names)
        for versions, slots in write.new_versions.items():
            latest_us = write.latest_starts_us.get(versions, {})
            drawn = {slot: pack_version(secrets.token_bytes(VERSION_BYTES), latest_us.get(slot, 0)) for slot in slots}
            state.hset(_bytes(versions), {_bytes(slot): version for slot, version in drawn.items()})
        for counter, count in write.increments.items():
            state.hincrby(_bytes(self.keys.shard), _bytes(counter), count)
        for key, at_unix_s in write.expiries.items():
            state.expireat(_bytes(key), at_unix_s)
        if fence is not None:
            state.hset(_bytes(self.keys.writer), {b"session": secrets.token_bytes(SESSION_BYTES)})
            state.set(_bytes(self.keys.next), fence)

    def _look(self, command: str, incarnation: int | None = None) -> State:
        fault = self._before(command)
        if fault is not None or incarnation not in (None, self._server.incarnation):
            raise redis.ConnectionError("the connection was cut")
        return self._server.state

    def _write(self, fault: Fault | None, execute: Callable[[], None]) -> None:
        if fault is Fault.FULL:
            raise redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'")
        if fault is Fault.UNSENT:
            raise redis.ConnectionError("the connection was cut")
        if fault is Fault.LATE:
            self._server.late.append(lambda: _unheard(execute))
            raise redis.TimeoutError("no answer in time")
        execute()
        if fault is Fault.UNANSWERED:
            raise redis.ConnectionError("the connection was cut")


def _unheard(execute: Callable[[], None]) -> None:
    """A refusal that nobody is there to hear."""
    try:
        execute()
    except Fenced:
        return


def _bytes(part: Key | Field | Value) -> bytes:
    return part if isinstance(part, bytes) else str(part).encode()
