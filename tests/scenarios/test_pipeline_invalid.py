"""What is no event ends on the dead-letter topic, whole and with its origin, and changes nothing else."""

import base64
import json
import random
from pathlib import Path
from typing import Any

from tests.pipeline.feed import Line
from tests.pipeline.golden import read_dataset
from tests.pipeline.pipeline import Pipeline
from tests.pipeline.reading import Arrived, read_topic
from tests.servers.kafka_server import KafkaServer
from tests.support.paths import CASES

PROJECT = "acme/agents"


def invalid_samples() -> list[tuple[bytes, dict[str, str]]]:
    """Values that are no events, each with the reason and the field (where one is to blame)."""
    samples = []
    for text in (CASES / "invalid_events.jsonl").read_text().splitlines():
        sample = json.loads(text)
        value = base64.b64decode(sample["value_base64"]) if "value_base64" in sample else sample["value"].encode()
        samples.append((value, {name: sample[name] for name in ("reason", "field") if name in sample}))
    return samples


def complete(call_id: str, **more: Any) -> dict[str, Any]:
    """A call of one second."""
    times = {"started_at": "2026-06-10T10:00:00Z", "ended_at": "2026-06-10T10:00:01Z"}
    return {"complete": {"project_id": PROJECT, "id": call_id, "op_name": "op", "summary": {}, **times, **more}}


def run(pipeline: Pipeline, lines: list[Line]) -> list[Arrived]:
    """Produce and fold the lines; the dead letters. The worker is alive at the end."""
    pipeline.create_topic({"max.message.bytes": "8000000"})
    pipeline.produce(lines)
    worker = pipeline.start_worker()
    pipeline.wait_until_applied()
    assert worker.terminate() == 0
    topic = pipeline.settings.get("KAFKA__DEAD_LETTER_TOPIC", f"{pipeline.topic}.dead-letters")
    return read_topic(pipeline.bootstrap_servers, topic)


def test_invalid_among_valid(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Each of the samples is a dead letter with reason, field and origin; the answers are as if it were not there."""
    dataset, samples = read_dataset("basics"), invalid_samples()
    lines = list(dataset.lines)
    rng = random.Random(3)
    for number, (value, _) in enumerate(samples):
        lines.insert(rng.randrange(len(lines)), Line(f"sample {number}", value))
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, dataset.settings) as pipeline:
        letters = {letter.key: letter for letter in run(pipeline, lines)}
        assert len(letters) == len(samples)
        origins = set()
        for number, (value, expected) in enumerate(samples):
            letter = letters[f"sample {number}".encode()]
            assert letter.value == value
            assert expected.items() <= letter.headers.items()
            assert letter.headers["message"]
            assert letter.headers["topic"] == pipeline.topic
            origins.add((int(letter.headers["partition"]), int(letter.headers["offset"])))
        sent = {(partition, offset) for partition, end in pipeline.feed.ends.items() for offset in range(end)}
        assert len(origins) == len(samples)
        assert origins <= sent
        assert pipeline.start_api().mistakes(dataset.cases) == {}
        counters = pipeline.counters()
        assert (counters["calls"], counters["dead_letters"]) == (dataset.calls, len(samples))
        assert counters["messages"] == len(lines)


def test_one_bad_element(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Good elements of a batch count; each bad one is a dead letter with its position, at its offset."""
    elements = [complete("a"), complete("b", id=7), complete("c"), {"batch": []}, complete("d")]
    line = Line("k", json.dumps({"batch": elements}).encode())
    settings = read_dataset("basics").settings | {"KAFKA__DEAD_LETTER_TOPIC": f"elsewhere-{tmp_path.name}"}
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings, partitions=1) as pipeline:
        letters = run(pipeline, [Line("k", json.dumps(complete("e")).encode()), line])
        assert [letter.value for letter in letters] == [line.value, line.value]
        told = [{name: letter.headers.get(name) for name in ("reason", "field", "position")} for letter in letters]
        assert told == [
            {"reason": "type", "field": "id", "position": "1"},
            {"reason": "shape", "field": "batch", "position": "3"},
        ]
        origins = {tuple(letter.headers[name] for name in ("topic", "partition", "offset")) for letter in letters}
        assert origins == {(pipeline.topic, "0", "1")}
        window = {"start": "2026-06-10T10:00:00Z", "end": "2026-06-10T11:00:00Z"}
        request = {"project_id": PROJECT, "call_metrics": [{"metric": "latency_ms"}], "granularity": 3600, **window}
        (row,) = pipeline.start_api().ask("/calls/stats", request).json()["call_buckets"]
        assert (row["count"], row["sum_latency_ms"]) == (4, 4_000)


def test_no_value_and_a_large_one(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A tombstone is a dead letter; so is a message of several megabytes, though topics take one by default."""
    large = json.dumps(complete("a", id=5, inputs=random.Random(1).randbytes(2_500_000).hex())).encode()
    settings = read_dataset("basics").settings
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings, partitions=1) as pipeline:
        valid = Line("k", json.dumps(complete("b")).encode())
        letters = run(pipeline, [Line("none", None), Line("large", large), valid])
        assert [(letter.key, letter.value) for letter in letters] == [(b"none", None), (b"large", large)]
        assert [letter.headers["reason"] for letter in letters] == ["json", "type"]
        assert pipeline.counters()["calls"] == 1
