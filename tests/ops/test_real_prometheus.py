"""Prometheus itself reads what we write: it checks our rules, scrapes a worker's metrics and queries our api."""

import json
import shutil
import subprocess
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.shard import Shard
from callmeter.local.loopback_port import free_loopback_port
from callmeter.metrics.worker_metrics import Sources, WorkerCollector
from callmeter.metrics.worker_server import serve_metrics
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api
from tests.support.folding import KEEP_ALL, PROJECT, SHARD, T0_US, complete, prices
from tests.support.paths import ROOT
from tests.support.standing_worker import NOW_US as SCRAPED_US
from tests.support.standing_worker import Standing, progress

RULES = ROOT / "ops" / "prometheus"
NOW_US = T0_US + 3_600 * SECOND_US
START_TIMEOUT_S = 30.0

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="no Prometheus on this machine: apt-get install prometheus",
)


def promtool(*arguments: str, directory: Path = RULES) -> str:
    """Returns what promtool printed; its failure is the test's."""
    done = subprocess.run(
        ["promtool", *arguments], cwd=directory, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_our_alert_rules() -> None:
    """Our alert rules are valid, and each fires on what it is for and on nothing else."""
    assert "8 rules found" in promtool("check", "rules", "callmeter.rules.yaml")
    assert "SUCCESS" in promtool("test", "rules", "callmeter.rules.test.yaml")


def test_promtool_queries_the_api(redis_url: str, tmp_path: Path) -> None:
    """Instant queries by Prometheus' own client say what was folded, and that the questions were counted."""
    shard = Shard(ShardStore(connect(redis_url), SHARD), prices(), KEEP_ALL)
    events = [complete(f"call-{number}", number, number + 2, op_name=f"op-{number % 3}") for number in range(60)]
    shard.apply(events, len(events), NOW_US, NOW_US, {})
    now = datetime.fromtimestamp(NOW_US / SECOND_US, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    kept = {f"RETENTION__{level}": "3650d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")}
    where = {"REDIS__URL": redis_url, "REDIS__NAMESPACE": SHARD.namespace, "API__AUTH": "false", "NOW": now}
    api = Api(kept | where, tmp_path / "api.log")
    api.start()
    try:
        address = f"http://127.0.0.1:{api.port}/prometheus"
        query = f'sum by (op_name) (increase(callmeter_calls_total{{project="{PROJECT}"}}[1h]))'
        told = promtool("query", "instant", f"--time={now}", "-o", "json", address, query)
        found = {row["metric"]["op_name"]: float(row["value"][1]) for row in json.loads(told)}
        assert found == {"op-0": 20, "op-1": 20, "op-2": 20}
        assert PROJECT in promtool("query", "labels", address, "project")
        with urllib.request.urlopen(f"http://127.0.0.1:{api.port}/metrics", timeout=5) as answer:
            assert b'endpoint="/prometheus/api/v1/query",status="200"} 1.0' in answer.read()
    finally:
        api.stop()


def test_a_real_prometheus_scrapes_a_worker(tmp_path: Path) -> None:
    """A real Prometheus answers its own query with what the worker's /metrics says."""
    registry = CollectorRegistry()
    registry.register(WorkerCollector(Standing("reading"), Sources(progress, list, dict, dict), lambda: SCRAPED_US))
    server = serve_metrics("127.0.0.1", 0, registry, lambda: None)
    port = free_loopback_port()
    scrape = {"job_name": "worker", "static_configs": [{"targets": [f"127.0.0.1:{server.server_port}"]}]}
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scrape]}
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log) as prometheus,
    ):
        try:

            def lag() -> Any:
                address = f"http://127.0.0.1:{port}/api/v1/query?query=callmeter_lag_messages"
                try:
                    with urllib.request.urlopen(address, timeout=2) as answer:
                        return [row["value"][1] for row in json.load(answer)["data"]["result"]]
                except OSError:
                    return []

            assert wait_until(lambda: lag() == ["7"], START_TIMEOUT_S), (tmp_path / "log").read_text()
        finally:
            prometheus.kill()
            server.shutdown()
            server.server_close()
