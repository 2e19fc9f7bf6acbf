"""Copying keys while others write: what is yielded last is of one instant, whenever a change comes between."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import redis

from aggregator.store import key_copying
from aggregator.store.key_copying import KeyCopier, NoInstant
from aggregator.store.transaction import Command, packed

pytestmark = pytest.mark.single_redis

KEYS = ("{cm/t/0}:a", "{cm/t/0}:b", "{cm/t/0}:next")
BUSY = "local i = 0 while i < 10000000 do i = i + 1 end"


class Interrupted(KeyCopier):
    """Copies `{cm/t/0}`; before each of its first transactions something else happens."""

    def __init__(self, client: redis.Redis, *happens: Callable[[], None]) -> None:
        self._happens = list(happens)
        super().__init__(client, ("{cm",), lambda key: "all" if key.startswith(b"{cm/t/0}") else None)

    def _ask(self, commands: Sequence[Command]) -> list[Any]:
        if commands[0] == ("MULTI",) and self._happens:
            self._happens.pop(0)()
        return super()._ask(commands)


def write(client: Any, number: int) -> None:
    """One transaction that changes all keys."""
    client.mset(dict.fromkeys(KEYS, number))


def copied(copier: KeyCopier, client: Any) -> tuple[dict[str, int], int]:
    """Return what was copied of each key, and of the instant, by writing it back."""
    found: dict[bytes, bytes | None] = {}
    steps = copier.copy("all", [("GET", KEYS[-1])])
    while True:
        try:
            found |= {copy.key: copy.dumped for copy in next(steps)}
        except StopIteration as end:
            [instant] = end.value
            break
    values = {}
    for key, dumped in found.items():
        if dumped is not None:
            client.restore("back", 0, dumped, replace=True)
            values[key.decode()] = int(client.get("back"))
    return values, int(instant)


def test_a_change_before_the_last_step(client: Any) -> None:
    """A change just before the transaction that was to be the last is read in another one."""
    write(client, 1)
    with Interrupted(client, lambda: write(client, 2), lambda: write(client, 3)) as copier:
        assert copied(copier, client) == (dict.fromkeys(KEYS, 3), 3)


def test_a_change_in_the_same_moment(redis_url: str, client: Any) -> None:
    """News of a change that the server makes in one go with the copy's transaction comes after its answer, in time."""
    write(client, 1)
    busy = redis.Redis.from_url(redis_url)
    writer: Any = busy.connection_pool.get_connection()

    def in_one_go() -> None:
        """Let both wait until the server is free."""
        threading.Thread(target=busy.eval, args=(BUSY, 0)).start()
        time.sleep(0.02)
        writer.send_packed_command([packed(("MSET", *(part for key in KEYS for part in (key, 2))))])

    with Interrupted(client, *(in_one_go,) * 3) as copier:
        assert copied(copier, client) == (dict.fromkeys(KEYS, 2), 2)
    writer.disconnect()


def test_keys_that_come_and_go(client: Any) -> None:
    """A key that is made meanwhile is copied, one that is deleted or expires is told to be gone, another's is left."""
    write(client, 1)
    client.set("{cm/other/0}:a", 1)
    client.set("{cm/t/0}:short", 1, px=20)

    def change() -> None:
        client.delete(KEYS[0])
        client.set("{cm/t/0}:new", 5)
        time.sleep(0.05)
        assert client.get("{cm/t/0}:short") is None

    with Interrupted(client, change) as copier:
        values, _ = copied(copier, client)
    assert values == {KEYS[1]: 1, KEYS[2]: 1, "{cm/t/0}:new": 5}


def test_many_keys_and_when_they_expire(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """All are found and copied, in however many steps, with the instant that they expire at."""
    monkeypatch.setattr(key_copying, "KEYS_PER_STEP", 7)
    for number in range(3_000):
        client.set(f"{{cm/t/0}}:{number}", number, ex=100 if number % 2 else None)
    with Interrupted(client) as copier:
        assert copier.groups == ["all"]
        assert copier.keys_left == 3_000
        found = {copy.key: copy.expires_ms for step in copier.copy("all") for copy in step}
        assert copier.groups == []
    assert {key: client.pexpiretime(key) for key in found} == {key: at or -1 for key, at in found.items()}
    assert len(found) == 3_000


def test_a_redis_that_is_emptied_meanwhile(client: Any) -> None:
    """Nothing of it is taken for a copy."""
    write(client, 1)
    with Interrupted(client, client.flushall) as copier, pytest.raises(NoInstant, match="emptied"):
        copied(copier, client)


def test_changes_without_pause(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copying is given up at last, and nothing is taken for a copy."""
    monkeypatch.setattr(key_copying, "TRIES_MAX", 10)
    write(client, 1)
    with Interrupted(client, *(lambda: write(client, 2),) * 20) as copier, pytest.raises(NoInstant, match="pause"):
        copied(copier, client)


def test_a_right_that_is_missing(client: Any, redis_url: str) -> None:
    """One sentence says what Redis does not do."""
    client.acl_setuser("nobody", enabled=True, passwords=["+x"], keys=["*"], commands=["+@all", "-client|tracking"])
    nobody = redis.Redis.from_url(redis_url.replace("://", "://nobody:x@"))
    with pytest.raises(NoInstant, match="Redis does not tell which keys change"):
        Interrupted(nobody)
    client.acl_deluser("nobody")
