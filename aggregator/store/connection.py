"""Connections to Redis: one for a writer, a pool for readers; to a single server or to a cluster."""

from collections.abc import Callable
from typing import Any

import redis
import redis.asyncio
import redis.asyncio.retry
from redis.backoff import NoBackoff
from redis.retry import Retry

from aggregator.store.shared_connections import SharedConnections

# A server that is there connects within milliseconds; a wrong address must not hold a start for long.
CONNECT_TIMEOUT_S = 3
# The largest batch is applied within a second; a rewrite of the append-only file may stop a small server for some.
ANSWER_TIMEOUT_S = 15
# Questions under way at once; more wait for a connection instead of piling up in Redis.
READ_CONNECTIONS_MAX = 64

StoreAway = (
    redis.ConnectionError,
    redis.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,  # a master that was demoted, before the client hears of it
    redis.exceptions.MasterDownError,
    redis.exceptions.ClusterError,  # also the cases of a slot that is moving: down, try again
    redis.exceptions.RedisClusterException,
    redis.exceptions.MovedError,
    redis.exceptions.AskError,
    redis.exceptions.TryAgainError,
    OSError,
)
"""Redis cannot be reached, or is not ready to answer: wait and try again."""

StoreRefusesName = (redis.AuthenticationError, redis.exceptions.AuthenticationWrongNumberOfArgsError)
"""Redis answers, and does not take the user or the password; the first is one of StoreAway too, so ask for it before.

A password may be on its way to the server as well: who only folds waits, as for a server that is away.
"""

StoreTrouble = (redis.RedisError, OSError)
"""All that Redis or the way to it may answer instead of what was asked: whoever writes waits, says so, and tries again.

A script that runs too long, no disk, too few replicas, a key of another type, a right that was taken away, and what a
newer server may think of.
"""

StoreFull = redis.exceptions.OutOfMemoryError
"""Redis refuses writes for want of memory: wait, nothing was written."""

_TIMEOUTS: dict[str, Any] = {
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_timeout": ANSWER_TIMEOUT_S,
}


OnRoundTrip = Callable[[], object] | None
"""Is called each time that a command, or many at once, go to Redis, on whatever thread; of a cluster it is not."""


def connect(url: str, cluster: bool = False, on_round_trip: OnRoundTrip = None) -> redis.Redis:
    """A writer's connection. Nothing is tried twice by itself: what failed is known to have failed."""
    if cluster:
        # Tried again on a new connection, a transaction would run without the WATCH that was on the old one.
        clustered: Any = redis.RedisCluster.from_url(url, retry=Retry(NoBackoff(), 0), **_TIMEOUTS)
        single: redis.Redis = clustered  # the commands used here are the same
        return single
    client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_TIMEOUTS)
    _tell_round_trips(client.connection_pool, on_round_trip)
    return client


class SharingClient(redis.asyncio.Redis):
    """A client of a single server that readers share; `shared`: the way for many commands at once."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.shared = SharedConnections(self.connection_pool, ANSWER_TIMEOUT_S)


def connect_readers(
    url: str, cluster: bool = False, on_round_trip: OnRoundTrip = None
) -> "redis.asyncio.Redis | redis.asyncio.RedisCluster":
    """A pool of connections for answers."""
    if cluster:
        # To each node. This client refuses one too many instead of waiting: who reads waits for a turn before, and who
        # looks up keys has the other half.
        clustered = redis.asyncio.RedisCluster.from_url(url, max_connections=2 * READ_CONNECTIONS_MAX, **_TIMEOUTS)
        of_nodes = clustered.connection_kwargs
        of_nodes["connection_class"] = _telling_closed(of_nodes["connection_class"])
        return clustered
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        max_connections=READ_CONNECTIONS_MAX,
        timeout=ANSWER_TIMEOUT_S,
        retry=redis.asyncio.retry.Retry(NoBackoff(), 1),  # one more try finds a server that has just come back
        **_TIMEOUTS,
    )
    pool.connection_class = _telling_closed(pool.connection_class)
    _tell_round_trips(pool, on_round_trip)
    return SharingClient.from_pool(pool)  # which `aclose` closes too


def _telling_closed(kind: Any) -> Any:
    """Return this kind of asynchronous connection, made to say where it has been closed that Redis is away.

    uvloop raises a RuntimeError, which its client takes for a fault of whoever asks, where asyncio raises an OSError.
    """

    class TellingClosed(kind):  # type: ignore[misc]
        async def send_packed_command(self, command: Any, check_health: bool = True) -> None:
            try:
                await super().send_packed_command(command, check_health)
            except RuntimeError as why:
                raise redis.ConnectionError(f"the connection was closed: {why}") from why

    return TellingClosed


def _tell_round_trips(pool: Any, on_round_trip: OnRoundTrip) -> None:
    """Let the connections that a pool will make tell of each sending."""
    if on_round_trip is None:
        return
    kind: Any = pool.connection_class
    tell = on_round_trip

    class Telling(kind):  # type: ignore[misc]
        note_round_trip = staticmethod(tell)

        def send_packed_command(self, command: Any, check_health: bool = True) -> Any:
            tell()
            return super().send_packed_command(command, check_health)

    pool.connection_class = Telling
