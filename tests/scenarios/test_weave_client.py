"""Weave's own clients, unchanged, ask our api over a real Redis and get the golden answers in their own types."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aggregator.layout.keys import ShardName
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.prices.file import load_price_file
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.writing.shard import Shard
from callmeter.local.loopback_port import LOOPBACK, free_loopback_port
from callmeter.settings import Settings
from callmeter.settings_reading import read_settings
from ingest.decoding.batch import decode_batch
from tests.pipeline.feed import Line
from tests.pipeline.golden import read_dataset
from tests.pipeline.program import START_TIMEOUT_S, Program
from tests.servers.clustered import with_cluster
from tests.servers.redis_server import RedisServer
from tests.support.answers import differences
from tests.support.paths import ROOT

DATASETS = ["basics", "costs", "filters", "usage_trees"]
CLIENTS = ["Client", "AsyncClient", "RemoteHTTPTraceServer"]
ANSWER_TYPES = {"/calls/stats": "CallStatsResponse", "/calls/usage": "CallUsageResponse"}
ERROR_TYPES = {422: "UnprocessableEntityError", 413: "APIStatusError"}
PROJECTS = ["acme/agents", "acme/none", "other/team"]
ASK_TIMEOUT_S = 120


class ServedDataset(NamedTuple):
    """A golden dataset behind an api of its own. `key` reads PROJECTS, all that the cases ask about."""

    cases: list[dict[str, Any]]
    url: str
    key: str


@pytest.fixture(scope="module", params=DATASETS)
def dataset(
    request: pytest.FixtureRequest, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedDataset]:
    """The dataset folded into Redis under its own namespace, a key made by the command line, and an api running."""
    golden = read_dataset(request.param)
    port = free_loopback_port()
    settings = golden.settings | {
        "REDIS__URL": redis_server.url,
        "REDIS__NAMESPACE": f"weave-client-{request.param}",
        "API__HOST": LOOPBACK,
        "API__PORT": str(port),
    }
    environment = {f"CALLMETER_{name}": value for name, value in with_cluster(settings).items()}
    fold(golden.lines, read_settings(environment))
    projects = [word for project in PROJECTS for word in ("--project", project)]
    create_key = [sys.executable, "-m", "callmeter", "keys", "create", "--name", "weave", *projects]
    key = subprocess.run(create_key, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    api = Program("api", settings, tmp_path_factory.mktemp("api") / "api.log")
    url = f"http://{LOOPBACK}:{port}"
    api.start(lambda: is_ready(url), START_TIMEOUT_S)
    yield ServedDataset(golden.cases, url, key)
    api.stop()


def fold(lines: list[Line], settings: Settings) -> None:
    """The lines as messages of one partition, applied as one batch."""
    now_us, retention = settings.now_us(), settings.retention.kept()
    assert now_us is not None
    assert settings.prices_file is not None
    values = [line.value for line in lines]
    batch = decode_batch(values, [now_us] * len(values), retention.calls_s * 1_000_000)
    prices = PriceBook(load_price_file(settings.prices_file), PriceCatalogue())
    with connect(settings.redis.url) as client:
        shard = Shard(ShardStore(client, ShardName(settings.redis.namespace, "calls", 0)), prices, retention)
        shard.apply(batch.events, len(values), now_us, now_us, {})


def is_ready(url: str) -> bool:
    """Whether the api answers and reaches Redis."""
    try:
        with urllib.request.urlopen(f"{url}/ready", timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def ask(url: str, questions: list[dict[str, Any]], home: Path) -> list[dict[str, Any]]:
    """Returns what becomes of each `{"client", "key", "path", "request"}`: `{"type", "status", "answer"}`."""
    asked = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.weave_client"],
        input=json.dumps({"url": url, "questions": questions}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        # Nothing of who runs the tests: no proxy, no login, no settings; and no reports to weave's makers.
        env={"PATH": os.environ["PATH"], "HOME": str(home), "WANDB_ERROR_REPORTING": "false"},
        timeout=ASK_TIMEOUT_S,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr
    replies: list[dict[str, Any]] = json.loads(asked.stdout)
    return replies


def can_be_sent(case: dict[str, Any]) -> bool:
    """Whether the clients' methods have arguments for all of this request: malformed ones cannot be made with them."""
    request = case.get("request", {})
    return "project_id" in request and "surprise" not in request


def test_golden_answers_in_the_clients_types(dataset: ServedDataset, tmp_path: Path) -> None:
    """Each golden request that the clients can make gives the golden answer in their type, or their error."""
    asked = [(client, case) for client in CLIENTS for case in dataset.cases if can_be_sent(case)]
    questions = [
        {"client": client, "key": dataset.key, "path": case["path"], "request": case["request"]}
        for client, case in asked
    ]
    replies = ask(dataset.url, questions, tmp_path)
    for (client, case), reply in zip(asked, replies, strict=True):
        wanted_type = ANSWER_TYPES[case["path"]] if case["status"] == 200 else ERROR_TYPES[case["status"]]
        assert reply["type"] == wanted_type, (client, case["name"])
        assert differences(case, reply["status"], reply["answer"]) == [], (client, case["name"])


@pytest.mark.parametrize("dataset", ["usage_trees"], indirect=True)
def test_refused_keys(dataset: ServedDataset, tmp_path: Path) -> None:
    """A wrong key is an AuthenticationError, a project that the key does not read a PermissionDeniedError."""
    requests: list[tuple[str, dict[str, Any]]] = [
        ("/calls/stats", {"start": "2026-06-10T00:00:00Z", "call_metrics": [{"metric": "call_count"}]}),
        ("/calls/usage", {"call_ids": ["deep-0"]}),
    ]
    refusals = [
        (dataset.key + "x", "acme/agents", "AuthenticationError", 401),
        (dataset.key, "acme/secrets", "PermissionDeniedError", 403),
    ]
    asked = [(client, *refusal, *request) for client in CLIENTS for refusal in refusals for request in requests]
    questions = [
        {"client": client, "key": key, "path": path, "request": {"project_id": project, **request}}
        for client, key, project, _, _, path, request in asked
    ]
    replies = ask(dataset.url, questions, tmp_path)
    wanted = [(type_, status) for _, _, _, type_, status, _, _ in asked]
    assert [(reply["type"], reply["status"]) for reply in replies] == wanted
