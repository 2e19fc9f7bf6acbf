"""Series of `/metrics` do not grow with ten thousand ops, users and models; queries of so many say their limit."""

import json
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from aggregator.reading.view_rollups import VIEWS_AT_ONCE_MAX
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from callmeter.metrics.unpriced_models import MODELS_TOLD_MAX
from tests.pipeline.feed import Line
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline
from tests.pipeline.program import START_TIMEOUT_S, Program
from tests.servers.kafka_server import KafkaServer
from tests.support.prometheus_process import prometheus

NAMES = 10_000
PATHS = 100
KEPT, OVERFLOWING = "acme/kept", "acme/overflowing"
# Views of so many ops are kept; of the other project, which has ten thousand in one partition, not all.
VIEWS = 8_000
FEW = 6_000


class Grown(NamedTuple):
    """Series of each process with one op and with ten thousand, and the api."""

    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]
    ports: dict[str, int]

    @property
    def query_api(self) -> str:
        """The api's Prometheus API."""
        return f"http://{LOOPBACK}:{self.ports['api']}/prometheus/api/v1"


def lines(project: str, numbers: range) -> Iterator[Line]:
    """Calls that all have an op, a user and an unpriced model of their own."""
    now = datetime.now(UTC).isoformat()
    for at in numbers:
        call = {"project_id": project, "id": f"{project}-{at}", "trace_id": f"t-{at}", "op_name": f"op-name-{at}"}
        call |= {"started_at": now, "ended_at": now, "wb_user_id": f"user-name-{at}"}
        usage = {"usage": {f"model-name-{at}": {"input_tokens": 1, "output_tokens": 1}}}
        yield Line(project, json.dumps({"complete": call | {"summary": usage}}).encode())


def series(port: int) -> dict[str, float]:
    """Return all that a process tells, by name with labels."""
    text = httpx.get(f"http://{LOOPBACK}:{port}/metrics", timeout=30).raise_for_status().text
    # A partition is in one of a few states, now in this one and now in that.
    passed_over = ("#", "callmeter_partition_state")
    told = [line.rpartition(" ") for line in text.splitlines() if not line.startswith(passed_over)]
    return {name: float(value) for name, _, value in told}


def ask_much(ports: dict[str, int], first: int, count: int) -> None:
    """Questions about many ops and users, and paths with many names in them, to both."""
    with httpx.Client(timeout=30) as client:
        for at in range(first, first + count):
            filters = {"op_names": [f"op-name-{at}"], "wb_user_ids": [f"user-name-{at}"]}
            asked = {"project_id": KEPT, "start": "-5m", "filter": filters, "call_metrics": [{"metric": "call_count"}]}
            client.post(f"http://{LOOPBACK}:{ports['api']}/calls/stats", json=asked)
            client.get(f"http://{LOOPBACK}:{ports['api']}/prometheus/api/v1/label/label-name-{at}/values")
            client.get(f"http://{LOOPBACK}:{ports['api']}/user-name-{at}")
            client.post(f"http://{LOOPBACK}:{ports['gateway']}/v2/acme/project-name-{at}/calls/complete", content=b"{}")
            client.get(f"http://{LOOPBACK}:{ports['gateway']}/user-name-{at}")


@pytest.fixture(scope="module")
def grown(kafka_server: KafkaServer, redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grown]:
    """A worker, an api and a gateway, before and after the many names."""
    directory, ports = tmp_path_factory.mktemp("names"), {"worker": free_loopback_port()}
    settings = {
        "METRICS__PORT": str(ports["worker"]),
        "LIMITS__VIEWS": str(VIEWS),
        "GATEWAY__AUTH": "false",
        "GATEWAY__PORT": str(free_loopback_port()),
    }
    with Pipeline(directory, kafka_server.bootstrap_servers, redis_server.url, settings, partitions=1) as pipeline:
        pipeline.redis.flushall()
        pipeline.create_topic()
        pipeline.produce(lines(KEPT, range(1)))
        pipeline.start_worker()
        api = pipeline.start_api()
        gateway = Program("gateway", pipeline.settings, directory / "gateway.log")
        ports |= {"api": api.port, "gateway": int(settings["GATEWAY__PORT"])}

        def answers() -> bool:
            try:
                return httpx.get(f"http://{LOOPBACK}:{ports['gateway']}/health", timeout=2).status_code == 200
            except httpx.TransportError:
                return False

        gateway.start(answers, START_TIMEOUT_S)
        try:
            pipeline.wait_until_applied()
            # A worker says how old its numbers are from the first end of its log on.
            assert wait_until(lambda: any("as_of_age" in name for name in series(ports["worker"])), START_TIMEOUT_S)
            ask_much(ports, 0, 2)
            before = {name: series(port) for name, port in ports.items()}
            pipeline.produce(lines(KEPT, range(1, FEW)))
            pipeline.produce(lines(OVERFLOWING, range(NAMES)))
            pipeline.wait_until_applied()
            ask_much(ports, 2, PATHS)
            yield Grown(before, {name: series(port) for name, port in ports.items()}, ports)
        finally:
            gateway.stop()


