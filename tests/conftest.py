"""The servers that tests share, each started when the first test asks for it, once per run.

Tests that kill a server make their own in `tmp_path` (`tests.servers`). `CALLMETER_TEST_BROKER=embedded` replaces
Apache Kafka by the embedded broker where Java is missing, CALLMETER_TEST_REDIS=cluster the one Redis by a cluster of
three masters; what those cannot test is left out, and said at the end.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings

from callmeter.local import loopback_port
from callmeter.local.embedded_broker import EmbeddedBroker
from tests.servers.clustered import lead_to
from tests.servers.kafka_server import KafkaServer
from tests.servers.redis_cluster import RedisCluster
from tests.servers.redis_server import RedisServer
from tests.servers.s3_server import S3Server

# No test claims how long an example takes, to be made or to be tried: on a busy machine hypothesis's 200 ms, and its
# seconds for the first ten, are soon over. `full`: ten times as many datasets in the tests that compare with the
# brute-force model.
settings.register_profile("usual", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("full", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("usual")

CLUSTERED = os.environ.get("CALLMETER_TEST_REDIS") == "cluster"
EMBEDDED = os.environ.get("CALLMETER_TEST_BROKER") == "embedded"
# Programs that drive what a user sees; a machine that has none leaves those tests out.
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
HAS_CHROMIUM = any(shutil.which(name) for name in CHROMIUM_NAMES)
HAS_TMUX = shutil.which("tmux") is not None
LEFT_OUT = pytest.StashKey[Counter[str]]()
KAFKA_START_S = pytest.StashKey[float]()
LEFT_OUT_NAME, KAFKA_START_NAME = "left out", "Apache Kafka started in, s"


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
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server of S3's protocol for the whole run, with one bucket; not to be killed."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    server.start()
    yield server
    server.kill()


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
    """Leave out what this machine, or what Kafka and Redis were replaced by, cannot serve."""
    left_out = [(item, reason) for item in items if (reason := _left_out_because(item))]
    if left_out:
        config.hook.pytest_deselected(items=[item for item, _ in left_out])
    items[:] = [item for item in items if not _left_out_because(item)]
    config.stash[LEFT_OUT] = Counter(reason for _, reason in left_out)


def pytest_configure() -> None:
    """Let each of several test processes draw ports from its own part of the range: those of servers that have not
    started yet are free to all."""
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 1))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = (loopback_port.LAST_PORT - loopback_port.FIRST_PORT) // count
    loopback_port.FIRST_PORT += number * ports
    loopback_port.LAST_PORT = loopback_port.FIRST_PORT + ports - 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what is to be said at the end to the process that says it, where tests run in several."""
    told: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if told is not None:
        told[KAFKA_START_NAME] = session.config.stash.get(KAFKA_START_S, None)
        left_out = session.config.stash.get(LEFT_OUT, None)
        told[LEFT_OUT_NAME] = dict(left_out or {})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a process handed over. All leave out the same tests."""
    told = getattr(node, "workeroutput", {})
    if told.get(KAFKA_START_NAME) is not None:
        node.config.stash[KAFKA_START_S] = told[KAFKA_START_NAME]
    if LEFT_OUT_NAME in told:
        node.config.stash[LEFT_OUT] = Counter(told[LEFT_OUT_NAME])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say how long Apache Kafka took to start and, loudly, what was left out."""
    if KAFKA_START_S in config.stash:
        terminalreporter.write_line(f"Apache Kafka started in {config.stash[KAFKA_START_S]:.1f} s")
    for reason, count in config.stash.get(LEFT_OUT, Counter()).items():
        terminalreporter.write_sep("!", f"{count} tests NOT RUN: {reason}", red=True)


def _left_out_because(item: pytest.Item) -> str:
    """Why the test cannot run here; empty where it can."""
    if (EMBEDDED and _needs_apache_kafka(item)) or (CLUSTERED and _needs_one(item)):
        return "they need Apache Kafka, or a single Redis, and were told to do without"
    if not HAS_CHROMIUM and item.get_closest_marker("browser"):
        return "they look at the page and there is no Chromium (Debian: apt-get install chromium)"
    if not HAS_TMUX and item.get_closest_marker("terminal"):
        return "they look at a terminal and there is no tmux (Debian: apt-get install tmux)"
    return ""


def _needs_apache_kafka(item: pytest.Item) -> bool:
    fixtures: list[str] = getattr(item, "fixturenames", [])
    return item.get_closest_marker("apache_kafka") is not None or "kafka_server" in fixtures


def _needs_one(item: pytest.Item) -> bool:
    return item.get_closest_marker("single_redis") is not None
