"""LiteLLM's generic API logger: each attempt is a call, those of one request share a trace, its cost counts nothing."""

import json
from typing import Any

import pytest

from aggregator.calls.event import Event
from tests.support.gatewaying import Gateway
from tests.support.paths import CASES

HEADERS = {"project_id": "ent/proj"}
RECORDED = json.loads((CASES / "wire" / "litellm-1.110.2.jsonl").read_text())
PAYLOAD: dict[str, Any] = {
    "id": "chatcmpl-1",
    "trace_id": "t",
    "call_type": "acompletion",
    "status": "success",
    "startTime": 1_790_000_000.5,
    "endTime": 1_790_000_001.75,
    "model": "claude-sonnet-4",
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "response_cost": 0.25,
    "end_user": "kim",
    "session_id": "talk",
    "messages": "a secret",
    "metadata": {"usage_object": {"prompt_tokens": 100, "completion_tokens": 50, "cache_read_input_tokens": 20}},
}


def sent(body: bytes, headers: dict[str, str] | None = None) -> tuple[int, list[Event], Gateway]:
    """The status and the events of a body."""
    gateway = Gateway()
    status = gateway.post("/litellm", body, headers or HEADERS).status_code
    return status, gateway.kafka.events(), gateway


def test_recorded_payloads() -> None:
    """A call, a failure, and a request that failed twice and then fell back: five calls, three errors, 60 tokens."""
    status, events, _ = sent(RECORDED["body"].encode())
    assert status == 200
    assert [event.end is not None and event.end.failed for event in events] == [False, True, True, True, False]
    assert sum(counts.total_tokens for event in events if event.end for counts in event.end.usage.values()) == 60
    traces = [event.start.trace_id for event in events if event.start]
    assert (len(set(traces)), traces[2] == traces[3] == traces[4]) == (3, True)
    assert len({event.call_id for event in events}) == 5


def test_a_payload() -> None:
    """Cached tokens are those of the usage object; user, conversation and times; nothing of messages goes on."""
    _, (event,), gateway = sent(json.dumps(PAYLOAD).encode())
    assert event.start is not None
    assert event.end is not None
    assert event.end.usage["claude-sonnet-4"][:5] == (100, 50, 150, 20, 0)
    assert (event.start.user_id, event.start.thread_id, event.start.op_name) == ("kim", "talk", "acompletion")
    assert event.end.ended_at_us - event.start.started_at_us == 1_250_000
    (message,) = gateway.kafka.messages
    assert b"secret" not in message.value
    assert b'"response_cost":0.25' in message.value


@pytest.mark.parametrize("form", ["array", "lines", "one"])
def test_forms_of_bodies(form: str) -> None:
    """An array, lines of JSON, one object."""
    items = [PAYLOAD | {"id": str(number)} for number in range(1 if form == "one" else 3)]
    lines = "\n".join(map(json.dumps, items))
    body = {"array": json.dumps(items), "lines": lines, "one": json.dumps(items[0], indent=1)}[form]
    status, events, _ = sent(body.encode())
    assert (status, [event.call_id for event in events]) == (200, [item["id"] for item in items])


def test_bad_items() -> None:
    """An item that is no payload is a dead letter with its number; those beside it count."""
    status, events, gateway = sent(json.dumps([PAYLOAD, {"id": 1}, 7, PAYLOAD | {"id": "b"}]).encode())
    assert (status, [event.call_id for event in events]) == (200, ["chatcmpl-1", "b"])
    assert [letter.invalid.position for letter in gateway.kafka.letters] == [1, 2]


def test_one_item_with_a_nan() -> None:
    """A log probability of minus infinity spoils its own payload, which is a dead letter as it came, and no other."""
    bad = json.dumps(PAYLOAD | {"response": {"logprobs": [float("-inf")]}})
    good = [json.dumps(PAYLOAD | {"id": call_id}) for call_id in ("a", "b")]
    for form, between in (("[%s]", ", "), ("%s", "\n")):
        status, events, gateway = sent((form % between.join([good[0], bad, good[1]])).encode())
        assert (status, [event.call_id for event in events]) == (200, ["a", "b"])
        assert [letter.message.value for letter in gateway.kafka.letters] == [bad.encode()]


def test_counts_in_other_spellings() -> None:
    """Tokens count in each spelling that counts elsewhere."""
    counts = {"prompt_tokens": "12", "completion_tokens": 3.0, "total_tokens": 15.0, "metadata": None}
    _, (event,), _ = sent(json.dumps(PAYLOAD | counts).encode())
    assert event.end is not None
    assert event.end.usage["claude-sonnet-4"][:3] == (12, 3, 15)


@pytest.mark.parametrize("body", [b"", b"7", b"[", b"hello"])
def test_no_body(body: bytes) -> None:
    """A body that holds no payloads at all is a 400."""
    assert sent(body)[0] == 400


def test_no_project() -> None:
    """A body is a 400 that says how to name a project, where nothing says whose calls these are."""
    response = Gateway().post("/litellm", json.dumps(PAYLOAD).encode())
    assert (response.status_code, "project_id" in response.json()["detail"]) == (400, True)
