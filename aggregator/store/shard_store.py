"""A shard in Redis, as its one writer sees it: wide reads, and the atomic apply with its offset check."""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis
from redis.exceptions import WatchError

from aggregator.layout.attempt import Attempt, decode_attempt, encode_attempt
from aggregator.layout.keys import (
    BY_LEASE,
    LAYOUT_VERSION,
    MOVED,
    SEALED,
    SESSION_BYTES,
    ShardKeys,
    ShardName,
    counted_topics,
    fence_at,
    moved_by,
    refused_layout,
    shard_member,
    shard_registry,
    stored_element,
    stored_offset,
)
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.store.commands import commands_of
from aggregator.store.connection import StoreAway as StoreAway
from aggregator.store.connection import StoreFull as StoreFull
from aggregator.store.connection import StoreTrouble as StoreTrouble
from aggregator.store.eviction import MayEvict, check_eviction
from aggregator.store.project_registry import register_projects, sweep_projects
from aggregator.store.samples import note_unread
from aggregator.store.scripts import MOVE_AWAY, MOVE_BACK
from aggregator.store.transaction import Command, Overtaken, send

FIELDS_PER_READ_MAX = 10_000  # of one HMGET; more only makes one reply block the server longer
SEAL_FENCE_BYTES = 6  # random: two sealings never draw the same


class Fenced(Exception):
    """The stored next offset is not the one this writer continues from: another wrote, or Redis forgot."""


class OtherLayout(Exception):
    """Another version wrote the shard, with a layout that this one does not write; the message says what to do."""


class EvictingPolicy(Exception):
    """Redis may drop keys when its memory is full, and answers would then be wrong without a sign."""


