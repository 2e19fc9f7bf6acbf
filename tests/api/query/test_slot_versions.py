"""Versions of slots: each batch renews those of the slots that it changes, and they go with their block."""

from collections.abc import Iterator

import pytest
import redis

from aggregator.layout.keys import ShardKeys
from aggregator.reading.rollups import LevelBlock, Slots
from aggregator.reading.slot_versions import BlockVersions, fingerprint, fingerprints, read_versions
from aggregator.rollups.levels import HOURS, LEVELS, MINUTES
from aggregator.store.connection import connect
from aggregator.store.reader import OpenedProject, StoreReader
from aggregator.time_units import MINUTE_US
from tests.support.folding import SHARD, T0_US, apply, complete, end, open_shard, start, tokens
from tests.support.reading import read


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    made = connect(redis_url)
    yield made
    made.close()


def prints(redis_url: str, minute: int) -> list[bytes]:
    """Returns by level the fingerprint of the slot of a minute."""

    async def ask(reader: StoreReader, project: OpenedProject) -> list[bytes]:
        found = []
        for level in LEVELS:
            block, slot = level.block_and_slot(minute)
            slots = [Slots(LevelBlock(level, block), range(slot, slot + 1))]
            versions = await read_versions(reader, project, [slots[0].block])
            found.append(fingerprint(slots, versions))
        return found

    return read(redis_url, ask)


def test_each_batch_renews_the_versions_of_its_slots(redis_url: str, client: redis.Redis) -> None:
    """Starts, ends and usage change the versions of the slots that count them, at every level, and of no other."""
    shard, minute = open_shard(client), T0_US // MINUTE_US
    apply(shard, [complete("other", at_s=7_200, end_s=7_201)])
    other = prints(redis_url, minute + 120)
    seen = [prints(redis_url, minute)]
    assert seen == [[bytes(8)] * len(LEVELS)]
    for batch in ([start("a")], [start("b")], [end("a")], [end("b", usage={"m": tokens(1)})]):
        apply(shard, batch)
        seen.append(prints(redis_url, minute))
    assert all(len(set(of_level)) == len(seen) for of_level in zip(*seen, strict=True))
    apply(shard, [start("a"), end("b")])  # duplicates
    assert prints(redis_url, minute) == seen[-1]
    apply(shard, [start("c", at_s=59)])
    apply(shard, [start("d", at_s=60)])
    minutes, hours = LEVELS.index(MINUTES), LEVELS.index(HOURS)
    before, after = seen[-1], prints(redis_url, minute)
    assert before[minutes] != after[minutes] != prints(redis_url, minute + 1)[minutes]
    assert after[hours] == prints(redis_url, minute + 1)[hours]
    assert prints(redis_url, minute + 120) == other


def test_versions_expire_with_their_block(redis_url: str, client: redis.Redis) -> None:
    """A block's versions expire with the block."""
    apply(open_shard(client), [complete("a")])
    keys = ShardKeys(SHARD)
    for level in LEVELS:
        block, _ = level.block_and_slot(T0_US // MINUTE_US)
        rollups, versions = keys.rollups(1, level, block), keys.versions(1, level, block)
        assert client.expiretime(rollups) == client.expiretime(versions) > 0


def test_fingerprints_of_several_shards() -> None:
    """A fingerprint has the versions of its slots in all shards, whatever is stored behind a version."""
    versions = [b"%08d" % number for number in range(4)]
    block, other = LevelBlock(MINUTES, 1), LevelBlock(HOURS, 0)
    known = {
        block: BlockVersions(60, [{b"7": versions[0], b"8": versions[1] + b"1772532059000000"}, {b"8": versions[2]}]),
        other: BlockVersions(24, [{b"23": versions[3]}, {}]),
    }
    none = bytes(8)
    of = [Slots(block, range(7, 9))], [Slots(other, range(23, 24)), Slots(block, range(8, 9))], [Slots(block, range(1))]
    assert fingerprints(of, known) == [
        b"".join([versions[0], versions[1], none, versions[2]]),
        b"".join([versions[3], none, versions[1], versions[2]]),
        none + none,
    ]
    assert fingerprints(of, known) == [fingerprint(slots, known) for slots in of]
    assert known[block] == BlockVersions(60, [{b"8": versions[1], b"7": versions[0]}, {b"8": versions[2]}])
    assert known[block] != BlockVersions(60, [{b"8": versions[2], b"7": versions[0]}, {b"8": versions[2]}])
