"""The servers that tests share, each started when the first test asks for it, once per run.

Tests that kill a server make their own in `tmp_path` (`tests.servers`). `CALLMETER_TEST_BROKER=embedded` replaces
Apache Kafka by the embedded broker where Java is missing, CALLMETER_TEST_REDIS=cluster the one Redis by a cluster of
three masters; what those cannot test is left out, and said at the end.
"""

import os
import time
from collections.abc import Iterator

import pytest
import redis
from hypothesis import settings

from callmeter.local.embedded_broker import EmbeddedBroker
from tests.servers.clustered import lead_to
from tests.servers.kafka_server import KafkaServer
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_server import RedisServer

# Ten times as many datasets in the tests that compare with the brute-force model.
settings.register_profile("full")


CLUSTERED = os.environ.get("CALLMETER_TEST_REDIS") == "cluster"
EMBEDDED = os.environ.get("CALLMETER_TEST_BROKER") == "embedded"
LEFT_OUT = pytest.StashKey[int]()
KAFKA_START_S = pytest.StashKey[float]()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer | RedisCluster]:
    """A Redis, or a cluster, for the whole run; tests take `redis_url`, which empties it first."""
    directory = tmp_path_factory.mktemp("redis")
    server = RedisCluster(directory) if CLUSTERED else RedisServer(directory)
    server.start()
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(server, RedisCluster):
            lead_to(server, patch)
        yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The address of an empty Redis."""
    with redis.Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture(scope="session")
def kafka_server(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Apache Kafka for the whole run; not to be killed. A test names its topics and groups as no other does."""
    server = KafkaServer(tmp_path_factory.mktemp("kafka"))
    began_s = time.monotonic()
    server.start()
    pytestconfig.stash[KAFKA_START_S] = time.monotonic() - began_s
    yield server
    server.kill()


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """The broker of `callmeter up` for the whole run."""
    broker = EmbeddedBroker(tmp_path_factory.mktemp("broker"))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def bootstrap_servers(request: pytest.FixtureRequest) -> str:
    """The address of a broker for tests that any broker can serve: Apache Kafka, or the embedded one if so chosen."""
    server: KafkaServer | EmbeddedBroker = request.getfixturevalue("embedded_broker" if EMBEDDED else "kafka_server")
    return server.bootstrap_servers


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only Apache Kafka, or only a single Redis, can serve where it is replaced."""
    left_out = [item for item in items if (EMBEDDED and _needs_apache_kafka(item)) or (CLUSTERED and _needs_one(item))]
    items[:] = [item for item in items if item not in left_out]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
    config.stash[LEFT_OUT] = len(left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how long Apache Kafka took to start and, loudly, what was left out."""
    if KAFKA_START_S in config.stash:
        terminalreporter.write_line(f"Apache Kafka started in {config.stash[KAFKA_START_S]:.1f} s")
    if left_out := config.stash.get(LEFT_OUT, 0):
        reason = "they need Apache Kafka, or a single Redis, and were told to do without"
        terminalreporter.write_sep("!", f"{left_out} tests NOT RUN: {reason}", red=True)


def _needs_apache_kafka(item: pytest.Item) -> bool:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return item.get_closest_marker("apache_kafka") is not None or "kafka_server" in fixtures


def _needs_one(item: pytest.Item) -> bool:
    return item.get_closest_marker("single_redis") is not None
