"""Moving into a bucket of a real server of S3's protocol, and back: the same numbers, and its absence is waited for."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggregator.layout.moved import OWNER
from aggregator.objects.bucket_store import BucketStore
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_S, SECOND_US
from aggregator.writing.object_verification import shard_objects, verify_objects
from aggregator.writing.objects_access import objects_access
from aggregator.writing.shard import Shard
from tests.servers.s3_server import S3Server
from tests.support.folding import KEEP_ALL, NOW_US, SHARD, apply, fold_all, prices, read_state
from tests.support.moving import AT_ONCE, KEYS, PREFIX, frames_in_redis
from tests.support.sealing import seal_all, some_calls
from tests.support.watched_answers import answer

LIMITS = msgspec.structs.replace(AT_ONCE, collect_every_s=0)


def open_moving(client: Any, bucket: BucketStore, aside: ThreadPoolExecutor) -> Shard:
    """A writer that moves in a thread, as a worker does."""
    return Shard(ShardStore(client, SHARD), prices(), KEEP_ALL, LIMITS, objects_access(bucket, aside))


def keep_up(shard: Shard, now_us: int, aside: ThreadPoolExecutor) -> None:
    """Do all that is due, waiting for what is done beside it."""
    for _ in range(20):
        seal_all(shard, now_us)
        aside.submit(int).result()
        shard.seal(now_us)


def test_a_bucket(
    client: Any, redis_url: str, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is moved, answered, taken out for late events, verified, collected; a bucket that is away is waited for."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    url = f"{s3_server.url}/{tmp_path.name}"
    bucket = BucketStore(url)
    parts = [some_calls(60), some_calls(60, 60)]
    with ThreadPoolExecutor(1) as aside:
        shard = open_moving(client, bucket, aside)
        apply(shard, parts[0])
        expected = answer(redis_url, None)
        keep_up(shard, NOW_US, aside)
        assert frames_in_redis(client) == []
        assert answer(redis_url, bucket) == expected

        monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
        shard = open_moving(client, BucketStore(url), aside)
        with pytest.raises(OSError, match=f"{PREFIX}.* cannot be read"):
            apply(shard, parts[1])

        shard = open_moving(client, bucket, aside)
        apply(shard, parts[1])
        keep_up(shard, NOW_US, aside)
        assert frames_in_redis(client) == []
        assert client.hlen(KEYS.retired)
        later_us = NOW_US + 7 * DAY_S * SECOND_US
        shard = open_moving(client, bucket, aside)
        keep_up(shard, later_us, aside)
    store = ShardStore(client, SHARD)
    entries, retired = shard_objects(store)
    assert retired == {}
    assert {one.name for one in bucket.listed(PREFIX)} == {PREFIX + name for name in (*entries, OWNER)}
    assert [state.wrong for state in verify_objects(store, bucket, entries)] == [[] for _ in entries]
    assert read_state(client, bucket) == fold_all(client, parts)
