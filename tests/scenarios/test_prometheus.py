"""Prometheus queries over the golden datasets say what /calls/stats and /calls/breakdown say of the same windows."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from aggregator.time_units import HOUR_S
from aggregator.writing.limits import ShardLimits
from tests.pipeline.golden import read_dataset
from tests.pipeline.in_process import Batch, InProcess
from tests.support.paths import CASES

BASE = "/prometheus/api/v1"
DATASET = "filters"


@pytest.fixture(scope="module")
def folded(redis_server: Any) -> Iterator[tuple[InProcess, str, int]]:
    """The dataset in two shards, a project of it, and the hour after its last start."""
    document = json.loads((CASES / f"{DATASET}.cases.json").read_text())
    now = datetime.fromisoformat(document["now"]).astimezone(UTC)
    lines = (CASES / f"{DATASET}.events.jsonl").read_text().splitlines()
    messages = [json.loads(line) for line in lines]
    read_dataset(DATASET)
    shards: list[list[bytes]] = [[], []]
    for message in messages:
        shards[sum(message["key"].encode()) % 2].append(json.dumps(message["value"]).encode())
    starts = [begun for message in messages for begun in started(message["value"])]
    project = max({one[0] for one in starts}, key=lambda name: sum(one[0] == name for one in starts))
    last_s = max(
        datetime.fromisoformat(at).timestamp() for name, at in starts if name == project and isinstance(at, str)
    )
    with InProcess(redis_server.url, now) as product:
        product.fold([[Batch(values, False)] for values in shards], ShardLimits())
        yield product, project, (int(last_s) // HOUR_S + 1) * HOUR_S


def started(value: Any) -> list[tuple[str, Any]]:
    """Project and start of each call that an event starts."""
    if "batch" in value:
        return [one for element in value["batch"] for one in started(element)]
    inner = value.get("req", value)
    call = (
        inner.get("start") or inner.get("complete") or (inner if "started_at" in inner and "op_name" in inner else None)
    )
    return [(call["project_id"], call["started_at"])] if call else []


def instant(product: InProcess, query: str, at_s: int) -> dict[tuple[tuple[str, str], ...], float]:
    """The vector of an instant query, by labels."""
    status, body = product.get(f"{BASE}/query", [("query", query), ("time", str(at_s))])
    assert status == 200, body
    return {tuple(sorted(one["metric"].items())): float(one["value"][1]) for one in body["data"]["result"]}


def stats(product: InProcess, project: str, end_s: int, hours: int, **asked: Any) -> Any:
    """The answer of /calls/stats for the hours before an instant, in one bucket each."""
    times = [datetime.fromtimestamp(at, UTC).isoformat() for at in (end_s - hours * HOUR_S, end_s)]
    request = {"project_id": project, "start": times[0], "end": times[1], "granularity": HOUR_S, **asked}
    [(status, body)] = product.ask([("/calls/stats", request)])
    assert status == 200, body
    return body


def test_rates_over_a_range_equal_stats(folded: tuple[InProcess, str, int]) -> None:
    """Calls, errors and latencies of each of two days' hours are those of the buckets."""
    product, project, end_s = folded
    hours = 48
    metrics = [
        {"metric": "call_count"},
        {"metric": "error_count"},
        {"metric": "latency_ms", "aggregations": ["sum", "count"]},
    ]
    buckets = stats(product, project, end_s, hours, call_metrics=metrics)["call_buckets"]
    assert sum(row["sum_call_count"] for row in buckets) > 100
    queries = {
        "callmeter_calls_total": [row["sum_call_count"] for row in buckets],
        "callmeter_call_errors_total": [row["sum_error_count"] for row in buckets],
        "callmeter_call_latency_seconds_sum": [row["sum_latency_ms"] / 1000 for row in buckets],
        "callmeter_call_latency_seconds_count": [row["count_latency_ms"] for row in buckets],
        'callmeter_call_latency_seconds_bucket{le="+Inf"}': [row["count_latency_ms"] for row in buckets],
    }
    for metric, expected in queries.items():
        name, _, rest = metric.partition("{")
        query = f'sum(increase({name}{{project="{project}"{"," + rest if rest else "}"}[1h]))'
        span = [("start", str(end_s - (hours - 1) * HOUR_S)), ("end", str(end_s)), ("step", "1h")]
        for as_form in (False, True):
            status, body = product.get(f"{BASE}/query_range", [("query", query), *span], as_form)
            assert status == 200, body
            [found] = body["data"]["result"]
            assert [float(value) for _, value in found["values"]] == pytest.approx(expected), metric


