"""Generations: which namespace of keys is the live one, while a rebuild folds another beside it.

The settings name the base namespace. `<base>:live` holds the namespace of the live generation; without that key it is
the base itself. Setting it is one command, so everyone sees the switch at once, each at its next look.

A rebuild that hands over holds a lease: a random id under `{<base>:live}:lease`, in the slot of `<base>:live`, that
Redis forgets LEASE_S after it was last renewed. Each fence names the lease that it was moved by, and the switch is one
step that needs the lease and ends it. So where a lease is gone and the generation is still live, its holder never
switches, and whoever finds a fence of that lease may take it back: a rebuild that was killed heals by itself, and one
that was only slow does not switch over.
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import redis
import redis.asyncio

from aggregator.layout.keys import ShardName, member_shard, shard_registry
from aggregator.layout.namespace_keys import is_registry, only_literally, shard_of_key
from aggregator.store.scripts import IS_OVER, RENEW, SWITCH
from aggregator.store.shard_store import ShardStore

log = logging.getLogger(__name__)

# Keys freed in one round trip: some milliseconds of the server's time.
KEYS_PER_DROP = 500
KEYS_PER_SCAN = 1_000
# A rebuild says so often that it lives; one that has been silent for longer is taken for dead.
SILENT_S_MAX = 30
# While a rebuild hands over, it renews its lease about every second; a step of its work, an answer of Redis or of the
# broker takes less than this. A partition of a killed one stands still for so long.
LEASE_S = 30
_LEASE_BYTES = 8

# How long an answer may still come from the generation before. Whoever drops that one must wait longer.
LOOK_INTERVAL_S = 1.0


def live_key(base: str) -> str:
    """The key that names the live generation's namespace."""
    return f"{base}:live"


def lease_key(base: str) -> str:
    """The key of the lease of who hands over, in the slot of `live_key`."""
    return f"{{{live_key(base)}}}:lease"


def rebuild_key(base: str) -> str:
    """The key of what a rebuild that was cut off leaves behind, see Generations."""
    return f"{base}:rebuild"


def live_namespace(client: redis.Redis, base: str) -> str:
    """The namespace of the live generation. Raises what the client raises."""
    return _namespace(client.get(live_key(base)), base)


