"""Queries that were written for OpenTelemetry's gen_ai metrics run here, and say what /calls/breakdown says."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from aggregator.writing.limits import ShardLimits
from tests.pipeline.in_process import Batch, InProcess

BASE = "/prometheus/api/v1"
PROJECT = "acme/agents"
NOW = datetime(2026, 6, 10, 12, tzinfo=UTC)
# Op, models with their output tokens, seconds; of ops whose operation is known and of others, one without a model.
CALLS: list[tuple[str, dict[str, int], float]] = [
    ("weave:///acme/agents/op/openai.chat.completions.create:v1", {"gpt-4o": 10}, 1.0),
    ("weave:///acme/agents/op/openai.chat.completions.create:v1", {"gpt-4o": 20}, 3.0),
    ("chat claude-3-5-sonnet-20241022", {"claude-3-5-sonnet-20241022": 40}, 2.0),
    ("embeddings text-embedding-ada-002", {"text-embedding-ada-002": 0}, 0.1),
    ("agent", {"gpt-4o": 80, "house-1": 160}, 9.0),
    ("tool", {}, 0.5),
]


@pytest.fixture(scope="module")
def product(redis_server: Any) -> Iterator[InProcess]:
    """The calls, folded; users alternate."""
    values = []
    for at, (op_name, models, took_s) in enumerate(CALLS):
        began = NOW - timedelta(minutes=30 - at)
        usage = {model: {"input_tokens": 5, "output_tokens": tokens} for model, tokens in models.items()}
        call: dict[str, Any] = {
            "project_id": PROJECT,
            "id": f"call-{at}",
            "trace_id": f"trace-{at}",
            "op_name": op_name,
        }
        call |= {"started_at": began.isoformat(), "ended_at": (began + timedelta(seconds=took_s)).isoformat()}
        call |= {"summary": {"usage": usage}} | ({"wb_user_id": "ann"} if at % 2 else {})
        values.append(json.dumps({"complete": call}).encode())
    with InProcess(redis_server.url, NOW) as started:
        started.fold([[Batch(values, False)]], ShardLimits())
        yield started


# What stands for itself in the queries below.
NAMES = {
    "COUNT": '"gen_ai.client.operation.duration_count"',
    "OUTPUT": '"gen_ai.client.token.usage_sum","gen_ai.token.type"="output"',
}


def ask(product: InProcess, query: str) -> dict[tuple[str, ...], float]:
    """The vector of a query, by the values of its labels in the order of their names."""
    for name, text in NAMES.items():
        query = query.replace(name, text)
    status, body = product.get(f"{BASE}/query", [("query", query), ("time", str(NOW.timestamp()))])
    assert status == 200, body
    return {
        tuple(value for _, value in sorted(one["metric"].items())): float(one["value"][1])
        for one in body["data"]["result"]
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (
            'sum by ("gen_ai.request.model") (increase({OUTPUT}[1h]))',
            {("gpt-4o",): 110, ("claude-3-5-sonnet-20241022",): 40, ("house-1",): 160},
        ),
        (
            'sum by ("gen_ai.operation.name") (increase({OUTPUT}[1h]))',
            {("chat",): 70, (): 240},
        ),
        ('sum(increase({"gen_ai.client.token.usage_sum","gen_ai.operation.name"="chat"}[1h]))', {(): 85}),
        (
            'sum by ("gen_ai.provider.name") (increase({COUNT,"gen_ai.provider.name"!=""}[1h]))',
            {("openai",): 4, ("anthropic",): 1},
        ),
        ('sum(increase({COUNT,"gen_ai.provider.name"=""}[1h]))', {(): 1}),
        ('sum(increase({COUNT,"gen_ai.system"=~"openai|anthropic"}[1h]))', {(): 5}),
        ("sum(increase({COUNT}[1h]))", {(): 6}),
        (
            'sum(increase({COUNT,"gen_ai.operation.name"!~"chat|embeddings"}[1h]))',
            {(): 2},
        ),
        ('sum(increase({COUNT,"server.address"=""}[1h]))', {(): 6}),
        ('sum(increase({COUNT,"server.address"!=""}[1h]))', {}),
        (
            'sum by ("gen_ai.response.model") (rate({"gen_ai.client.operation.duration_sum"}[1h]))'
            ' / sum by ("gen_ai.response.model") (rate({COUNT}[1h]))',
            {
                ("gpt-4o",): 13 / 3,
                ("claude-3-5-sonnet-20241022",): 2,
                ("house-1",): 9,
                ("text-embedding-ada-002",): 0.1,
            },
        ),
        (
            'sum by (le) (increase({"gen_ai.client.operation.duration_seconds_bucket","gen_ai.request.model"="gpt-4o",'
            'le=~"0.64|1.28|5.12|.Inf"}[1h]))',
            {("0.64",): 0, ("1.28",): 1, ("5.12",): 2, ("+Inf",): 3},
        ),
        (
            'sum by (wb_user_id, "gen_ai.request.model") (increase({COUNT}[1h]))',
            {
                ("gpt-4o",): 2,
                ("gpt-4o", "ann"): 1,
                ("claude-3-5-sonnet-20241022",): 1,
                ("text-embedding-ada-002", "ann"): 1,
                ("house-1",): 1,
            },
        ),
    ],
)
def test_queries_by_gen_ai_labels(product: InProcess, query: str, expected: dict[tuple[str, ...], float]) -> None:
    """Sums by model, provider and operation; a label that is not known is absent, and matches as the empty one."""
    assert ask(product, query) == pytest.approx(expected)


def test_calls_of_models_are_those_of_the_breakdown(product: InProcess) -> None:
    """A call counts once for each model that it used, as in `/calls/breakdown`."""
    request = {"project_id": PROJECT, "start": "-1h", "end": "now", "dimension": "model", "limit": 100}
    [(_, body)] = product.ask([("/calls/breakdown", request)])
    found = ask(product, 'sum by ("gen_ai.request.model") (increase({COUNT}[1h]))')
    assert found == {(row["value"],): row["count"] for row in body["rows"]}


def test_lists_and_exemplars(product: InProcess) -> None:
    """Drop-downs have the values that are there, and exemplars the labels of their series."""
    window = [("start", str(NOW.timestamp() - 3_600)), ("end", str(NOW.timestamp()))]
    values = {
        "gen_ai.request.model": ["claude-3-5-sonnet-20241022", "gpt-4o", "house-1", "text-embedding-ada-002"],
        "gen_ai.provider.name": ["anthropic", "openai"],
        "gen_ai.operation.name": ["chat", "embeddings"],
        "gen_ai.token.type": ["input", "output"],
    }
    for label, expected in values.items():
        _, body = product.get(f"{BASE}/label/{label}/values", window)
        assert body["data"] == expected, label
    _, names = product.get(f"{BASE}/labels", window)
    assert set(values) <= set(names["data"])
    query = ("query", '{"gen_ai.client.operation.duration_bucket","gen_ai.operation.name"="embeddings"}')
    _, body = product.get(f"{BASE}/query_exemplars", [query, *window])
    [series] = body["data"]
    assert series["seriesLabels"]["gen_ai.request.model"] == "text-embedding-ada-002"
    assert [one["labels"]["call_id"] for one in series["exemplars"]] == ["call-3"]
    _, body = product.get(f"{BASE}/series", [("match[]", '{"gen_ai.client.token.usage_count"}'), *window])
    assert len(body["data"]) == 2 * 6
    assert sum("gen_ai.provider.name" not in one for one in body["data"]) == 2 * 1
