"""Commands as they are sent, and what comes of a transaction that fails; tests/test_fence.py has what comes between."""

from collections.abc import Callable
from typing import Any

import hiredis
import pytest
import redis

from aggregator.store.transaction import Command, Overtaken, Part, packed, send
from tests.support.folding import SHARD

KEY = f"{SHARD.tag}:watched"
OTHER = f"{SHARD.tag}:other"

pytestmark = pytest.mark.single_redis  # a cluster's client has transactions of its own


def transact(client: Any, key: str, check: Callable[[bytes | None], None], commands: list[Command]) -> None:
    """Send, and wait for the end."""
    send(client, key, check, commands)()


def unchecked(stored: bytes | None) -> None:
    """Whatever is stored is right."""
    del stored


@pytest.mark.parametrize(
    "command",
    [
        ("PING",),
        ("HSET", "ключ", b"\x00\r\n$3", -5, b"", 10**30),
        ("SET", "k", b"x" * 2_047, b"x" * 2_048, b"x" * 100_000),
    ],
)
def test_as_the_client_packs_it(command: tuple[Part, ...]) -> None:
    """Text, bytes and numbers, of sizes that are made in advance and larger ones."""
    assert packed(command) == hiredis.pack_command(command)  # type: ignore[arg-type]  # as many as there are


def test_all_is_done(client: Any) -> None:
    """All commands are done, also so many that they are sent in pieces, whose answers come while more is sent."""
    transact(client, KEY, unchecked, [("HSET", OTHER, number, b"x" * 10_000) for number in range(300)])
    assert client.hlen(OTHER) == 300


def test_others_may_come_between(client: Any) -> None:
    """The client does other things, and another transaction begins and ends, while answers are on their way."""
    finish = send(client, KEY, unchecked, [("SET", KEY, 1)])
    transact(client, OTHER, unchecked, [("SET", OTHER, 2)])
    finish()
    assert client.mget(KEY, OTHER) == [b"1", b"2"]


def test_one_that_is_refused_leaves_nothing(client: Any) -> None:
    """A command that cannot even be queued."""
    with pytest.raises(redis.ResponseError, match="wrong number of arguments"):
        transact(client, KEY, unchecked, [("SET", KEY, 1), ("HSET", OTHER)])
    assert client.exists(KEY, OTHER) == 0


def test_one_that_fails_is_told(client: Any) -> None:
    """A command that fails alone, as Redis does it: its layout would be broken, so nobody may go on."""
    client.set(OTHER, 1)
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        transact(client, KEY, unchecked, [("SET", KEY, 1), ("HSET", OTHER, "a", 1), ("SET", KEY, 2)])


def test_the_connection_can_be_used_again(client: Any, redis_url: str) -> None:
    """A connection is as new after a refusal, and after a key that changed: no key is watched, no answer left over."""

    def changed(stored: bytes | None) -> None:
        del stored
        redis.Redis.from_url(redis_url).set(KEY, "changed")

    def refused(stored: bytes | None) -> None:
        raise ValueError(stored)

    with pytest.raises(Overtaken):
        transact(client, KEY, changed, [("SET", KEY, 1)])
    with pytest.raises(ValueError, match="changed"):
        transact(client, KEY, refused, [("SET", KEY, 1)])
    transact(client, KEY, unchecked, [("SET", KEY, 2)])
    assert client.get(KEY) == b"2"