class LiveNamespace:
    """Knows the live namespace for readers, who ask often: it is looked up at most once in LOOK_INTERVAL_S.

    `elapsed`: seconds since any instant.
    """

    def __init__(
        self,
        client: "redis.asyncio.Redis | redis.asyncio.RedisCluster",
        base: str,
        elapsed: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._client: Any = client
        self._base = base
        self._elapsed = elapsed
        self._namespace = base
        self._looked_s: float | None = None

    async def look(self) -> str:
        """The namespace to read. Raises what the client raises."""
        now_s = self._elapsed()
        if self._looked_s is None or now_s - self._looked_s >= LOOK_INTERVAL_S:
            self._namespace = _namespace(await self._client.get(live_key(self._base)), self._base)
            self._looked_s = now_s
        return self._namespace


class RebuildRuns(Exception):
    """Another rebuild is at work, or has taken over from this one."""


class Generations:
    """The generations of a base namespace, for the one rebuild that makes and drops them.

    `<base>:rebuild` holds what a rebuild that was cut off leaves behind: `last`, the number of the newest generation
    there ever was; `building` and `dropping`, namespaces; `seen_s`, when it was last known to live (Unix s).
    """

    def __init__(self, client: redis.Redis, base: str) -> None:
        self._client: Any = client
        self._base = base
        self._rebuild = rebuild_key(base)

    def live(self) -> str:
        """The namespace of the live generation."""
        return live_namespace(self._client, self._base)

    def begin(self, now_s: int) -> str:
        """The namespace of a new generation. Raises RebuildRuns while another rebuild is at work."""
        state = self._state()
        if "building" in state and now_s - int(state.get("seen_s", 0)) < SILENT_S_MAX:
            raise RebuildRuns(f"another rebuild folds into {state['building']}; `callmeter rebuild --abort` ends it")
        self.tidy()
        number = max(2, int(state.get("last", 1)) + 1)
        while self._client.exists(shard_registry(f"{self._base}.{number}")):  # a base namespace of someone else
            number += 1
        namespace = f"{self._base}.{number}"
        self._client.hset(self._rebuild, mapping={"last": number, "building": namespace, "seen_s": now_s})
        return namespace

    def keep(self, namespace: str, now_s: int) -> None:
        """Say that the rebuild into `namespace` lives. Raises RebuildRuns if it was ended by someone else."""
        building = self._state().get("building")
        if building != namespace:
            raise RebuildRuns(f"the rebuild into {namespace} was ended from elsewhere")
        self._client.hset(self._rebuild, "seen_s", now_s)

    def take_lease(self, namespace: str) -> "Lease":
        """The lease of the rebuild into `namespace`, to be had before the first fence. Raises RebuildRuns."""
        return Lease(self._client, self._base, namespace)

    def move_away(self, shard: ShardName, lease: "Lease") -> int | None:
        """Let no writer continue a shard of the live generation; the final next offset. Raises Fenced where another
        rebuild has moved it that may still switch over: its fence must stand, also against one whose lease has ended.
        """
        return ShardStore(self._client, shard).move_away(lease.id, self.ended_lease(shard))

    def switch(self, lease: "Lease") -> str:
        """Make the lease's namespace the live generation, in one step; returns the one before, which `tidy` then drops.

        Raises RebuildRuns, with nothing changed, where the lease has ended.
        """
        before = self.live()
        self._client.hset(self._rebuild, "dropping", before)
        lease.switch()
        return before

    def take_back(self, shard: ShardName) -> bool:
        """Let writers continue a shard of the live generation if a rebuild that moved it away will never switch over;
        whether it was so.
        """
        lease = self.ended_lease(shard)
        # What another rebuild has moved meanwhile has that one's lease.
        if lease is None or not ShardStore(self._client, shard).move_back(lease):
            return False
        log.warning(
            "took a shard back from a rebuild that died, or was too slow",
            extra={"shard": shard.tag, "remedy": "`callmeter rebuild --abort` frees what it left in Redis"},
        )
        return True

    def ended_lease(self, shard: ShardName) -> str | None:
        """The lease by which a shard has moved away, if it has ended without a switch: it then stays ended."""
        lease = ShardStore(self._client, shard).moved_by()
        if not lease:  # it has not moved, or by a rebuild of a version that had no leases: nobody knows how it is
            return None
        keys = (live_key(self._base), lease_key(self._base))
        return lease if self._client.eval(IS_OVER, 2, *keys, lease, shard.namespace, self._base) else None

    def tidy(self) -> list[str]:
        """Undo what a rebuild has begun, or finish dropping what it has replaced; the namespaces dropped."""
        self._client.delete(lease_key(self._base))  # from here on nobody switches
        state, live, dropped = self._state(), self.live(), []
        building, dropping = state.get("building"), state.get("dropping")
        if building is not None and building != live:
            for shard in self.shards(live):
                ShardStore(self._client, shard).move_back()
        for namespace, was_live in ((building, False), (dropping, True)):
            if namespace is not None and namespace != live:
                self._drop(namespace, was_live)
                dropped.append(namespace)
        self._client.hdel(self._rebuild, "building", "dropping", "seen_s")
        return dropped

    def give_up(self, namespace: str) -> None:
        """Undo the rebuild into `namespace`; what another has begun meanwhile is left alone."""
        if self._state().get("building") == namespace:
            self.tidy()
        else:
            self.discard(namespace)

    def discard(self, namespace: str) -> None:
        """Free all keys of a generation that never was live and never will be."""
        self._drop(namespace, fences_stay=False)

    def shards(self, namespace: str) -> list[ShardName]:
        """The shards of a generation, in order."""
        members = self._client.smembers(shard_registry(namespace))
        return sorted(member_shard(namespace, member.decode()) for member in members)

    def dropped(self) -> list[str]:
        """The namespaces of generations that have been and are no more."""
        state = self._state()
        there = {self.live(), state.get("building"), state.get("dropping")}
        numbered = [f"{self._base}.{number}" for number in range(2, int(state.get("last", 1)) + 1)]
        gone = [namespace for namespace in (self._base, *numbered) if namespace not in there]
        return [namespace for namespace in gone if not self._client.exists(shard_registry(namespace))]

    def _state(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self._client.hgetall(self._rebuild).items()}

    def _drop(self, namespace: str, fences_stay: bool) -> None:
        """Free all keys of a generation; fences of one that was live keep away a writer that has not noticed yet."""
        keys = (key for key in self._keys(namespace) if not (fences_stay and key.endswith(b":next")))
        while part := list(islice(keys, KEYS_PER_DROP)):
            pipeline = self._client.pipeline(transaction=False)
            for key in part:
                pipeline.unlink(key)
            pipeline.execute()

    def _keys(self, namespace: str) -> Iterator[bytes]:
        for key in self._client.scan_iter(match=f"*{only_literally(namespace)}*", count=KEYS_PER_SCAN):
            if shard_of_key(key, namespace) is not None or is_registry(key, namespace):
                yield key


class Lease:
    """A rebuild's right to switch over, for as long as it says that it lives. Methods raise RebuildRuns once it has
    ended, and what the client raises.
    """

    def __init__(self, client: redis.Redis, base: str, namespace: str) -> None:
        self._client: Any = client
        self._namespace = namespace
        self._live, self._key = live_key(base), lease_key(base)
        self.id = secrets.token_hex(_LEASE_BYTES)
        self._renewed_s = time.perf_counter()
        if not client.set(self._key, self.id, px=LEASE_S * 1_000, nx=True):
            raise RebuildRuns("another rebuild hands over")

    def renew(self) -> None:
        """Say that the rebuild lives."""
        now_s = time.perf_counter()
        # By our own clock too: a Redis that is back from behind may hold a lease that it had forgotten.
        if now_s - self._renewed_s > LEASE_S or not self._client.eval(RENEW, 1, self._key, self.id, LEASE_S * 1_000):
            raise self._ended()
        self._renewed_s = now_s

    def switch(self) -> None:
        """Make the rebuild's namespace the live one, and end the lease, in one step."""
        is_late = time.perf_counter() - self._renewed_s > LEASE_S
        if is_late or not self._client.eval(SWITCH, 2, self._live, self._key, self.id, self._namespace):
            raise self._ended()

    def _ended(self) -> RebuildRuns:
        return RebuildRuns(f"the rebuild into {self._namespace} was ended from elsewhere, or silent for {LEASE_S} s")


def _namespace(stored: Any, base: str) -> str:
    return base if stored is None else str(stored.decode())
