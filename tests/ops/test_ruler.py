"""Rules are evaluated against our Prometheus API, by promtool and by a ruler: all agree with `/calls/stats`."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import yaml

from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import HOUR_S, MINUTE_S, SECOND_US
from aggregator.writing.shard import Shard
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api
from tests.support.access_keys import SHOWN, basic
from tests.support.folding import KEEP_ALL, PROJECT, SHARD, T0_US, complete, prices, tokens
from tests.support.paths import ROOT
from tests.support.prometheus_process import START_TIMEOUT_S, prometheus, running

RULES = ROOT / "ops" / "prometheus" / "calls.rules.yaml"
VMALERT = ROOT / ".servers" / "vmalert" / "vmalert"
MODEL = "gpt-4o"  # has a price in the tests' price file
OPS = ("op-0", "op-1", "op-2")
FAILING = "op-2"

pytestmark = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="no Prometheus on this machine: apt-get install prometheus",
)

Vector = dict[tuple[tuple[str, str], ...], float]
"""Values by labels."""


class Answering(NamedTuple):
    """An api with an access key, over calls of the last hour; `hour_s` is the minute at which that ends."""

    api: Api
    hour_s: int
    stated: dict[str, Vector]


@pytest.fixture(scope="module")
def answering(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answering]:
    """Ninety calls between 50 and 20 minutes ago, of three ops, the last of which fails in every second call."""
    connect(redis_server.url).flushall()
    directory = tmp_path_factory.mktemp("ruler")
    hour_s = int(time.time()) // MINUTE_S * MINUTE_S
    shard = Shard(ShardStore(connect(redis_server.url), SHARD), prices(), KEEP_ALL)
    events = []
    for at in range(90):
        began_s = hour_s - 3_000 + 20 * at - T0_US / SECOND_US
        op_name, usage = OPS[at % 3], {MODEL: tokens(100 + at, at)}
        event = complete(f"call-{at}", began_s, began_s + 0.01 * (at + 1), usage, op_name=op_name)
        assert event.end is not None
        end = msgspec.structs.replace(event.end, failed=op_name == FAILING and at % 2 == 0)
        events.append(msgspec.structs.replace(event, end=end))
    now_us = time.time_ns() // 1_000
    shard.apply(events, len(events), now_us, now_us, {})
    keys = f"{SHOWN} grafana read {PROJECT}"
    api = Api(
        {"REDIS__URL": redis_server.url, "REDIS__NAMESPACE": SHARD.namespace, "KEYS": keys}, directory / "api.log"
    )
    api.start()
    try:
        yield Answering(api, hour_s, stated(api, hour_s))
    finally:
        api.stop()


def stated(api: Api, hour_s: int) -> dict[str, Vector]:
    """Returns what each recording rule has to say of that hour, by the answers of `/calls/stats`."""
    found: dict[str, Vector] = {name: {} for name in recording_rules()}
    counted = ["call_count", "error_count"]
    for op_name in OPS:
        metrics: list[Any] = [{"metric": one} for one in counted]
        metrics += [{"metric": "latency_ms", "aggregations": ["sum", "count"]}]
        sums = summed(api, hour_s, "call_buckets", call_metrics=metrics, filter={"op_names": [op_name]})
        labels = (("op_name", op_name), ("project", PROJECT))
        found["op:callmeter_calls:increase1h"][labels] = sums["sum_call_count"]
        # An op without errors has no series of them, and so no share.
        if sums["sum_error_count"]:
            share = sums["sum_error_count"] / sums["sum_call_count"]
            found["op:callmeter_call_errors:ratio1h"][labels] = share
        mean_s = sums["sum_latency_ms"] / sums["count_latency_ms"] / 1_000
        found["op:callmeter_call_latency_seconds:avg1h"][labels] = mean_s
    usage = [{"metric": one} for one in ("input_tokens", "output_tokens", "total_cost")]
    sums = summed(api, hour_s, "usage_buckets", usage_metrics=usage)
    for kind in ("input", "output"):
        typed = (("model", MODEL), ("project", PROJECT), ("type", kind))
        found["model:callmeter_tokens:increase1h"][typed] = sums[f"sum_{kind}_tokens"]
    found["model:callmeter_cost_usd:increase1h"][("model", MODEL), ("project", PROJECT)] = sums["sum_total_cost"]
    return found


def summed(api: Api, hour_s: int, part: str, **asked: Any) -> dict[str, float]:
    """The sums of all rows of an answer, by name."""
    begin, end = (datetime.fromtimestamp(at_s, UTC).isoformat() for at_s in (hour_s - HOUR_S, hour_s))
    request = {"project_id": PROJECT, "start": begin, "end": end, "granularity": 300, **asked}
    address = f"http://{LOOPBACK}:{api.port}/calls/stats"
    rows = httpx.post(address, json=request, headers={"authorization": basic(SHOWN)}).raise_for_status().json()[part]
    names = {name for row in rows for name, value in row.items() if name.startswith(("sum_", "count_"))}
    return {name: sum(row[name] or 0 for row in rows) for name in names}


def recording_rules() -> dict[str, str]:
    """Names and expressions."""
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["record"]: rule["expr"] for rule in group["rules"] if "record" in rule}


def promtool(*arguments: str) -> str:
    """Returns what promtool printed; its failure is the test's."""
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def as_vector(rows: Any) -> Vector:
    """The result of an instant query, without names."""
    return {
        tuple(sorted((name, value) for name, value in row["metric"].items() if name != "__name__")): float(
            row["value"][1]
        )
        for row in rows
    }