class ShardStore:
    """One shard's keys. Every method may raise one of StoreAway; `apply` and `register` also StoreFull.

    Once `next_offset` has been asked for, what is read is of that very state, or else Fenced is raised: a fold of what
    was read before and after Redis forgot, or another wrote, might fit its offset again by the time it is applied.
    `partitions`: how many the topic has, as far as is known.
    """

    def __init__(self, client: redis.Redis, shard: ShardName, partitions: int = 0) -> None:
        self._client: Any = client
        self.shard = shard
        self._partitions = partitions
        self._asked = False
        self._continued_at: bytes | None = None
        self.next_element = 0  # how many elements of the message at the next offset are applied
        self._session = secrets.token_bytes(SESSION_BYTES)
        self.keys = ShardKeys(shard)

    def check_policy(self) -> None:
        """Raises EvictingPolicy where Redis may drop keys by itself."""
        try:
            check_eviction(self._client.info("memory"))
        except MayEvict as why:
            raise EvictingPolicy(str(why)) from None

    def next_offset(self) -> int | None:
        """The first offset not yet applied; None for a new shard. Raises Fenced for one that has moved away."""
        pipeline = self._client.pipeline(transaction=False)
        stored, session = pipeline.get(self.keys.next).hget(self.keys.writer, "session").execute()
        # Where Redis may have lost something, what is folded again may get other numbers: that is another session.
        certain = session is not None and (not self._asked or stored == self._continued_at)
        self._session = session if certain else secrets.token_bytes(SESSION_BYTES)
        self._asked, self._continued_at = True, stored
        self.next_element = stored_element(stored)
        return self._writable(stored)

    @property
    def continued_offset(self) -> int:
        """The next offset that `next_offset` has found, or this writer has written since."""
        return stored_offset(self._continued_at) or 0

    def read_offset(self) -> int | None:
        """Return the first offset not yet applied, for those who only look: also of a shard that has moved away."""
        return stored_offset(self._client.get(self.keys.next))

    def move_away(self, lease: str, ended_lease: str | None = None) -> int | None:
        """Let no writer go on; the final next offset. Raises Fenced if a lease but `ended_lease` has moved it away."""
        marks = [BY_LEASE + one.encode() for one in (lease, ended_lease or lease)]
        moved = self._client.eval(MOVE_AWAY, 1, self.keys.next, *marks)
        if moved is None:
            raise Fenced(f"shard {self.shard.tag} has been moved away by another rebuild")
        return stored_offset(moved)

    def moved_by(self) -> str | None:
        """The lease by which it has moved away; see `aggregator.layout.keys.moved_by`."""
        return moved_by(self._client.get(self.keys.next))

    def move_back(self, lease: str | None = None) -> bool:
        """Let writers continue this shard, if it has moved away, by this lease (None: any); whether it had."""
        mark = b"" if lease is None else BY_LEASE + lease.encode()
        return bool(self._client.eval(MOVE_BACK, 1, self.keys.next, mark))

    def _writable(self, stored: bytes | None) -> int | None:
        if stored is not None and stored.startswith(MOVED):
            work = "`callmeter backup restore`" if stored == MOVED else "`callmeter rebuild`"
            raise Fenced(
                f"shard {self.shard.tag} is closed; it goes on by itself when its {work} is done; "
                "a rebuild's also when it has been dead for a while, and at once after `callmeter rebuild --abort`"
            )
        return stored_offset(stored)

    def read_attempt(self) -> Attempt | None:
        """The step that was begun last of those that are noted."""
        stored = self._client.get(self.keys.attempt)
        return None if stored is None else decode_attempt(stored)

    def note_attempt(self, attempt: Attempt) -> None:
        """Note that a step begins; whoever opens the shard next and finds it there knows that it was not applied."""
        self._client.set(self.keys.attempt, encode_attempt(attempt))

    def note_unread(self, names: Mapping[tuple[str, str], list[str]]) -> None:
        """Note a sample of names in usage that was not read, where there is room for it."""
        note_unread(self._client, self.keys.unread, names)

    def shard_fields(self) -> dict[str, str]:
        """Layout version, next record number, as-of time and counters; raises OtherLayout."""
        [found] = self._read([("HGETALL", self.keys.shard)])
        fields = {name.decode(): value.decode() for name, value in found.items()}
        why = refused_layout(self.shard.tag, int(fields.get("layout", LAYOUT_VERSION)))
        if why is not None:
            raise OtherLayout(why)
        return fields

    def read_fields(self, wanted: Mapping[Key, Sequence[Field]]) -> dict[Key, list[bytes | None]]:
        """The values of fields of several hashes, in one round trip."""
        pieces = [
            (key, fields[at : at + FIELDS_PER_READ_MAX])
            for key, fields in wanted.items()
            for at in range(0, len(fields), FIELDS_PER_READ_MAX)
        ]
        if not pieces:
            return {}
        replies = self._read([("HMGET", key, *fields) for key, fields in pieces])
        found: dict[Key, list[bytes | None]] = {}
        for (key, _), values in zip(pieces, replies, strict=True):
            found.setdefault(key, []).extend(values)
        return found

    def read_hashes(self, keys: Iterable[Key]) -> list[dict[bytes, bytes]]:
        """Whole hashes, in one round trip."""
        return self._read([("HGETALL", key) for key in keys])

    def field_names(self, key: Key) -> list[bytes]:
        """The names of all fields of a hash."""
        [names] = self._read([("HKEYS", key)])
        return list(names)

    def scan_fields(self, key: Key, cursor: int, count: int) -> tuple[int, dict[bytes, bytes]]:
        """Return the cursor to go on with, and about so many fields of a hash; it is 0 after the last of them."""
        [(next_cursor, found)] = self._read([("HSCAN", key, cursor, "COUNT", count)])
        return int(next_cursor), found

    def _read(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.get(self.keys.next)
        for command in commands:
            pipeline.execute_command(*command)
        pipeline.get(self.keys.next)
        # The same before and after is the same in between: no connection outlives a server that forgets.
        replies: list[Any] = pipeline.execute()
        before, after = replies[0], replies[-1]
        if self._asked and not before == after == self._continued_at:
            raise Fenced(f"shard {self.shard.tag}: read at next offset {self._continued_at!r}, then {after!r}")
        return replies[1:-1]

    def register(self, project_ids: Mapping[str, int]) -> None:
        """Make it known that this shard holds these projects, for at least so many seconds from now; done before the
        batch is applied that holds something of them. What is known for longer stays so: other shards may hold them.

        All shards of the topic become known: none is as of now before it has said so itself.
        """
        siblings = [shard_member(self.shard), *self._siblings(self._partitions)]
        register_projects(self._client, self.shard, siblings, project_ids)

    def sweep_projects(self, cursor: int) -> int:
        """Take some names out of the list of projects whose sets have expired; where to go on, 0 at the end."""
        return sweep_projects(self._client, self.shard.namespace, cursor)

    def register_partitions(self, partitions: int, counted_us: int) -> None:
        """Make it known that the topic had so many at this instant, and so has no message from before it in others.

        Raises Fenced for a shard that has moved away: its generation may be gone.
        """
        self._writable(self._client.get(self.keys.next))
        namespace = self.shard.namespace
        pipeline = self._client.pipeline(transaction=False)
        # In this order: who sees the instant sees the shards.
        pipeline.sadd(shard_registry(namespace), *self._siblings(partitions))
        pipeline.hset(counted_topics(namespace), self.shard.topic, counted_us)
        pipeline.execute()

    def _siblings(self, partitions: int) -> list[str]:
        return [shard_member(self.shard._replace(partition=other)) for other in range(partitions)]

    def apply(self, first_offset: int | None, next_offset: int | None, write: ShardWrite) -> None:
        """Write everything and the next offset in one step, if the stored next offset is still `first_offset`.

        Raises Fenced, with nothing written, if it is not.
        """
        self.send(first_offset, next_offset, write)()

    def send(
        self, first_offset: int | None, next_offset: int | None, write: ShardWrite, next_element: int = 0
    ) -> Callable[[], None]:
        """Begin what `apply` does: what is returned returns when everything is written, or raises what `apply` does.

        It is to be called once, before anything else is asked of this store.
        """
        fence = None if next_offset is None else self._fence(next_offset, next_element)
        return self._send(first_offset, fence, write)

    def replace(self, write: ShardWrite) -> None:
        """Write what says the same as before in another form, in one step, if nothing has been written meanwhile.

        Raises Fenced, with nothing written, otherwise. What others have read before cannot be applied after it, though
        the next offset is the same.
        """
        offset = stored_offset(self._continued_at)
        assert offset is not None, "a shard that holds something has a next offset"
        write.set(self.keys.shard, "layout", LAYOUT_VERSION)  # the other form may be one that is new in it
        drawn = secrets.token_hex(SEAL_FENCE_BYTES).encode()
        self._send(offset, fence_at(offset, stored_element(self._continued_at)) + SEALED + drawn, write)()

    def _fence(self, next_offset: int, next_element: int) -> bytes:
        """Return what the fence is to hold; once something was sealed, each batch draws digits too (see keys.py)."""
        known = self._continued_at if self._asked else None
        if known is not None and (stored_offset(known), stored_element(known)) == (next_offset, next_element):
            return known
        drawn = SEALED + secrets.token_hex(SEAL_FENCE_BYTES).encode() if known and SEALED in known else b""
        return fence_at(next_offset, next_element) + drawn

    def _send(self, first_offset: int | None, fence: bytes | None, write: ShardWrite) -> Callable[[], None]:
        def check(stored: bytes | None) -> None:
            is_ours = self._writable(stored) == first_offset and stored_element(stored) == self.next_element
            if not is_ours or (self._asked and stored != self._continued_at):
                raise Fenced(f"shard {self.shard.tag}: expected next offset {first_offset}, found {stored!r}")

        commands = self._commands(write, fence)
        with self._unless_overtaken(first_offset):
            if isinstance(self._client, redis.Redis):
                wait = send(self._client, self.keys.next, check, commands)
            else:
                wait = self._apply_clustered(check, commands)

        def finish() -> None:
            with self._unless_overtaken(first_offset):
                wait()
            if fence is not None:
                self._continued_at, self.next_element = fence, stored_element(fence)

        return finish

    @contextmanager
    def _unless_overtaken(self, first_offset: int | None) -> Iterator[None]:
        try:
            yield
        except (Overtaken, WatchError) as changed:
            raise Fenced(f"shard {self.shard.tag}: at offset {first_offset}: {changed}") from changed

    def _apply_clustered(
        self, check: Callable[[bytes | None], None], commands: Iterable[Command]
    ) -> Callable[[], None]:
        """The client of a cluster knows which node has the shard, and keeps its connections to itself: no waiting."""
        with self._client.pipeline(transaction=True) as pipeline:
            pipeline.watch(self.keys.next)
            check(pipeline.get(self.keys.next))
            pipeline.multi()
            for command in commands:
                pipeline.execute_command(*command)
            pipeline.execute()  # raises WatchError also when the connection is lost while watching
        return lambda: None

    def _commands(self, write: ShardWrite, fence: bytes | None) -> Iterator[Command]:
        return commands_of(write, self.keys, self._session, fence)
