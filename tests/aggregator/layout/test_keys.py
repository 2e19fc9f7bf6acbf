"""Keys and fields of a shard."""

import pytest
from redis.crc import key_slot

from aggregator.layout.keys import (
    ShardKeys,
    ShardName,
    day_of,
    id_field,
    member_shard,
    shard_member,
)
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES
from aggregator.time_units import DAY_US

SHARD = ShardName("ns", "weave.calls", 12)


def all_keys(keys: ShardKeys) -> list[bytes]:
    """Returns one key of each kind."""
    texts = [
        keys.next,
        keys.shard,
        keys.writer,
        keys.projects,
        keys.ids,
        keys.id_pages,
        keys.calls(3),
        keys.views(1, 20_515),
        keys.rollups(1, HOURS, 20_515),
        keys.rollups(1, FIVE_MINUTES, 20_515),
        keys.rollups(1, MINUTES, 20_515),
        keys.rollups(11, MINUTES, 20_515),
        keys.postings(1, "m", 20_515),
        keys.posting_blocks(1, "m", 20_515),
        keys.refs(1, "i", 20_515),
    ]
    return [*(text.encode() for text in texts), keys.open_calls(1, b"\0}{")]


def test_a_shard_lies_in_one_slot() -> None:
    """Every key carries the hash tag, so that one transaction may touch them all in a Redis Cluster."""
    keys = all_keys(ShardKeys(SHARD))
    assert len({key_slot(key) for key in keys}) == 1
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(b"{ns/weave.calls/12}:") for key in keys)


def test_shards_share_no_key() -> None:
    """A shard shares no key with one of another partition, topic or namespace."""
    names = [SHARD, SHARD._replace(partition=1), SHARD._replace(topic="weave"), SHARD._replace(namespace="n")]
    keys = [key for name in names for key in all_keys(ShardKeys(name))]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("topic", ["calls", "a/b", "with.dots-and_more"])
def test_a_member_names_its_shard(topic: str) -> None:
    """Back from the registry."""
    shard = ShardName("ns", topic, 7)
    assert member_shard("ns", shard_member(shard)) == shard


def test_id_fields_of_two_projects_differ() -> None:
    """Fields of ids of two projects differ, even where number and id run into each other."""
    assert id_field(1, b"a") != id_field(2, b"a")
    assert id_field(1, b"") == bytes([0, 0, 0, 1])


@pytest.mark.parametrize(("at_us", "day"), [(0, 0), (DAY_US - 1, 0), (DAY_US, 1), (-1, -1)])
def test_days(at_us: int, day: int) -> None:
    """Days are counted from midnight UTC, before 1970 too."""
    assert day_of(at_us) == day
