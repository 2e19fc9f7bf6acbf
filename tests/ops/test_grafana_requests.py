"""What Grafana's Prometheus source asks, one request after the other: our answers are those of a real Prometheus.

The same calls are folded by us and counted by an exporter that a Prometheus scrapes. Both are asked the same; the two
JSON documents must have the same shape, and where both know a value, the same value.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.shard import Shard
from api.prometheus.metrics import METRICS
from api.prometheus.selection import bounds_of
from tests.ops.exporter import ExportedCall, exporting, exposition
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api
from tests.support.document_shape import shape
from tests.support.folding import KEEP_ALL, PROJECT, SHARD, T0_US, end, prices, start
from tests.support.paths import ROOT
from tests.support.prometheus_process import prometheus

START_TIMEOUT_S = 30.0
ALERTING = ROOT / "ops" / "grafana" / "provisioning" / "alerting" / "callmeter.yaml"
RATES = f'sum by (op_name) (rate(callmeter_calls_total{{project="{PROJECT}"}}[5m]))'
BUCKETS = f'callmeter_call_latency_seconds_bucket{{project="{PROJECT}"}}'
P95 = f"histogram_quantile(0.95, sum by (le) ({BUCKETS}))"

pytestmark = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no Prometheus on this machine: apt-get install prometheus"
)


class Both(NamedTuple):
    """Our api and a Prometheus that know the same, at `now_s`."""

    ours: httpx.Client
    theirs: httpx.Client
    now_s: int


def calls() -> list[ExportedCall]:
    """Sixty calls of three ops in the minutes before, a fifth of them failed and one more, so that one op has the most
    errors; no two latencies alike.
    """
    began_s = time.time() // 60 * 60 - 240
    return [
        ExportedCall(f"call-{at}", f"op-{at % 3}", began_s + at, round(0.013 * (at + 1), 3), at % 5 == 0 or at == 1)
        for at in range(60)
    ]


def fold(redis_url: str, exported: list[ExportedCall]) -> None:
    """Folds the calls through a shard."""
    shard = Shard(ShardStore(connect(redis_url), SHARD), prices(), KEEP_ALL)
    events = []
    for one in exported:
        at_s = one.started_s - T0_US / SECOND_US
        events.append(start(one.call_id, at_s, op_name=one.op_name))
        events.append(end(one.call_id, at_s + one.latency_s, failed=one.failed))
    now_us = time.time_ns() // 1_000
    shard.apply(events, len(events), now_us, now_us, {})


@pytest.fixture(scope="module")
def both(redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Yields callmeter, and a Prometheus that has scraped the exporter, with these calls in both."""
    connect(redis_server.url).flushall()
    directory = tmp_path_factory.mktemp("grafana")
    exported = calls()
    fold(redis_server.url, exported)
    [latency, *_] = METRICS["callmeter_call_latency_seconds_bucket"]
    bounds = list(zip(bounds_of(latency), [*latency.bounds, float("inf")], strict=True))
    where = {"REDIS__URL": redis_server.url, "REDIS__NAMESPACE": SHARD.namespace, "API__AUTH": "false"}
    api = Api(where, directory / "api.log")
    api.start()
    try:
        with exporting(exposition(PROJECT, exported, bounds)) as port, scraping(port, directory) as theirs:
            ours = httpx.Client(base_url=f"http://127.0.0.1:{api.port}/prometheus", timeout=30)
            yield Both(ours, theirs, known_s(theirs))
            ours.close()
    finally:
        api.stop()


def known_s(theirs: httpx.Client) -> int:
    """A second at which the Prometheus has its series: after two scrapes, and not after one that came to nothing."""
    known = "callmeter_calls_total and rate(callmeter_calls_total[5m])"
    seconds: list[int] = []

    def is_known() -> bool:
        seconds.append(int(time.time()))
        _, body = ask(theirs, "GET", "query", {"query": known, "time": str(seconds[-1])})
        return bool(body["data"]["result"])

    assert wait_until(is_known, START_TIMEOUT_S, 0.1)
    return seconds[-1]