@pytest.mark.parametrize("process", ["worker", "api", "gateway"])
def test_series_of_metrics_stay_bounded(grown: Grown, process: str) -> None:
    """Series are those of before; of models the first twenty have one, and the others one together."""
    new = grown.after[process].keys() - grown.before[process].keys()
    models = {one for one in new if one.startswith("callmeter_unpriced_model_calls")}
    assert len(models) <= MODELS_TOLD_MAX + 1
    assert new == models
    assert not any(name in one for one in new - models for name in ("op-name-", "user-name-", "label-name-"))
    if process == "worker":
        assert any('model="other"' in one for one in models)


def test_work_is_counted(grown: Grown) -> None:
    """Batches of the worker with their seconds, its waiting ends, and what worker and api ask of Redis."""
    before, after = grown.before, grown.after
    assert after["worker"]["callmeter_batch_seconds_count"] > before["worker"]["callmeter_batch_seconds_count"]
    assert after["worker"]["callmeter_batch_seconds_sum"] > 0
    assert [value for name, value in after["worker"].items() if name.startswith("callmeter_waiting_ends")] == [0]
    for process in ("worker", "api"):
        name = f'callmeter_redis_round_trips_total{{component="{process}"}}'
        assert after[process][name] > before[process].get(name, 0)
        assert f'callmeter_segment_reads_total{{component="{process}"}}' in after[process]


@pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no Prometheus on this machine: apt-get install prometheus"
)
def test_a_prometheus_scrapes_all_three(grown: Grown, tmp_path: Path) -> None:
    """Debian's finds each of them up, and says the counts that they say."""
    jobs = [
        {"job_name": name, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
        for name, port in grown.ports.items()
    ]
    interval = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    with prometheus(tmp_path, {"global": interval, "scrape_configs": jobs}) as address:

        def ask(query: str) -> dict[str, float]:
            answer = httpx.get(f"{address}/api/v1/query", params={"query": query}).json()
            return {one["metric"]["job"]: float(one["value"][1]) for one in answer["data"]["result"]}

        # Scraped each second: where one that answers late is not up for a moment, nothing is known of it.
        for query, expected in {
            "up": dict.fromkeys(grown.ports, 1),
            "callmeter_calls_counted_total": {"worker": NAMES + FEW},
            'sum by (job) (callmeter_http_answers_total{endpoint="other"})': {"api": PATHS + 2, "gateway": PATHS + 2},
        }.items():
            assert wait_until(lambda: ask(query) == expected, START_TIMEOUT_S), ask(query)  # noqa: B023


@pytest.mark.parametrize("process", ["worker", "api", "gateway"])
def test_each_lives_and_is_ready(grown: Grown, process: str) -> None:
    """/health and /ready of each of them say so."""
    for path in ("health", "ready"):
        answer = httpx.get(f"http://{LOOPBACK}:{grown.ports[process]}/{path}", timeout=10)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"}), path


def test_queries_beyond_a_limit_are_refused_with_it(grown: Grown) -> None:
    """A query of too many series says how many, one of more names than are kept which setting; sums are answered."""

    def ask(query: str) -> tuple[int, Any]:
        response = httpx.post(
            f"{grown.query_api}/query", data={"query": query, "time": str(time.time() + 60)}, timeout=60
        )
        return response.status_code, response.json()

    status, body = ask(f'sum by (op_name) (increase(callmeter_calls_total{{project="{KEPT}"}}[1h]))')
    assert (status, body["errorType"]) == (422, "execution")
    assert f"the query needs {FEW:,} series, more than {VIEWS_AT_ONCE_MAX:,}" in body["error"]
    status, body = ask(f'sum by (op_name) (increase(callmeter_calls_total{{project="{OVERFLOWING}"}}[1h]))')
    assert (status, body["errorType"]) == (422, "execution")
    assert "CALLMETER_LIMITS__VIEWS" in body["error"]
    for project, count in ((KEPT, FEW), (OVERFLOWING, NAMES)):
        status, body = ask(f'sum(increase(callmeter_calls_total{{project="{project}"}}[1h]))')
        assert status == 200, body
        assert [one["value"][1] for one in body["data"]["result"]] == [str(count)]


def test_lists_of_many_names(grown: Grown) -> None:
    """A drop-down has all names, or as many as it asks for and a warning; of more than are kept none, and why."""

    def ask(path: str, **asked: str) -> tuple[int, Any]:
        window = {"start": str(time.time() - 3_600), "end": str(time.time() + 60)}
        response = httpx.get(f"{grown.query_api}/{path}", params=window | asked, timeout=60)
        return response.status_code, response.json()

    calls = {"match[]": f'callmeter_calls_total{{project="{KEPT}"}}'}
    for label in ("op_name", "wb_user_id"):
        status, body = ask(f"label/{label}/values", **calls)
        assert (status, len(body["data"]), "warnings" in body) == (200, FEW, False), label
        status, body = ask(f"label/{label}/values", **calls, limit="100")
        assert (status, len(body["data"])) == (200, 100)
        assert body["warnings"] == ["results truncated due to limit"]
    status, body = ask("series", **calls, limit="40000")  # as Grafana asks
    assert (status, len(body["data"]), "warnings" in body) == (200, FEW, False)
    overflowing = {"match[]": f'callmeter_calls_total{{project="{OVERFLOWING}"}}'}
    status, body = ask("label/op_name/values", **overflowing)
    assert (status, body["errorType"]) == (422, "execution")
    assert "CALLMETER_LIMITS__VIEWS" in body["error"]
