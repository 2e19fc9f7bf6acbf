"""Access keys in Redis, for the api (async) and the command line (sync).

Two hashes, fields by key id: `<namespace>:keys` holds the record (JSON), `<namespace>:keys:used` when the key was last
used (microseconds since the epoch). Apart, so that noting a use never brings a revoked key back.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import redis
import redis.asyncio

from aggregator.access.key import AccessKey
from aggregator.store.connection import connect

log = logging.getLogger(__name__)

_record = msgspec.json.Decoder(AccessKey)


class KeyStoreAway(Exception):
    """Redis cannot be reached, or it refuses; the keys may be read later."""


class ListedKey(NamedTuple):
    """A key and when it was last used (microseconds since the epoch, to the minute or so), None for never."""

    key: AccessKey
    used_us: int | None


class AsyncKeyStore:
    """What the api needs: to find a key and to note its use."""

    def __init__(self, client: "redis.asyncio.Redis | redis.asyncio.RedisCluster", namespace: str) -> None:
        self._client: Any = client  # redis-py types each reply as one or an awaitable of it
        self._keys, self._used = access_key_hashes(namespace)

    async def find(self, key_id: str) -> AccessKey | None:
        """The key of this id, or None if there is none (any more)."""
        with _away():
            record = await self._client.hget(self._keys, key_id)
        return None if record is None else _record.decode(record)

    async def mark_used(self, key_id: str, now_us: int) -> None:
        """Note that the key was used at `now_us`, unless Redis refuses: no question fails for want of a note."""
        try:
            await self._client.hset(self._used, key_id, now_us)
        except (redis.RedisError, OSError) as refused:
            log.warning("Redis refuses to note that a key was used", extra={"why": str(refused)})


class KeyStore:
    """What the command line needs: to add, list and revoke keys. All raise KeyStoreAway."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._client: Any = client
        self._keys, self._used = access_key_hashes(namespace)

    def add(self, key: AccessKey) -> None:
        """Let this key in from now on."""
        with _away():
            self._client.hset(self._keys, key.key_id, msgspec.json.encode(key))

    def all(self) -> list[ListedKey]:
        """Every key, the oldest first."""
        with _away():
            records = self._client.hvals(self._keys)
            used = {_text(key_id): int(us) for key_id, us in self._client.hgetall(self._used).items()}
        keys = sorted((_record.decode(record) for record in records), key=lambda key: (key.created_us, key.key_id))
        return [ListedKey(key, used.get(key.key_id)) for key in keys]

    def revoke(self, key_id: str) -> bool:
        """Let this key in no more; False if there was none."""
        with _away():
            found = bool(self._client.hdel(self._keys, key_id))
            self._client.hdel(self._used, key_id)
        return found


def open_key_store(url: str, namespace: str, cluster: bool = False) -> KeyStore:
    """A key store on a connection of its own. Raises KeyStoreAway where a cluster cannot be reached."""
    with _away():
        return KeyStore(connect(url, cluster), namespace)


def access_key_hashes(namespace: str) -> tuple[str, str]:
    """The keys of both hashes."""
    return f"{namespace}:keys", f"{namespace}:keys:used"


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as trouble:
        raise KeyStoreAway(str(trouble)) from trouble
