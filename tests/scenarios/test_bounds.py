"""Messages as large as they come, through broker and worker to the answer: counted once, in bounded memory."""

import json
import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ingest.dead_letters import COPIES_BYTES_MAX
from ingest.decoding.pieces import PIECE_ELEMENTS_MAX
from tests.pipeline.feed import Line
from tests.pipeline.pipeline import Pipeline
from tests.pipeline.reading import read_topic
from tests.servers.kafka_server import KafkaServer

PROJECT = "acme/agents"
SETTINGS = {"NOW": "2026-06-11T00:00:00Z"} | {
    f"RETENTION__{level}": "3650d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")
}
LARGE = {"max.message.bytes": "65000000"}
BEGINNING = datetime(2026, 6, 10, 10, tzinfo=UTC)
EVENTS = 100_000
MB = 1_000_000
# Messages; the client may ask for more while it has read ahead less than it should, and is a fetch or two ahead then.
READ_AHEAD_MAX = 60_000
# 342 MB were seen: a large message is folded in pieces.
MEMORY_BYTES_MAX = 400 * MB


def complete(call_id: str, started_at: datetime = BEGINNING, **more: Any) -> dict[str, Any]:
    """A call of one second and one token, bare."""
    times = {"started_at": started_at.isoformat(), "ended_at": (started_at + timedelta(seconds=1)).isoformat()}
    summary = {"usage": {"a-model": {"prompt_tokens": 1}}}
    return {"project_id": PROJECT, "id": call_id, "op_name": "op", "summary": summary, **times, **more}


def totals(pipeline: Pipeline) -> tuple[int, int]:
    """Calls and input tokens of the day."""
    window = {"start": "2026-06-10T00:00:00Z", "end": "2026-06-11T00:00:00Z", "granularity": 86_400}
    metrics = {"call_metrics": [{"metric": "call_count"}], "usage_metrics": [{"metric": "input_tokens"}]}
    answer = pipeline.start_api().ask("/calls/stats", {"project_id": PROJECT, **window, **metrics}).json()
    return answer["call_buckets"][0]["count"], answer["usage_buckets"][0]["sum_input_tokens"]


def fold(pipeline: Pipeline, lines: list[Line]) -> dict[str, Any]:
    """Produce and fold; what the worker said at its end."""
    pipeline.create_topic(LARGE)
    pipeline.produce(lines)
    worker = pipeline.start_worker()
    pipeline.wait_until_applied()
    assert worker.terminate() == 0
    [stopped] = worker.logged("worker stopped")
    return stopped


def test_a_message_of_20_mb(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A call with inputs of 20 MB counts as any other; a message as large that is none is a dead letter, whole."""
    call = complete("large", inputs="x" * 20 * MB)
    fitting, invalid = (json.dumps({"complete": one}).encode() for one in (call, call | {"id": 7}))
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, SETTINGS, partitions=1) as pipeline:
        small = json.dumps({"complete": complete("small")}).encode()
        fold(pipeline, [Line("k", fitting), Line("k", invalid), Line("k", small)])
        assert totals(pipeline) == (2, 2)
        [letter] = read_topic(pipeline.bootstrap_servers, f"{pipeline.topic}.dead-letters")
        assert (letter.headers["reason"], letter.value) == ("type", invalid)


def test_a_batch_of_100_000_events(
    kafka_server: KafkaServer, redis_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One message of 20 MB with 100,000 calls, sent twice: each counts once, in bounded memory."""
    calls = [complete(f"call-{n:06}", BEGINNING + timedelta(seconds=n % 3_600)) for n in range(EVENTS)]
    batch = json.dumps({"batch": calls}).encode()
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, SETTINGS, partitions=1) as pipeline:
        stopped = fold(pipeline, [Line("k", batch), Line("k", batch)])
        assert totals(pipeline) == (EVENTS, EVENTS)
        counters = pipeline.counters()
        assert (counters["calls"], counters["duplicates"], counters["messages"]) == (EVENTS, EVENTS, 2)
        assert stopped["memory_high_water_bytes"] < MEMORY_BYTES_MAX
        with capsys.disabled():
            megabytes = stopped["memory_high_water_bytes"] / MB
            sys.stdout.write(f"\n{EVENTS:,} events in a message of {len(batch) / MB:.0f} MB: {megabytes:.0f} MB\n")


def test_a_batch_of_100_000_invalid_events(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """Letters carry the whole message, so their number is bounded: the rest of a piece share one for each reason."""
    elements = [*({"start": {}} for _ in range(EVENTS - 1)), {"nonsense": 1}, complete("valid")]
    batch = json.dumps({"batch": elements}).encode()
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, SETTINGS, partitions=1) as pipeline:
        fold(pipeline, [Line("k", batch)])
        assert totals(pipeline) == (1, 1)
        assert pipeline.counters()["dead_letters"] == EVENTS
        letters = read_topic(pipeline.bootstrap_servers, f"{pipeline.topic}.dead-letters")
        alone = COPIES_BYTES_MAX // len(batch)
        assert [letter.headers["position"] for letter in letters[:alone]] == [str(at) for at in range(alone)]
        *missing, shape = letters[alone:]
        assert len(missing) == EVENTS // PIECE_ELEMENTS_MAX
        told = [re.match(r"(\d+) more events; the first: ", letter.headers["message"]) for letter in missing]
        assert sum(int(one[1]) for one in told if one) == EVENTS - 1 - alone
        assert {letter.headers["reason"] for letter in missing} == {"missing"}
        assert missing[0].headers["position"] == str(alone)
        assert (shape.headers["reason"], shape.headers["position"]) == ("shape", str(EVENTS - 1))


def test_a_hot_project_beside_a_quiet_one(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A quiet partition's events do not wait for the end of another's backlog, only for what was read ahead.

    Where projects are known to be keyed, the quiet one's answers say that they are fresh while the hot one's lag.
    """
    hot, quiet = (json.dumps({"complete": complete(one) | {"project_id": one}}).encode() for one in ("hot", "quiet"))
    backlog = 150_000
    settings = {**SETTINGS, "BATCH__MESSAGES_MAX": "500", "KAFKA__KEYED_BY": "project"}
    del settings["NOW"]  # how fresh answers are is told by the broker's clock
    with Pipeline(tmp_path, kafka_server.bootstrap_servers, redis_url, settings, partitions=2) as pipeline:
        api = pipeline.start_api()

        def as_of(project_id: str) -> str:
            return api.ask("/calls/usage", {"project_id": project_id, "call_ids": []}).headers["X-Data-As-Of"]

        pipeline.create_topic({"message.timestamp.type": "LogAppendTime"})
        pipeline.produce(Line("hot", hot, 0) for _ in range(backlog))
        worker = pipeline.start_worker()
        worker.wait_until(lambda: pipeline.applied().get(0, 0) > 0, "the backlog is begun")
        sent = datetime.now(UTC)
        pipeline.produce([Line("quiet", quiet, 1)])
        sent_at = pipeline.applied()[0]
        worker.wait_until(lambda: 1 in pipeline.applied(), "the quiet project is applied")
        seen_at = pipeline.applied()[0]
        assert datetime.fromisoformat(as_of("quiet")) >= sent.replace(microsecond=sent.microsecond // 1000 * 1000)
        assert datetime.fromisoformat(as_of("hot")) < sent
        assert seen_at - sent_at < READ_AHEAD_MAX
        assert pipeline.applied()[0] < backlog
