"""The store of one shard: the fence, the atomic step, wide reads."""

from typing import Any

import pytest

from aggregator.layout.keys import LAYOUT_VERSION, LAYOUTS_READ, ShardKeys
from aggregator.layout.write import ShardWrite
from aggregator.store.shard_store import FIELDS_PER_READ_MAX, Fenced, OtherLayout, ShardStore
from tests.support.folding import SHARD

# In the slot of the shard, as all that it writes: hashes, names.
H, DROPPED, ABSENT, Z = (f"{ShardKeys(SHARD).shard}:{name}" for name in ("h", "dropped", "absent", "z"))


@pytest.fixture
def store(client: Any) -> ShardStore:
    return ShardStore(client, SHARD)


def test_apply_writes_everything(client: Any, store: ShardStore) -> None:
    """Fields, deletions, drops, names, counters, expiries and the next offset."""
    client.hset(H, mapping={"gone": 1, "stays": 2})
    client.hset(DROPPED, "a", 1)
    write = ShardWrite(
        deletions={H: ["gone"]},
        drops=[DROPPED],
        names={Z: [b"b", b"a"]},
        increments={"calls": 3},
        expiries={H: 4_000_000_000, ABSENT: 4_000_000_000},
    )
    write.set(H, "new", 5)
    write.set(H, b"\x00\xff", b"\xfe")
    store.apply(None, 12, write)
    assert client.hgetall(H) == {b"stays": b"2", b"new": b"5", b"\x00\xff": b"\xfe"}
    assert client.exists(DROPPED, ABSENT) == 0
    assert client.zrange(Z, 0, -1) == [b"a", b"b"]
    assert client.hget(store.keys.shard, "calls") == b"3"
    assert client.expiretime(H) == 4_000_000_000
    assert store.next_offset() == 12


@pytest.mark.parametrize(("stored", "expected"), [(None, 0), (5, None), (5, 4), (5, 6)])
def test_the_fence(client: Any, store: ShardStore, stored: int | None, expected: int | None) -> None:
    """Any other next offset than the writer's own refuses the batch, and nothing is written."""
    if stored is not None:
        client.set(store.keys.next, stored)
    write = ShardWrite()
    write.set(H, "f", 1)
    with pytest.raises(Fenced):
        store.apply(expected, 9, write)
    assert client.exists(H) == 0
    assert store.next_offset() == stored


def test_read_fields(client: Any, store: ShardStore) -> None:
    """Fields of several hashes, more than fit into one command, are read in the order asked, None where nothing is."""
    client.hset(H, mapping={str(number): number for number in range(0, 2 * FIELDS_PER_READ_MAX, 2)})
    asked = list(range(2 * FIELDS_PER_READ_MAX))
    found = store.read_fields({H: asked, "none": ["a", b"b"]})
    assert found[H] == [str(number).encode() if number % 2 == 0 else None for number in asked]
    assert found["none"] == [None, None]
    assert store.read_fields({}) == {}
    assert store.read_hashes(["none"]) == [{}]


def test_another_layout_is_refused(client: Any, store: ShardStore) -> None:
    """An older version neither reads nor writes what it does not know; its own is fine."""
    client.hset(store.keys.shard, "layout", LAYOUT_VERSION)
    assert store.shard_fields() == {"layout": str(LAYOUT_VERSION)}
    client.hset(store.keys.shard, "layout", min(LAYOUTS_READ) - 1)
    with pytest.raises(OtherLayout, match="run `callmeter rebuild` with this version"):
        store.shard_fields()
    client.hset(store.keys.shard, "layout", LAYOUT_VERSION + 1)
    with pytest.raises(OtherLayout):
        store.shard_fields()


@pytest.mark.parametrize("layout", LAYOUTS_READ)
def test_a_layout_that_is_read(client: Any, store: ShardStore, layout: int) -> None:
    """A shard is of this version once it is written in another form, so that none of before reads that form."""
    assert store.next_offset() is None
    store.apply(None, 1, ShardWrite())
    client.hset(store.keys.shard, "layout", layout)
    assert store.next_offset() == 1
    assert store.shard_fields() == {"layout": str(layout)}
    store.replace(ShardWrite())
    assert store.shard_fields() == {"layout": str(LAYOUT_VERSION)}
