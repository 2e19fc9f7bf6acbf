"""The servers of the tests and of `callmeter up`: they start, forget what they may and keep what they must."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from callmeter.local.child_process import ChildFailed, ChildProcess
from callmeter.local.embedded_broker import EmbeddedBroker
from callmeter.local.embedded_redis import EmbeddedRedis
from tests.servers.kafka_server import KafkaServer, create_topic
from tests.servers.redis_server import RedisServer

GONE_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0


def test_redis_keeps_its_data_over_a_kill(tmp_path: Path) -> None:
    """Redis has all that was written before SIGKILL after a start on the same directory and port."""
    server = RedisServer(tmp_path)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")
        server.kill()
        server.start()
        assert client.get("kept") == b"yes"
    server.stop()


def test_redis_without_appendonly_forgets(tmp_path: Path) -> None:
    """A killed server with `appendonly=False` comes back empty: the failover to a replica that was behind."""
    server = RedisServer(tmp_path, appendonly=False)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "no")
        server.kill()
        server.start()
        assert client.get("kept") is None
    server.stop()


def test_embedded_redis_never_evicts_and_listens_on_loopback_only(tmp_path: Path) -> None:
    """The settings that answers rely on are in force."""
    server = EmbeddedRedis(tmp_path)
    server.start()
    with redis.Redis.from_url(server.url) as client:
        settings = client.config_get("maxmemory-policy", "bind", "appendonly", "appendfsync")
    server.stop()
    assert settings == {
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
        "appendonly": "yes",
        "appendfsync": "everysec",
    }


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    """The error ends with the program's own last words."""
    with pytest.raises(ChildFailed, match="'nonsense \"1\"'"):
        RedisServer(tmp_path, extra_args=("--nonsense", "1")).start()


def test_a_server_that_is_never_ready_is_killed(tmp_path: Path) -> None:
    """A program that runs but does not get ready in time is an error, and does not stay behind."""
    child = ChildProcess("a sleeper", ["/bin/sleep", "600"], tmp_path / "log")
    with pytest.raises(ChildFailed, match=r"not ready within 0\.2 s; it logged nothing"):
        child.start(lambda: False, timeout_s=0.2)
    assert not child.running


def test_children_die_with_a_killed_parent(tmp_path: Path) -> None:
    """SIGKILL to the process that started a server ends the server as well."""
    program = (
        "import sys, time; from pathlib import Path; from callmeter.local.embedded_redis import EmbeddedRedis\n"
        "server = EmbeddedRedis(Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    with parent.stdout:
        child_pid = int(parent.stdout.readline())
    os.kill(child_pid, 0)
    parent.kill()
    parent.wait()
    assert _gone_within(child_pid, GONE_TIMEOUT_S)


@pytest.mark.apache_kafka
def test_kafka_keeps_messages_and_commits_over_a_kill(tmp_path: Path) -> None:
    """Messages and committed offsets are there after SIGKILL and a start on the same directory and port."""
    server = KafkaServer(tmp_path)
    server.start()
    create_topic(server.bootstrap_servers, "calls", 1)
    _produce(server.bootstrap_servers, "calls", 3)
    assert _consume_and_commit(server.bootstrap_servers, "calls", 2) == [0, 1]
    server.kill()
    server.start()
    assert _consume_and_commit(server.bootstrap_servers, "calls", 1) == [2]
    server.kill()


def test_embedded_broker_serves_topics_and_groups(tmp_path: Path) -> None:
    """A topic can be made, filled, read by a consumer group and read on from the committed offset."""
    broker = EmbeddedBroker(tmp_path)
    broker.start()
    create_topic(broker.address, "calls", 2)
    topic = AdminClient({"bootstrap.servers": broker.address}).list_topics("calls", timeout=5).topics["calls"]
    assert sorted(topic.partitions) == [0, 1]
    _produce(broker.address, "calls", 3)
    assert _consume_and_commit(broker.address, "calls", 2) == [0, 1]
    assert _consume_and_commit(broker.address, "calls", 1) == [2]
    broker.stop()


def _produce(bootstrap_servers: str, topic: str, messages: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers, "log_level": 0})
    for number in range(messages):
        producer.produce(topic, value=str(number), partition=0)
    assert producer.flush(20) == 0


def _consume_and_commit(bootstrap_servers: str, topic: str, messages: int) -> list[int | None]:
    """The offsets of the next messages of partition 0 from where the group has committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "readers",
            "session.timeout.ms": 2000,  # the embedded broker takes half of it to let the first member in
            "heartbeat.interval.ms": 300,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    offsets = [message.offset() for message in consumer.consume(messages, timeout=READ_TIMEOUT_S)]
    assert len(offsets) == messages
    consumer.commit(offsets=[TopicPartition(topic, 0, (offsets[-1] or 0) + 1)], asynchronous=False)
    consumer.close()
    return offsets


def _gone_within(pid: int, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False