@pytest.mark.parametrize("dimension", ["op_name", "wb_user_id", "wb_run_id", "model"])
def test_sums_by_a_label_equal_the_breakdown(folded: tuple[InProcess, str, int], dimension: str) -> None:
    """Sums by op, user, run (those without one are the series without the label) and model equal the breakdown."""
    product, project, end_s = folded
    hours = 72
    times = [datetime.fromtimestamp(at, UTC).isoformat() for at in (end_s - hours * HOUR_S, end_s)]
    request: dict[str, Any] = {
        "project_id": project,
        "start": times[0],
        "end": times[1],
        "dimension": dimension,
        "limit": 1000,
    }
    if dimension == "model":
        request["usage_metrics"] = [{"metric": "output_tokens"}]
        query, key = (
            f'sum by (model) (increase(callmeter_tokens_total{{project="{project}",type="output"}}[{hours}h]))',
            "sum_output_tokens",
        )
    else:
        request["call_metrics"] = [{"metric": "call_count"}]
        query, key = (
            f'sum by ({dimension}) (increase(callmeter_calls_total{{project="{project}"}}[{hours}h]))',
            "sum_call_count",
        )
    [(status, body)] = product.ask([("/calls/breakdown", request)])
    assert status == 200, body
    expected = {row["value"] or "": row[key] for row in body["rows"] if row[key]}
    found = {dict(labels).get(dimension, ""): value for labels, value in instant(product, query, end_s).items()}
    assert len(expected) > 1
    assert found == pytest.approx(expected)


def test_all_labels_add_up_to_the_whole(folded: tuple[InProcess, str, int]) -> None:
    """Every combination of labels, each call in one of them, and filters on two labels as /calls/stats filters."""
    product, project, end_s = folded
    whole = f'callmeter_calls_total{{project="{project}"}}[96h]'
    series = instant(product, f"increase({whole})", end_s)
    assert len(series) > 5
    assert sum(series.values()) == instant(product, f"sum(increase({whole}))", end_s)[()]
    labels, _ = max(series.items(), key=lambda one: (len(one[0]), one[1]))
    values = dict(labels)
    if {"op_name", "wb_user_id"} <= set(values):
        filters = {"op_names": [values["op_name"]], "wb_user_ids": [values["wb_user_id"]]}
        asked = stats(product, project, end_s, 96, call_metrics=[{"metric": "call_count"}], filter=filters)
        matchers = f'op_name="{values["op_name"]}",wb_user_id="{values["wb_user_id"]}"'
        query = f'sum(increase(callmeter_calls_total{{project="{project}",{matchers}}}[96h]))'
        assert instant(product, query, end_s)[()] == sum(row["sum_call_count"] for row in asked["call_buckets"])


def test_what_grafana_asks(folded: tuple[InProcess, str, int]) -> None:
    """The health check, drop-downs, the drill-down's selector, exemplars, and errors in Prometheus' own form."""
    product, project, end_s = folded
    window = [("start", str(end_s - 72 * HOUR_S)), ("end", str(end_s))]
    assert product.get(f"{BASE}/query", [("query", "1+1"), ("time", "4")]) == (
        200,
        {"status": "success", "data": {"resultType": "scalar", "result": [4.0, "2"]}},
    )
    _, names = product.get(f"{BASE}/label/__name__/values", window)
    assert "callmeter_calls_total" in names["data"]
    _, projects = product.get(f"{BASE}/label/project/values", window)
    assert project in projects["data"]
    selector = ("match[]", f'callmeter_calls_total{{project="{project}"}}')
    _, ops = product.get(f"{BASE}/label/op_name/values", [*window, selector])
    _, series = product.get(f"{BASE}/series", [*window, selector])
    assert set(ops["data"]) == {one["op_name"] for one in series["data"]}
    _, labels = product.get(f"{BASE}/labels", window)
    assert {"__name__", "le", "model", "op_name", "project", "root", "type", "wb_run_id", "wb_user_id"} <= set(
        labels["data"]
    )
    _, all_of_them = product.get(f"{BASE}/series", [*window, ("match[]", f'{{__name__=~".+",project="{project}"}}')])
    assert all_of_them["status"] == "success", all_of_them
    for path in ("metadata", "status/buildinfo", "rules", "alerts"):
        assert product.get(f"{BASE}/{path}", window)[0] == 200
    status, refused = product.get(f"{BASE}/query", [("query", "deriv(callmeter_calls_total[5m])")])
    assert (status, refused["errorType"]) == (400, "bad_data")
    assert "deriv" in refused["error"]


