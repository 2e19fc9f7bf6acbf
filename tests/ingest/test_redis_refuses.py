"""Whatever Redis replies instead of an answer, the worker waits, says so, and goes on when it is over."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from aggregator.layout.keys import ShardKeys, ShardName
from tests.pipeline.feed import Line
from tests.pipeline.pipeline import Pipeline
from tests.servers.kafka_server import KafkaServer
from tests.servers.redis_server import RedisServer

Refusal = Callable[[Any, ShardKeys], Any]


def lines(count: int) -> list[Line]:
    """Returns the lines of so many calls."""
    at = datetime.now(UTC).isoformat()
    call = {"project_id": "p", "op_name": "op", "started_at": at, "ended_at": at, "summary": {}}
    return [Line("p", json.dumps({"complete": {**call, "id": f"{at}-{number}"}}).encode()) for number in range(count)]


@contextmanager
def noreplicas(client: Any, _: ShardKeys) -> Iterator[None]:
    """Writes need a replica, and there is none."""
    client.config_set("min-replicas-to-write", 1)
    yield
    client.config_set("min-replicas-to-write", 0)


@contextmanager
def wrongtype(client: Any, keys: ShardKeys) -> Iterator[None]:
    """Somebody else's value stands where a hash of ours should."""
    client.rename(keys.ids, f"{keys.ids}:away")
    client.set(keys.ids, "x")
    yield
    client.rename(f"{keys.ids}:away", keys.ids)


@contextmanager
def noperm(client: Any, _: ShardKeys) -> Iterator[None]:
    """The right to write is taken away."""
    client.acl_setuser("default", enabled=True, nopass=True, commands=["-hset", "-set"])
    yield
    client.acl_setuser("default", enabled=True, nopass=True, commands=["+@all"], categories=["+@all"])


@contextmanager
def readonly(client: Any, _: ShardKeys) -> Iterator[None]:
    """Makes Redis a replica of what cannot be reached."""
    client.config_set("replica-serve-stale-data", "yes")
    client.replicaof("127.0.0.1", "1")
    yield
    client.replicaof("NO", "ONE")


@contextmanager
def busy(client: Any, _: ShardKeys) -> Iterator[None]:
    """Somebody's script runs on and on."""
    client.config_set("busy-reply-threshold", 10)
    at = client.connection_pool.connection_kwargs
    other = redis.Redis(at["host"], at["port"])

    def run() -> None:
        with pytest.raises(redis.ResponseError):
            other.eval("while true do end", 0)

    thread = threading.Thread(target=run)
    thread.start()
    yield
    client.script_kill()
    thread.join()
    other.close()


@pytest.mark.single_redis
@pytest.mark.parametrize("refusal", [noreplicas, wrongtype, noperm, readonly, busy])
def test_the_worker_waits(refusal: Refusal, kafka_server: KafkaServer, tmp_path: Path) -> None:
    """The worker says what Redis says, never ends, and counts everything once when it may."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        with Pipeline(tmp_path, kafka_server.bootstrap_servers, server.url, {}, partitions=1) as pipeline:
            pipeline.create_topic()
            pipeline.produce(lines(3))
            worker = pipeline.start_worker()
            pipeline.wait_until_applied()
            keys = ShardKeys(ShardName(pipeline.namespace, pipeline.topic, 0))
            with refusal(pipeline.redis, keys):
                pipeline.produce(lines(4))
                worker.wait_until_logged("will read again from the stored offset")
                assert worker.running
                assert pipeline.feed.ends == {0: 7}
            pipeline.wait_until_applied()
            assert pipeline.counters()["calls"] == 7
            assert worker.terminate() == 0
    finally:
        server.stop()
