"""The servers that tests share, each started when the first test asks for it, once per run.

Tests that kill a server make their own in `tmp_path` (`tests.servers`). `CALLMETER_TEST_BROKER=embedded` replaces
Apache Kafka by the embedded broker where Java is missing; what that cannot test is left out, and said at the end.
"""

import os
import time
from collections.abc import Iterator

import pytest
import redis

from callmeter.embedded_broker import EmbeddedBroker
from tests.servers.kafka_server import KafkaServer
from tests.servers.redis_server import RedisServer

EMBEDDED = os.environ.get("CALLMETER_TEST_BROKER") == "embedded"
LEFT_OUT = pytest.StashKey[int]()
KAFKA_START_S = pytest.StashKey[float]()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for the whole run; tests take `redis_url`, which empties it first."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
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
    """Without Apache Kafka, leave out what only it can serve."""
    config.stash[LEFT_OUT] = 0
    if not EMBEDDED:
        return
    left_out = [item for item in items if _needs_apache_kafka(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
    config.stash[LEFT_OUT] = len(left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how long Apache Kafka took to start and, loudly, what was left out."""
    if KAFKA_START_S in config.stash:
        terminalreporter.write_line(f"Apache Kafka started in {config.stash[KAFKA_START_S]:.1f} s")
    if left_out := config.stash.get(LEFT_OUT, 0):
        reason = "CALLMETER_TEST_BROKER=embedded, they need Apache Kafka"
        terminalreporter.write_sep("!", f"{left_out} tests NOT RUN: {reason}", red=True)


def _needs_apache_kafka(item: pytest.Item) -> bool:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return item.get_closest_marker("apache_kafka") is not None or "kafka_server" in fixtures