@contextmanager
def scraping(port: int, directory: Path) -> Iterator[httpx.Client]:
    """A Prometheus that scrapes the exporter each second, under the labels that the exporter gives, and no more."""
    scrape = {
        "job_name": "calls",
        "static_configs": [{"targets": [f"127.0.0.1:{port}"]}],
        "metric_relabel_configs": [{"action": "labeldrop", "regex": "job|instance"}],
    }
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [scrape]}
    with (
        prometheus(directory, config, "--enable-feature=exemplar-storage") as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield client


def ask(client: httpx.Client, method: str, path: str, parameters: dict[str, str]) -> tuple[int, Any]:
    """Status and JSON of an answer to a GET, or to a POST of a form."""
    if method == "GET":
        response = client.get(f"/api/v1/{path}", params=parameters)
    else:
        response = client.post(f"/api/v1/{path}", data=parameters)
    return response.status_code, response.json()


def window(both: Both, **more: str) -> dict[str, str]:
    """The range of a dashboard, in which the calls are."""
    return {"start": str(both.now_s - 600), "end": str(both.now_s), **more}


# In the order in which Grafana 11 and 12 send them: saving the source, drop-downs, Explore, a panel, Drilldown.
SEQUENCE: list[tuple[str, str, dict[str, str]]] = [
    ("POST", "query", {"query": "1+1", "time": "4"}),
    ("GET", "status/buildinfo", {}),
    ("GET", "label/__name__/values", {"range": ""}),
    ("GET", "labels", {"range": ""}),
    ("POST", "labels", {"range": "", "match[]": "callmeter_calls_total"}),
    ("GET", "label/op_name/values", {"range": "", "match[]": f'callmeter_calls_total{{project="{PROJECT}"}}'}),
    ("GET", "label/project/values", {"range": ""}),
    ("GET", "metadata", {}),
    ("GET", "metadata", {"metric": "callmeter_call_latency_seconds"}),
    ("POST", "series", {"range": "", "match[]": "callmeter_calls_total"}),
    ("GET", "series", {"range": "", "match[]": f'{{__name__=~".+",project="{PROJECT}"}}'}),
    ("POST", "query", {"query": f'callmeter_calls_total{{project="{PROJECT}"}}', "time": "now"}),
    ("GET", "query", {"query": f'sum(callmeter_call_errors_total{{project="{PROJECT}"}})', "time": "now"}),
    ("POST", "query", {"query": P95, "time": "now"}),
    ("POST", "query", {"query": "vector(3)", "time": "now"}),
    ("POST", "query", {"query": '"text"', "time": "now"}),
    ("POST", "query", {"query": "callmeter_nothing_total", "time": "now"}),
    ("POST", "query_range", {"range": "", "step": "15", "query": RATES}),
    ("GET", "query_range", {"range": "", "step": "15s", "query": f"sum by (op_name) ({BUCKETS})"}),
    ("POST", "query_range", {"range": "", "step": "15", "query": "1"}),
    ("POST", "query_exemplars", {"range": "", "query": P95}),
    ("GET", "query_exemplars", {"range": "", "query": "rate(callmeter_call_errors_total[5m])"}),
    ("GET", "query_exemplars", {"range": "", "query": "callmeter_nothing_total"}),
    ("GET", "rules", {}),
    ("GET", "alerts", {}),
    # What is wrong, as Explore shows it.
    ("POST", "query", {"query": "sum(", "time": "now"}),
    ("POST", "query", {"query": "1", "time": "yesterday"}),
    ("POST", "query_range", {"range": "", "step": "0", "query": "1"}),
    ("POST", "query_range", {"start": "0", "end": "1000000", "step": "1", "query": "1"}),
    ("POST", "query_range", {"start": "10", "end": "1", "step": "1", "query": "1"}),
    ("GET", "series", {"range": ""}),
    ("POST", "query_exemplars", {"range": "", "query": "sum("}),
]


@pytest.mark.parametrize(("method", "path", "parameters"), SEQUENCE, ids=lambda one: str(one)[:60])
def test_the_same_shape(both: Both, method: str, path: str, parameters: dict[str, str]) -> None:
    """Status, envelope, kinds of results, and of errors their kind."""
    given = dict(parameters)
    if given.pop("range", None) is not None:
        given = window(both, **given)
    if given.get("time") == "now":
        given["time"] = str(both.now_s)
    (status, ours), (their_status, theirs) = (ask(one, method, path, given) for one in both[:2])
    assert status == their_status, (ours, theirs)
    if path == "metadata":
        named = set(ours["data"]) & set(theirs["data"])
        assert "callmeter_call_latency_seconds" in named
        assert {name: shape(ours["data"][name]) for name in named} == {
            name: shape(theirs["data"][name]) for name in named
        }
        return
    if path in ("rules", "alerts"):
        assert ours == theirs
        return
    assert shape(ours) == shape(theirs)
    if status != 200:
        assert ours["errorType"] == theirs["errorType"]


def expressions() -> list[str]:
    """Return what the alert rules that Grafana is given ask."""
    document = yaml.safe_load(ALERTING.read_text())
    return [rule["data"][0]["model"]["expr"] for group in document["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("expression", expressions())
def test_alert_rules_are_answered(both: Both, expression: str) -> None:
    """Grafana's own alert rules are queries that we answer, and a Prometheus too."""
    given = {"query": expression, "time": str(both.now_s)}
    (status, ours), (their_status, _) = (ask(one, "POST", "query", given) for one in both[:2])
    assert (status, their_status) == (200, 200), ours
    assert ours["data"]["result"] or "cost" in expression  # these calls cost nothing


def both_say(both: Both, query: str) -> tuple[Any, Any]:
    """The vectors of an instant query, by labels."""
    found = []
    for client in (both.ours, both.theirs):
        _, body = ask(client, "POST", "query", {"query": query, "time": str(both.now_s)})
        found.append({json.dumps(one["metric"], sort_keys=True): one["value"] for one in body["data"]["result"]})
    return found[0], found[1]


@pytest.mark.parametrize(
    "query",
    [
        f'callmeter_calls_total{{project="{PROJECT}"}}',
        "sum by (op_name) (callmeter_calls_total)",
        "sum without (op_name) (callmeter_call_errors_total)",
        'callmeter_calls_total{op_name=~"op-[01]",root!="false"} > 1',
        "topk(1, callmeter_call_errors_total)",
        "count by (project) (callmeter_calls_total)",
        "max(callmeter_calls_total) - min(callmeter_calls_total)",
        "callmeter_call_errors_total / callmeter_calls_total",
        "sum(callmeter_call_errors_total) / sum(callmeter_calls_total) * 100",
        "callmeter_calls_total == bool 20",
        "sum by (le, op_name) (callmeter_call_latency_seconds_bucket)",
        P95,
        "histogram_quantile(0.5, sum by (le, op_name) (callmeter_call_latency_seconds_bucket))",
        "sum(callmeter_call_latency_seconds_sum) / sum(callmeter_call_latency_seconds_count)",
        "clamp_min(callmeter_call_errors_total, 4)",
        "vector(scalar(sum(callmeter_calls_total)))",
    ],
)
def test_the_same_values(both: Both, query: str) -> None:
    """Series by series, label by label; numbers to the last digits of a sum."""
    ours, theirs = both_say(both, query)
    assert ours
    assert set(ours) == set(theirs)
    for labels, (at_s, value) in ours.items():
        assert at_s == theirs[labels][0]
        assert float(value) == pytest.approx(float(theirs[labels][1]), rel=1e-9), labels


def test_the_same_choices(both: Both) -> None:
    """Drop-downs offer the same ops, projects and bounds; all names that the exporter has are among ours."""
    for path in ("label/op_name/values", "label/project/values", "label/root/values"):
        given = window(both, **{"match[]": "callmeter_calls_total"})
        ours, theirs = (ask(one, "GET", path, given)[1]["data"] for one in both[:2])
        assert ours == theirs, path
    ours, theirs = (ask(one, "GET", "label/__name__/values", window(both))[1]["data"] for one in both[:2])
    assert {name for name in theirs if name.startswith("callmeter_")} <= set(ours)


def test_lists_are_cut_where_that_is_asked(both: Both) -> None:
    """A limit, as Grafana sends it to Prometheus 3, cuts the list, and the answer says so."""
    given = window(both, **{"match[]": "callmeter_calls_total", "limit": "2"})
    for path in ("label/op_name/values", "series"):
        status, body = ask(both.ours, "GET", path, given)
        assert (status, len(body["data"]), body["warnings"]) == (200, 2, ["results truncated due to limit"])
        status, body = ask(both.ours, "GET", path, given | {"limit": "3"})
        assert (status, len(body["data"]), "warnings" in body) == (200, 3, False)


def test_exemplars_are_among_the_calls(both: Both) -> None:
    """Each exemplar that the Prometheus was told of is one of ours, at the same series, with the same value."""
    given = {"query": BUCKETS, "start": str(both.now_s - 600), "end": str(both.now_s)}
    ours, theirs = (
        {
            (json.dumps(one["seriesLabels"], sort_keys=True), point["labels"]["call_id"], float(point["value"]))
            for one in ask(client, "POST", "query_exemplars", given)[1]["data"]
            for point in one["exemplars"]
        }
        for client in both[:2]
    )
    assert theirs
    assert theirs <= ours
