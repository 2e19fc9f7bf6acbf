"""Redis in memory, as far as a shard needs it: every state it ever had is kept, so that it can go back to any."""

from collections.abc import Callable, Iterable, Mapping

# Of the oldest state that a Redis may come back with.
DUMP_AGE_S_MAX = 500

Hash = dict[bytes, bytes]
Stored = Hash | frozenset[bytes] | bytes
"""A hash, a set (sorted or not: all scores are 0), or a string."""


class State:
    """All keys, and when those expire that do (Unix s). Changed only while it is being made, by one transaction."""

    def __init__(self, keys: Mapping[bytes, Stored], expiries: Mapping[bytes, int]) -> None:
        self.keys = dict(keys)
        self.expiries = dict(expiries)
        self._own: set[bytes] = set()  # hashes that this state does not share with the one before

    def hash(self, key: bytes) -> Hash:
        """A hash to read; empty where there is none."""
        found = self.keys.get(key, {})
        assert isinstance(found, dict)
        return found

    def string(self, key: bytes) -> bytes | None:
        """A string to read."""
        found = self.keys.get(key)
        assert found is None or isinstance(found, bytes)
        return found

    def names(self, key: bytes) -> frozenset[bytes]:
        """A set to read; empty where there is none."""
        found = self.keys.get(key, frozenset())
        assert isinstance(found, frozenset)
        return found

    def hset(self, key: bytes, fields: Mapping[bytes, bytes]) -> None:
        self._writable(key).update(fields)

    def hdel(self, key: bytes, fields: Iterable[bytes]) -> None:
        if key not in self.keys:
            return
        kept = self._writable(key)
        for field in fields:
            kept.pop(field, None)
        if not kept:
            self.delete(key)

    def hincrby(self, key: bytes, field: bytes, more: int) -> None:
        self.hset(key, {field: b"%d" % (int(self.hash(key).get(field, 0)) + more)})

    def set(self, key: bytes, value: bytes) -> None:
        self.delete(key)
        self.keys[key] = value

    def add_names(self, key: bytes, names: Iterable[bytes]) -> None:
        self.keys[key] = self.names(key).union(names)

    def delete(self, key: bytes) -> None:
        self.keys.pop(key, None)
        self.expiries.pop(key, None)

    def expireat(self, key: bytes, at_unix_s: int) -> None:
        if key in self.keys:
            self.expiries[key] = at_unix_s

    def expire(self, now_unix_s: int) -> None:
        """Drop what is past its time."""
        for key in [key for key, at_unix_s in self.expiries.items() if at_unix_s <= now_unix_s]:
            self.delete(key)

    def _writable(self, key: bytes) -> Hash:
        if key not in self._own:
            self._own.add(key)
            self.keys[key] = dict(self.hash(key))
        return self.hash(key)


class MemoryRedis:
    """One server, whose past is a list of states; a crash or a failover takes it back to one of them."""

    def __init__(self, now_unix_s: Callable[[], int]) -> None:
        self.now_unix_s = now_unix_s
        self.states = [State({}, {})]
        self.made_unix_s = [now_unix_s()]
        self.incarnation = 0  # connections do not outlive one
        self.writes_of: dict[bytes, int] = {}  # what WATCH looks at
        self.late: list[Callable[[], None]] = []

    @property
    def state(self) -> State:
        """Returns what a command would find now."""
        now = self.states[-1]
        if any(at_unix_s <= self.now_unix_s() for at_unix_s in now.expiries.values()):
            self.change(lambda state: state.expire(self.now_unix_s()))
        return self.states[-1]

    def change(self, transaction: Callable[[State], None]) -> None:
        """Apply a transaction: all of it, or nothing where it raises."""
        state = State(self.states[-1].keys, self.states[-1].expiries)
        state.expire(self.now_unix_s())
        transaction(state)
        self.states.append(state)
        self.made_unix_s.append(self.now_unix_s())

    def go_back(self, states: int) -> None:
        """Restart, or fail over to a replica, that lacks the last `states` transactions; at most: all.

        What is older than the oldest dump there is, is nothing.
        """
        kept = max(1, len(self.states) - states)
        if kept < len(self.states) and self.made_unix_s[kept] < self.now_unix_s() - DUMP_AGE_S_MAX:
            kept = 1
        self.states, self.made_unix_s = self.states[:kept], self.made_unix_s[:kept]
        self.incarnation += 1
        self.late.clear()

    def deliver_late(self) -> None:
        """Delivers what was sent by clients that gave up waiting."""
        late, self.late = self.late, []
        for arrive in late:
            arrive()
