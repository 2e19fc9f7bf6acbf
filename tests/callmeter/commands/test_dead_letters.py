"""`callmeter dead-letters` against real servers: what is listed and shown, and what sending again counts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.dead_letter_reading import stored_dead_letter
from ingest.kafka.message import Message
from ingest.kafka.producer import EventProducer
from ingest.kafka.watermarks import watermarks
from tests.pipeline.feed import Line
from tests.pipeline.operator import operate
from tests.pipeline.pipeline import Pipeline
from tests.pipeline.reading import read_topic
from tests.servers.kafka_server import create_topic

PROJECT = "acme/agents"
SETTINGS = {"NOW": "2026-06-11T00:00:00Z"} | {
    f"RETENTION__{level}": "3650d" for level in ("CALLS", "MINUTES", "FIVE_MINUTES", "HOURS")
}
MODEL = "a-model"


def complete(call_id: str, minute: int = 0, **more: Any) -> dict[str, Any]:
    """A call of one second and one token."""
    times = {"started_at": f"2026-06-10T10:{minute:02}:00Z", "ended_at": f"2026-06-10T10:{minute:02}:01Z"}
    summary = {"usage": {MODEL: {"prompt_tokens": 1}}}
    ids = {"project_id": PROJECT, "id": call_id, "op_name": "op", "summary": summary}
    return {"complete": {**ids, **times, **more}}


def line(value: Any, partition: int = 0) -> Line:
    """A message."""
    return Line("k", json.dumps(value).encode(), partition)


# The fault and its fix: to a clock at 10:20 the day before, calls that start at 10:30 are too far ahead.
BEFORE, AFTER = {"NOW": "2026-06-09T10:20:00Z"}, {"NOW": SETTINGS["NOW"]}


@pytest.fixture
def pipeline(bootstrap_servers: str, redis_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """Three partitions, no worker yet."""
    with Pipeline(tmp_path, bootstrap_servers, redis_url, SETTINGS) as pipeline:
        pipeline.create_topic()
        yield pipeline


def fold(pipeline: Pipeline, now: dict[str, str]) -> None:
    """Fold all there is in the topic at this time of a fixed clock."""
    worker = pipeline.start_worker(**now)
    ends = {place: end for place, (_, end) in watermarks(pipeline.bootstrap_servers, pipeline.topic).items() if end}
    worker.wait_until(lambda: pipeline.applied() == ends, f"all is applied: {ends}")
    assert worker.terminate() == 0


def letters(pipeline: Pipeline) -> list[dict[str, str]]:
    """The headers of all dead letters."""
    return [one.headers for one in read_topic(pipeline.bootstrap_servers, f"{pipeline.topic}.dead-letters")]


def counts_by_minute(pipeline: Pipeline) -> dict[str, int]:
    """Calls by the minute of 2026-06-10, where there are any."""
    api = pipeline.start_api()
    window = {"start": "2026-06-10T10:00:00Z", "end": "2026-06-10T11:00:00Z", "granularity": 60}
    request = {"project_id": PROJECT, "call_metrics": [{"metric": "call_count"}], **window}
    rows = api.ask("/calls/stats", request).json()["call_buckets"]
    api.stop()
    return {row["timestamp"][11:16]: row["count"] for row in rows if row["count"]}


def test_replay_after_a_fix(pipeline: Pipeline) -> None:
    """Replay counts what was invalid once, in its minute; what shared its batch counts no second time.

    Sending twice changes nothing, and goes to the partition it came from, whatever its key.
    """
    batch = {"batch": [complete("valid", 10), complete("early-1", 30), complete("early-2", 31)]}
    pipeline.produce([line(batch, partition=2), line(complete("early-3", 30), partition=1)])
    fold(pipeline, BEFORE)
    assert [letter["reason"] for letter in letters(pipeline)] == ["time_range"] * 3
    dry = operate(pipeline.settings, "dead-letters", "replay", "--dry-run")
    assert (dry.status, dry.output) == (0, "2 messages would be sent again.\n")
    for _ in range(2):
        sent = operate(pipeline.settings, "dead-letters", "replay")
        assert (sent.status, sent.output) == (0, "2 messages sent again.\n")
    fold(pipeline, AFTER)
    assert pipeline.applied() == {1: 3, 2: 3}
    assert counts_by_minute(pipeline) == {"10:10": 1, "10:30": 2, "10:31": 1}
    counters = pipeline.counters()
    assert (counters["calls"], counters["messages"], counters["dead_letters"]) == (4, 6, 3)
    assert len(letters(pipeline)) == 3


def test_still_invalid(pipeline: Pipeline) -> None:
    """A message that is still invalid becomes one more letter, with how often it was sent; letters do not multiply."""
    pipeline.produce([line(complete("a", id=7)), line({"batch": [complete("b", id=8), complete("c", id=9)]})])
    fold(pipeline, AFTER)
    for replayed in range(1, 4):
        sent = operate(pipeline.settings, "dead-letters", "replay")
        assert (sent.status, sent.output) == (0, "2 messages sent again.\n")
        fold(pipeline, AFTER)
        found = letters(pipeline)
        assert len(found) == 3 + 3 * replayed
        assert [letter["replayed"] for letter in found[-3:]] == [str(replayed)] * 3
        assert {letter["replay_of"] for letter in found[-3:]} == {f"{pipeline.topic}/0/{at}" for at in (0, 1)}


def test_what_is_meant(pipeline: Pipeline) -> None:
    """Letters are chosen by reason and by when they were put there: at `since`, not at `until`."""
    pipeline.produce([line(complete("a", id=7)), line({"nonsense": 1})])
    fold(pipeline, AFTER)
    everything = operate(pipeline.settings, "dead-letters", "list", "--json").json()
    assert everything["letters"] == 2
    assert everything["reasons"] == {"type": 1, "shape": 1}
    newest, oldest = everything["newest"]
    assert (oldest["origin"], oldest["reason"], oldest["field"]) == (f"{pipeline.topic}/0/0", "type", "id")
    assert (newest["origin"], newest["offset"], newest["replayed"]) == (f"{pipeline.topic}/0/1", 1, 0)

    def meant(*arguments: str) -> int:
        found: int = operate(pipeline.settings, "dead-letters", "list", "--json", *arguments).json()["letters"]
        return found

    assert meant("--reason", "type") == 1
    assert meant("--reason", "json") == 0
    assert meant("--since", oldest["at"]) == 2
    assert meant("--until", oldest["at"]) == 0
    assert meant("--since", "2000-01-01T00:00:00Z", "--until", "2100-01-01T00:00:00Z") == 2
    dry = operate(pipeline.settings, "dead-letters", "replay", "--dry-run", "--reason", "shape")
    assert dry.output == "1 messages would be sent again.\n"
    for chosen, count in (["--until", oldest["at"]], 0), (["--since", oldest["at"], "--reason", "shape"], 1):
        sent = operate(pipeline.settings, "dead-letters", "replay", *chosen)
        assert (sent.status, sent.output) == (0, f"{count} messages sent again.\n")
    fold(pipeline, AFTER)
    assert [letter.get("replay_of") for letter in letters(pipeline)] == [None, None, f"{pipeline.topic}/0/1"]


def test_list_and_show(pipeline: Pipeline) -> None:
    """The list is a table for eyes; one letter is shown with its headers and its value, indented where it is JSON."""
    pipeline.produce([line(complete("a", id=7)), Line("clé\x1b[2J", b"\xff{", 0)])
    fold(pipeline, AFTER)
    listed = operate(pipeline.settings, "dead-letters", "list")
    assert listed.status == 0
    for words in ("type", "json", "together"):
        assert words in listed.output
    shown = operate(pipeline.settings, "dead-letters", "show", "0")
    assert shown.status == 0
    assert "reason: type\nfield: id\n" in shown.output
    assert f"topic: {pipeline.topic}\npartition: 0\noffset: 0\n" in shown.output
    assert json.loads(shown.output.split("\n\n")[1]) == complete("a", id=7)
    assert '\n  "complete": {' in shown.output
    broken = operate(pipeline.settings, "dead-letters", "show", "1")
    assert "key: clé\\x1b[2J\n\n\\xff{\n" in broken.output
    beyond = operate(pipeline.settings, "dead-letters", "show", "2")
    assert beyond.status == 1
    assert beyond.errors.endswith("holds offsets from 0 up to 2, not 2\n")


def test_partitions_of_letters(pipeline: Pipeline) -> None:
    """Offsets begin anew in each partition: the list says which, and so does `show` where several have the offset."""
    topic = f"{pipeline.topic}.dead-letters"
    create_topic(pipeline.bootstrap_servers, topic, 3)
    bad = complete("a", id=7)
    origin = {"topic": pipeline.topic, "partition": "0", "reason": "type", "message": "id: not a string"}
    producer = EventProducer(pipeline.bootstrap_servers, {})
    with producer:
        for partition, at in ((0, 0), (2, 1), (2, 2)):
            headers: dict[str, str | bytes | None] = {**origin, "offset": str(at)}
            producer.produce(topic, None, json.dumps(bad).encode(), partition, headers)
    listed = operate(pipeline.settings, "dead-letters", "list")
    assert [place for place in ("0/0", "2/0", "2/1", "1/0") if f" {place} " in listed.output] == ["0/0", "2/0", "2/1"]

    def show(*arguments: str) -> str:
        shown = operate(pipeline.settings, "dead-letters", "show", *arguments)
        return shown.output if shown.status == 0 else shown.errors

    assert show("0") == f"Error: several partitions of {topic} have offset 0: say which, of 0/0, 2/0\n"
    assert "\noffset: 1\n" in show("2/0")
    assert "\noffset: 1\n" in show("0", "--partition", "2")
    assert "\noffset: 2\n" in show("1")
    assert show("1/0") == f"Error: {topic}/1 holds offsets from 0 up to 0, not 0; there is 0/0, 2/0\n"
    assert "neither OFFSET nor PARTITION/OFFSET" in show("2/x")
    assert "--partition says 1" in show("2/0", "--partition", "1")


def test_folded_again(pipeline: Pipeline) -> None:
    """A dead letter that a second fold of the same messages writes again is listed and counted once, and the repeat is
    told."""
    pipeline.produce([line({"batch": [complete("b", id=8), complete("c", id=9)]}), line(complete("a", id=7))])
    fold(pipeline, AFTER)
    pipeline.redis.flushall()
    fold(pipeline, AFTER)
    assert len(letters(pipeline)) == 6
    listed = operate(pipeline.settings, "dead-letters", "list", "--json").json()
    assert (listed["letters"], listed["repeats"], len(listed["newest"])) == (3, 3, 3)
    assert pipeline.counters()["dead_letters"] == 3
    assert "\n3 more were written of the same events" in operate(pipeline.settings, "dead-letters", "list").output


def test_no_letters(pipeline: Pipeline) -> None:
    """The command lists nothing, and ends well, where no dead letter was ever written and so no topic of them
    exists."""
    assert operate(pipeline.settings, "dead-letters", "list").output == "No dead letters.\n"
    assert operate(pipeline.settings, "dead-letters", "replay").output == "0 messages sent again.\n"


def test_topic_gone(pipeline: Pipeline) -> None:
    """A letter whose topic does not exist is not sent anywhere else, and the status says so."""
    pipeline.produce([line(complete("a", id=7))])
    fold(pipeline, AFTER)
    pipeline.delete_topic()
    refused = operate(pipeline.settings, "dead-letters", "replay")
    assert refused.status == 1
    assert "1 messages were not sent" in refused.errors


@pytest.mark.parametrize(
    ("headers", "source", "replays"),
    [
        ([("topic", b"t"), ("partition", b"3"), ("offset", b"9")], ("t", 3), 0),
        ([("topic", b"t"), ("partition", b"x")], None, 0),
        ([("partition", b"3")], None, 0),
        ([("topic", b"t"), ("partition", "\u0663".encode())], None, 0),
        ([("topic", b"t"), ("partition", b"0"), ("replayed", b"2")], ("t", 0), 2),
        ([("topic", b"t"), ("partition", b"0"), ("replayed", b"\xff")], ("t", 0), 0),
        ([("topic", b"t"), ("partition", b"0"), ("replayed", None)], ("t", 0), 0),
    ],
)
def test_headers_of_strangers(headers: Any, source: tuple[str, int] | None, replays: int) -> None:
    """Headers that are missing or hold anything else do no harm."""
    letter = stored_dead_letter(Message("letters", 0, 0, 0, None, None, headers))
    assert (letter.source, letter.replays) == (source, replays)
