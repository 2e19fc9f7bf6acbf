"""The store of access keys: in memory, in Redis, and away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import fakeredis
import pytest
import redis
import redis.asyncio

from aggregator.store.key_store import AsyncKeyStore, KeyStore, KeyStoreAway
from api.access.basic_auth import KeyAccess
from api.refusals import StoreAway
from tests.support.access_keys import KEY, ROOT_KEY, SHOWN, basic


def check_store(sync: redis.Redis, run: Callable[[Callable[[AsyncKeyStore], Awaitable[Any]]], Any]) -> None:
    """The contract of both stores over one Redis; `run` gives an async store of the same Redis to a function."""
    store = KeyStore(sync, "test")
    assert store.all() == []
    store.add(ROOT_KEY)
    store.add(KEY)
    assert run(lambda stored: stored.find(KEY.key_id)) == KEY
    assert run(lambda stored: stored.find(ROOT_KEY.key_id)) == ROOT_KEY
    assert run(lambda stored: stored.find("nobody")) is None
    run(lambda stored: stored.mark_used(KEY.key_id, 77))
    assert [tuple(listed) for listed in store.all()] == [(KEY, 77), (ROOT_KEY, None)]
    assert KeyStore(sync, "other").all() == []
    assert store.revoke(KEY.key_id)
    assert sync.exists("test:keys:used") == 0
    assert not store.revoke(KEY.key_id)
    assert run(lambda stored: stored.find(KEY.key_id)) is None
    run(lambda stored: stored.mark_used(KEY.key_id, 78))
    assert [listed.key for listed in store.all()] == [ROOT_KEY]
    assert set(sync.scan_iter()) == {b"test:keys", b"test:keys:used"}


def test_store_in_memory() -> None:
    """The stores keep their contract on the in-memory Redis."""
    server = fakeredis.FakeServer()

    def run(use: Callable[[AsyncKeyStore], Awaitable[Any]]) -> Any:
        async def used() -> Any:
            async with fakeredis.FakeAsyncRedis(server=server) as client:
                return await use(AsyncKeyStore(client, "test"))

        return asyncio.run(used())

    check_store(fakeredis.FakeRedis(server=server), run)


@pytest.mark.parametrize("decode", [False, True])
def test_store_in_redis(redis_url: str, decode: bool) -> None:
    """The stores keep their contract on a real Redis, whether the client decodes replies or not."""

    def run(use: Callable[[AsyncKeyStore], Awaitable[Any]]) -> Any:
        async def used() -> Any:
            async with redis.asyncio.Redis.from_url(redis_url, decode_responses=decode) as client:
                return await use(AsyncKeyStore(client, "test"))

        return asyncio.run(used())

    with redis.Redis.from_url(redis_url) as client:
        check_store(client, run)


def test_store_away() -> None:
    """The key store is away where nobody listens, and a reader learns to retry."""
    nowhere = "redis://127.0.0.1:1/0"
    with redis.Redis.from_url(nowhere) as client, pytest.raises(KeyStoreAway):
        KeyStore(client, "test").all()

    async def reader() -> None:
        async with redis.asyncio.Redis.from_url(nowhere) as client:
            await KeyAccess(AsyncKeyStore(client, "test")).reader(basic(SHOWN))

    with pytest.raises(StoreAway):
        asyncio.run(reader())
