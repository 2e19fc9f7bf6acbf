"""An api whose workers have stopped says that it is not ready, and is ready again when one folds."""

from pathlib import Path
from typing import Any

import httpx

from callmeter.local.loopback_port import LOOPBACK
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.servers.kafka_server import KafkaServer

STALE_S_MAX = 3
# Generous: another helper's tests may have the machine.
CHANGE_S_MAX = 60


def test_a_worker_is_killed(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """An idle topic keeps the api ready for longer than the limit; without a worker it is not, until one is back."""
    settings = {"API__STALE_S_MAX": str(STALE_S_MAX)}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings, partitions=2) as pipeline:
        pipeline.create_topic()
        api = pipeline.start_api()

        def ready() -> tuple[int, dict[str, Any]]:
            response = httpx.get(f"http://{LOOPBACK}:{api.port}/ready", timeout=10)
            return response.status_code, response.json()

        assert ready() == (200, {"status": "ok"})
        worker = pipeline.start_worker()
        assert wait_until(lambda: pipeline.counters()["as_of_us"] > 0, CHANGE_S_MAX)
        assert not wait_until(lambda: ready()[0] == 503, 2 * STALE_S_MAX)
        worker.kill()
        assert wait_until(lambda: ready()[0] == 503, CHANGE_S_MAX)
        said = ready()[1]
        assert {one["shard"] for one in said["stale"]} == {f"{pipeline.topic}/0", f"{pipeline.topic}/1"}
        assert "no worker folds" in said["why"]
        worker.start_until_logged("worker started")
        assert wait_until(lambda: ready()[0] == 200, CHANGE_S_MAX)
