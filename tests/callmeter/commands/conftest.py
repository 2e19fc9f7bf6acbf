"""What tests of commands share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.callmeter.commands.rebuilding import DATASET
from tests.pipeline.pipeline import Pipeline
from tests.servers.kafka_server import KafkaServer


@pytest.fixture
def pipeline(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """A dataset that a worker has folded; the worker goes on."""
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, DATASET.settings) as pipeline:
        pipeline.create_topic()
        pipeline.produce(DATASET.lines)
        pipeline.start_worker()
        pipeline.wait_until_applied()
        yield pipeline
