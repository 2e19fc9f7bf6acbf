"""Messages from before the retention, read again: a call is still counted once."""

import json
from collections.abc import Iterator

import pytest
import redis

from aggregator.layout.keys import CALLS_PER_CHUNK
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_US
from aggregator.writing.shard import Shard
from ingest.decoding.batch import decode_batch
from ingest.kafka.message import Message
from tests.support.folding import NOW_US, SHARD, T0_US, prices

RETENTION = Retention()
RETENTION_US = RETENTION.calls_s * 1_000_000


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A connection to an empty Redis."""
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


def message(offset: int, call_id: str, started_us: int, broker_us: int) -> Message:
    """Returns a message of one complete call."""
    call = {
        "project_id": "acme/agents",
        "id": call_id,
        "op_name": "op",
        "started_at": started_us / 1_000_000,
        "ended_at": started_us / 1_000_000,
        "summary": {},
    }
    return Message("calls", 0, offset, broker_us, None, json.dumps({"complete": call}).encode())


def fold(shard: Shard, messages: list[Message], now_us: int) -> int:
    """Apply as a worker does; how many dead letters there were."""
    values, brokers_us = [message.value for message in messages], [message.broker_us for message in messages]
    batch = decode_batch(values, brokers_us, RETENTION_US, shard.dropped_before_us)
    shard.apply(batch.events, messages[-1].offset + 1, max(brokers_us), now_us, {})
    return len(batch.invalid)


def test_a_replay_of_old_messages_counts_a_duplicate_once(client: redis.Redis) -> None:
    """The worker's clock is a year on; the log's own time decides when the record that tells the duplicate may go."""
    shard = Shard(ShardStore(client, SHARD), prices(), RETENTION)
    now_us = NOW_US + 400 * DAY_US
    calls = [message(number, f"call-{number}", T0_US, T0_US) for number in range(CALLS_PER_CHUNK)]
    again = calls[0]._replace(offset=CALLS_PER_CHUNK + 1, broker_us=T0_US + DAY_US)
    for batch in (calls, [message(CALLS_PER_CHUNK, "later", T0_US, T0_US)], [again]):
        assert fold(shard, batch, now_us) == 0
    assert shard_counter(client, "calls") == CALLS_PER_CHUNK + 1
    assert shard_counter(client, "duplicates") == 1


def test_a_duplicate_whose_record_is_gone_is_a_dead_letter(client: redis.Redis) -> None:
    """A duplicate whose record is gone is a dead letter, even when its own message claims an old time: the shard
    remembers how far it has dropped."""
    shard = Shard(ShardStore(client, SHARD), prices(), RETENTION)
    calls = [message(number, f"call-{number}", T0_US, T0_US) for number in range(CALLS_PER_CHUNK)]
    later_us = T0_US + RETENTION_US
    assert fold(shard, calls, NOW_US) == 0
    assert fold(shard, [message(CALLS_PER_CHUNK, "later", later_us, later_us)], later_us) == 0
    again = calls[0]._replace(offset=CALLS_PER_CHUNK + 1)
    assert fold(shard, [again], later_us) == 1
    assert shard_counter(client, "calls") == CALLS_PER_CHUNK + 1


def shard_counter(client: redis.Redis, name: str) -> int:
    """A counter of the shard."""
    value = client.hget(f"{SHARD.tag}:shard", name)
    assert isinstance(value, bytes)
    return int(value)