def exemplars(product: InProcess, query: str, end_s: int) -> list[tuple[dict[str, str], Any]]:
    """The points of a query's exemplars in the 72 hours before, each with the labels of its series."""
    window = [("query", query), ("start", str(end_s - 72 * HOUR_S)), ("end", str(end_s))]
    status, body = product.get(f"{BASE}/query_exemplars", window)
    assert status == 200, body
    return [(one["seriesLabels"], point) for one in body["data"] for point in one["exemplars"]]


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        ("callmeter_call_errors_total", "failing"),
        ("callmeter_call_latency_seconds_bucket", "slowest"),
        ("callmeter_calls_total", "newest"),
    ],
)
def test_exemplars_are_the_examples(folded: tuple[InProcess, str, int], metric: str, kind: str) -> None:
    """Call by call those of /calls/examples, with the labels of their series, by op too."""
    product, project, end_s = folded
    times = [datetime.fromtimestamp(at, UTC).isoformat() for at in (end_s - 72 * HOUR_S, end_s)]
    request = {"project_id": project, "start": times[0], "end": times[1], "kind": kind, "limit": 100}
    [(status, body)] = product.ask([("/calls/examples", request)])
    assert status == 200, body
    assert body["calls"]
    found = exemplars(product, f'sum by (op_name) (rate({metric}{{project="{project}"}}[5m]))', end_s)
    by_id = {point["labels"]["call_id"]: (labels, point) for labels, point in found}
    assert set(by_id) == {call["id"] for call in body["calls"]}
    for call in body["calls"]:
        labels, point = by_id[call["id"]]
        assert point["labels"]["trace_id"] == call["trace_id"]
        assert labels["op_name"] == call["op_name"]
        assert labels.get("wb_user_id") == call["wb_user_id"]
        assert point["timestamp"] == pytest.approx(datetime.fromisoformat(call["started_at"]).timestamp())
        if kind == "slowest":
            assert round(float(point["value"]) * 1000, 6) == call["latency_ms"]
            assert float(labels["le"]) >= float(point["value"])
    op_name = body["calls"][0]["op_name"]
    only = exemplars(product, f'rate({metric}{{project="{project}",op_name=~"{op_name}|none"}}[5m])', end_s)
    assert {labels["op_name"] for labels, _ in only} == {op_name}
    others = exemplars(product, f'rate({metric}{{project="{project}",op_name!="{op_name}"}}[5m])', end_s)
    assert op_name not in {labels["op_name"] for labels, _ in others}


def test_exemplars_of_cost_by_model(folded: tuple[InProcess, str, int]) -> None:
    """The dearest calls, each under its model, no more than the limit, and none of another project's window."""
    product, project, end_s = folded
    found = exemplars(product, f'callmeter_cost_usd_total{{project="{project}"}}', end_s)
    times = [datetime.fromtimestamp(at, UTC).isoformat() for at in (end_s - 72 * HOUR_S, end_s)]
    request = {"project_id": project, "start": times[0], "end": times[1], "kind": "dearest", "limit": 100}
    [(_, body)] = product.ask([("/calls/examples", request)])
    cost = {call["id"]: call["cost"] for call in body["calls"]}
    assert cost
    assert len(found) <= 100
    summed: dict[str, float] = {}
    for labels, point in found:
        assert labels["model"]
        call_id = point["labels"]["call_id"]
        summed[call_id] = summed.get(call_id, 0.0) + float(point["value"])
    assert summed == pytest.approx({call_id: cost[call_id] for call_id in summed})


def test_exemplars_that_are_refused(folded: tuple[InProcess, str, int]) -> None:
    """A query that cannot be read, and one that means more than a limit, in Prometheus' own form."""
    product, _, end_s = folded
    some = "(" + " + ".join(["callmeter_calls_total"] * 15) + ")"
    many = f"{some} + {some} + {some}"
    for query, status, kind, why in (
        ("", 400, "bad_data", "missing"),
        ("a{", 400, "bad_data", "query"),
        (many, 422, "execution", "more than 40"),
    ):
        found, body = product.get(f"{BASE}/query_exemplars", [("query", query), ("end", str(end_s))])
        assert (found, body["status"], body["errorType"]) == (status, "error", kind)
        assert why in body["error"]
