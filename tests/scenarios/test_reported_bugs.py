"""Inputs that users of such systems reported as counted wrongly: folded from Apache Kafka, answered by hand."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.pipeline.feed import Line
from tests.pipeline.pipeline import Api, Pipeline
from tests.pipeline.reading import Arrived, read_topic
from tests.servers.kafka_server import KafkaServer
from tests.support.answers import differences
from tests.support.paths import CASES

BUGS = CASES / "bugs"
NAMES = sorted(path.name.removesuffix(".expected.json") for path in BUGS.glob("*.expected.json"))
KEEP = {f"RETENTION__{level}": "1000d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")}

Folded = tuple[Api, list[Arrived]]


def lines_of(name: str) -> list[Line]:
    """The messages of a case, in order."""
    lines = []
    for text in (BUGS / f"{name}.events.jsonl").read_text().splitlines():
        message = json.loads(text)
        if "value_base64" in message:
            value: bytes | None = base64.b64decode(message["value_base64"])
        else:
            value = None if message.get("value_null") else json.dumps(message["value"]).encode()
        lines.append(Line(message["key"], value, timestamp_ms=message.get("record_timestamp_ms")))
    return lines


@pytest.fixture(scope="module")
def folded(kafka_server: KafkaServer, redis_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folded]:
    """All cases, whose projects are their own, folded by one worker; an api over them, and the dead letters."""
    directory = tmp_path_factory.mktemp("bugs")
    with Pipeline(directory, kafka_server.bootstrap_servers, redis_server.url, KEEP) as pipeline:
        pipeline.create_topic()
        pipeline.produce([line for name in NAMES for line in lines_of(name)])
        worker = pipeline.start_worker()
        pipeline.wait_until_applied()
        assert worker.terminate() == 0
        yield pipeline.start_api(), read_topic(pipeline.bootstrap_servers, f"{pipeline.topic}.dead-letters")


@pytest.mark.parametrize("name", NAMES)
def test_answers(name: str, folded: Folded) -> None:
    """Every answer of the case is right, and as soon as it must be."""
    api, _ = folded
    requests = json.loads((BUGS / f"{name}.request.json").read_text())
    expected = json.loads((BUGS / f"{name}.expected.json").read_text())["answers"]
    assert len(requests) == len(expected)
    for asked, wanted in zip(requests, expected, strict=True):
        began_s = time.perf_counter()
        response = api.ask(asked["path"], asked["request"])
        took_s = time.perf_counter() - began_s
        if "body" in wanted:
            case = {"status": wanted["status"], "expected": wanted["body"], "path": asked["path"]}
            assert differences(case, response.status_code, response.json()) == []
        else:
            assert response.status_code in wanted["status"]
            # Stated for a quiet machine; ten times as long is no question of the machine any more.
            assert took_s < 10 * wanted["max_seconds"]


def test_dead_letters(folded: Folded) -> None:
    """The dead letters of all cases are there, each with its reason, and no others."""
    wanted = [
        letter["reason"]
        for name in NAMES
        for letter in json.loads((BUGS / f"{name}.expected.json").read_text())["dead_letters"]
    ]
    assert sorted(letter.headers["reason"] for letter in folded[1]) == sorted(wanted)
