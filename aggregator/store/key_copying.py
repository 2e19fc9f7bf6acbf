"""Copies keys of one server as they are at one instant, while others write, without stopping anybody.

The server tells the connection that copies of each key that is changed (`CLIENT TRACKING ON BCAST`, Redis 6 and all
managed ones; no right to replicate is needed). All keys of a group are read once, in many steps; what is changed
meanwhile is read again, until nothing is left but what a few batches change. That is read in one transaction. If no key
of the group was changed between the news before it and those after it, then all that was read is of its instant; else
what was changed is read in another one.

That no news is missing: a server tells of a change before it answers whatever comes in after that change. So the answer
to a PING that is sent when the transaction was answered comes after the news of all changes before the transaction.
"""

from collections.abc import Callable, Generator, Sequence
from types import TracebackType
from typing import Any

import redis

from aggregator.layout.backup import CopiedKey
from aggregator.store.transaction import Command, packed

# Read in one step while others write: of some KB each, the server is busy with it for some milliseconds.
KEYS_PER_STEP = 200
NAMES_PER_SCAN = 1_000
# In steps, all keys are read once, and twice what has changed meanwhile; from then on in transactions.
PASSES = 3
# Read in one transaction, in which nobody else is answered: more than a batch changes, and some 20 ms.
KEYS_PER_TRANSACTION_MAX = 10_000
# A worker that is never idle leaves some milliseconds between two of its transactions, several times a second.
TRIES_MAX = 500
# What one command may hold (`proto-max-bulk-len`): a larger value could be read, and never be written back.
VALUE_BYTES_MAX = 512 * 2**20


class NoInstant(Exception):
    """Keys cannot be copied as they are at one instant; the message says why."""


class KeyCopier:
    """The keys of one server (of a cluster: one master) that begin with one of `prefixes`, in groups that are copied
    one after the other; `group_of`: the group of a key (None: it is not copied). Once left, it is told nothing more.

    For one thread. Methods raise NoInstant, and what the client raises.
    """

    def __init__(self, client: redis.Redis, prefixes: Sequence[str], group_of: Callable[[bytes], str | None]) -> None:
        pool: Any = client.connection_pool
        options = {**pool.connection_kwargs, "protocol": 3}
        self._pool = redis.ConnectionPool(connection_class=pool.connection_class, **options)
        self._group_of = group_of
        self._waiting: dict[str, set[bytes]] = {}
        self._copied: set[str] = set()
        self._was_emptied = False
        self._connection: Any = self._pool.get_connection()
        self._connection._parser.set_invalidation_push_handler(self._note_changed)
        begins = [part for prefix in prefixes for part in ("PREFIX", prefix)]
        try:
            self._ask([("CLIENT", "TRACKING", "ON", "BCAST", *begins)])
        except redis.ResponseError as why:
            raise NoInstant(f"Redis does not tell which keys change (CLIENT TRACKING): {why}") from None
        self._find_names()

    def __enter__(self) -> "KeyCopier":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.disconnect()
        self._pool.disconnect()

    @property
    def groups(self) -> list[str]:
        """The groups that have keys which have not been copied, in order."""
        return sorted(self._waiting)

    @property
    def keys_left(self) -> int:
        """How many keys are still to be copied, as far as is known."""
        return sum(map(len, self._waiting.values()))

    def copy(self, group: str, reads: Sequence[Command] = ()) -> Generator[list[CopiedKey], None, list[Any]]:
        """Yield copies of all keys of a group, some of them several times: the last ones count, together they are of
        one instant. Returns what these commands, which only read, answer at that instant.
        """
        waiting = self._waiting.setdefault(group, set())
        for attempt in range(TRIES_MAX):
            if attempt < PASSES or len(waiting) > KEYS_PER_TRANSACTION_MAX:
                while waiting:
                    names = _taken(waiting, KEYS_PER_STEP)
                    yield _copies(names, self._ask(_reading(names)))
                self._hear()
                continue
            names = _taken(waiting, len(waiting))
            found = self._ask([("MULTI",), *_reading(names), *reads, ("EXEC",)])[-1]
            self._hear()
            is_of_one_instant = not waiting
            yield _copies(names, found[: 2 * len(names)])
            if is_of_one_instant:
                self._copied.add(group)
                del self._waiting[group]
                return list(found[2 * len(names) :])
        raise NoInstant(f"{group or 'what shards share'} is changed without pause; try again when less comes")

    def _find_names(self) -> None:
        cursor: Any = b"0"
        while True:
            [(cursor, names)] = self._ask([("SCAN", cursor, "COUNT", NAMES_PER_SCAN)])
            self._note_changed([b"", names])
            if int(cursor) == 0:
                return

    def _hear(self) -> None:
        """Return when all that was changed before is known. Raises NoInstant where all keys are gone."""
        self._ask([("PING",)])
        if self._was_emptied:
            raise NoInstant("Redis was emptied meanwhile")

    def _note_changed(self, news: Sequence[Any]) -> None:
        _, names = news
        if names is None:
            self._was_emptied = True
            return
        for name in names:
            group = self._group_of(name)
            if group is not None and group not in self._copied:
                self._waiting.setdefault(group, set()).add(name)

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands together; what they answer."""
        self._connection.send_packed_command([b"".join(map(packed, commands))])
        answers = []
        refused: Exception | None = None
        for _ in commands:
            try:
                answers.append(self._connection.read_response())
            except redis.ResponseError as why:
                refused = refused or why
        if refused is None and answers and isinstance(answers[-1], list):
            refused = next((one for one in answers[-1] if isinstance(one, Exception)), None)
        if refused is not None:
            raise refused
        return answers


def nodes(client: redis.Redis) -> list[redis.Redis]:
    """The servers that a client writes to: one, or all masters of a cluster."""
    if isinstance(client, redis.Redis):
        return [client]
    clustered: Any = client
    return [clustered.get_redis_connection(node) for node in clustered.get_primaries()]


def _taken(names: set[bytes], count: int) -> list[bytes]:
    return [names.pop() for _ in range(min(count, len(names)))]


def _reading(names: Sequence[bytes]) -> list[Command]:
    return [command for name in names for command in (("DUMP", name), ("PEXPIRETIME", name))]


def _copies(names: Sequence[bytes], answers: Sequence[Any]) -> list[CopiedKey]:
    copies = []
    for name, dumped, expires_ms in zip(names, answers[::2], answers[1::2], strict=True):
        if dumped is not None and len(dumped) >= VALUE_BYTES_MAX:
            raise NoInstant(f"{name.decode(errors='replace')} has {len(dumped):,} bytes, more than can be written back")
        copies.append(CopiedKey(name, max(expires_ms, 0), dumped))
    return copies