def assert_agrees(found: Vector, expected: Vector) -> None:
    """Both have the same series, and the same values to the last digits of a sum."""
    assert set(found) == set(expected)
    for labels, value in expected.items():
        assert found[labels] == pytest.approx(value, rel=1e-9), labels


def test_promtool_with_a_key(answering: Answering) -> None:
    """Each expression by instant and by range; labels and series; and not without the key."""
    promtool("check", "rules", str(RULES))
    address = f"http://api:{SHOWN}@{LOOPBACK}:{answering.api.port}/prometheus"
    for name, expression in recording_rules().items():
        at = f"--time={answering.hour_s}"
        told = json.loads(promtool("query", "instant", at, "-o", "json", address, expression))
        assert_agrees(as_vector(told), answering.stated[name])
        span = (f"--start={answering.hour_s - 60}", f"--end={answering.hour_s}", "--step=1m")
        rows = json.loads(promtool("query", "range", *span, "-o", "json", address, expression))
        assert_agrees(as_vector([row | {"value": row["values"][-1]} for row in rows]), answering.stated[name])
    assert promtool("query", "labels", address, "op_name").split() == list(OPS)
    listed = promtool("query", "series", f"--match=callmeter_calls_total{{project='{PROJECT}'}}", address)
    assert all(f'op_name="{op_name}"' in listed for op_name in OPS)
    refused = subprocess.run(
        ["promtool", "query", "instant", address.replace(SHOWN, "cm_no_key"), "1"], capture_output=True, check=False
    )
    assert refused.returncode != 0


@pytest.mark.skipif(not VMALERT.exists(), reason="`make ruler` builds vmalert")
def test_a_ruler_over_our_api(answering: Answering, tmp_path: Path) -> None:
    """vmalert evaluates the rules against us and writes to a Prometheus, which then says what `/calls/stats` says."""
    with (
        prometheus(tmp_path, {}, "--web.enable-remote-write-receiver") as recorded,
        ruler(answering.api, recorded, tmp_path) as alerts,
    ):

        def query(expression: str) -> Vector:
            answer = httpx.get(f"{recorded}/api/v1/query", params={"query": expression})
            return as_vector(answer.json()["data"]["result"])

        def are_there(name: str, expected: Vector) -> bool:
            return query(name).keys() >= expected.keys()  # they are written one after the other

        for name, expected in answering.stated.items():
            assert wait_until(partial(are_there, name, expected), START_TIMEOUT_S), (tmp_path / "ruler.log").read_text()
            assert_agrees(query(name), expected)
        assert wait_until(lambda: bool(alerts()), START_TIMEOUT_S)
        [fired] = alerts()
        assert fired["labels"] == {
            "alertname": "OpFails",
            "alertgroup": "callmeter-calls",
            "op_name": FAILING,
            "project": PROJECT,
            "severity": "page",
        }
        assert float(fired["value"]) == pytest.approx(0.5)
        assert fired["annotations"]["summary"] == f"{FAILING} of {PROJECT} fails in 50% of its calls"


@contextmanager
def ruler(api: Api, recorded: str, tmp_path: Path) -> Iterator[Any]:
    """vmalert, evaluating each second; gives what fires by it."""
    port = free_loopback_port()
    rules = RULES.read_text().replace("interval: 1m", "interval: 1s")
    assert rules != RULES.read_text()
    (tmp_path / "calls.rules.yaml").write_text(rules)
    (tmp_path / "key").write_text(SHOWN)
    command = [str(VMALERT), f"-rule={tmp_path}/calls.rules.yaml", f"-httpListenAddr={LOOPBACK}:{port}"]
    command += [f"-datasource.url=http://{LOOPBACK}:{api.port}/prometheus", "-datasource.basicAuth.username=api"]
    command += [f"-datasource.basicAuth.passwordFile={tmp_path}/key", "-notifier.blackhole", "-rule.evalDelay=0s"]
    command += [f"-remoteWrite.url={recorded}", "-remoteWrite.flushInterval=200ms", "-remoteWrite.concurrency=1"]

    def alerts() -> Any:
        return httpx.get(f"http://{LOOPBACK}:{port}/api/v1/alerts").json()["data"]["alerts"]

    with running(command, tmp_path / "ruler.log", f"http://{LOOPBACK}:{port}/health"):
        yield alerts
