"""Every golden case, asked over HTTP of what a worker process has folded from Apache Kafka."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.pipeline.golden import DATASETS, read_dataset
from tests.pipeline.pipeline import Api, Pipeline
from tests.servers.kafka_server import KafkaServer
from tests.servers.redis_server import RedisServer

NAMESPACE = "cases"


@pytest.fixture(scope="module")
def api(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One api for all datasets: they agree in now, prices and retention, and only one at a time is in Redis."""
    (settings,) = {tuple(read_dataset(name).settings.items()) for name in DATASETS}
    where = {"REDIS__URL": redis_server.url, "REDIS__NAMESPACE": NAMESPACE, "API__AUTH": "false"}
    api = Api(dict(settings) | where, tmp_path_factory.mktemp("api") / "api.log")
    api.start()
    yield api
    api.stop()


@pytest.mark.parametrize("name", DATASETS)
@pytest.mark.parametrize(("messages_max", "shuffle"), [(5_000, False), (5_000, True), (1, False), (1, True)])
def test_cases(
    name: str, messages_max: int, shuffle: bool, api: Api, kafka_server: KafkaServer, redis_url: str, tmp_path: Path
) -> None:
    """Every answer is right in whatever batches the messages are folded; shuffled, with each message sent twice too.

    As many calls are counted as there are, and every message once.
    """
    dataset = read_dataset(name)
    lines = dataset.shuffled_and_doubled(seed=messages_max) if shuffle else dataset.lines
    settings = dataset.settings | {"BATCH__MESSAGES_MAX": str(messages_max)}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings, namespace=NAMESPACE) as pipeline:
        pipeline.create_topic()
        pipeline.produce(lines)
        worker = pipeline.start_worker()
        pipeline.wait_until_applied()
        assert api.mistakes(dataset.cases) == {}
        counters = pipeline.counters()
        assert (counters["calls"], counters["messages"]) == (dataset.calls, len(lines))
        assert counters["dead_letters"] == 0
        assert worker.terminate() == 0


def test_each_dataset_spreads(redis_url: str) -> None:
    """One dataset at least is keyed finely enough for three partitions to matter, and Redis begins empty."""
    assert max(len({line.key for line in read_dataset(name).lines}) for name in DATASETS) >= 100
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
