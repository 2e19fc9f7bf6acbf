"""Weave's routes: what the recorded SDKs sent gives the events that its bodies hold, and answers they go on with."""

import json
from typing import Any

import pytest

from aggregator.calls.event import Event
from ingest.decoding.single import decode_message
from tests.support.gatewaying import NOW_US, Gateway
from tests.support.paths import ROOT

WIRE = ROOT / "tests" / "cases" / "wire"
RECORDINGS = sorted(path.name for path in WIRE.glob("weave-*.jsonl"))
CALLS_OF = {
    "weave-python-0.54.0.jsonl": 5,
    "weave-python-0.54.0-upsert-batch.jsonl": 5,
    "weave-typescript-0.11.1.jsonl": 5,
}

START = {"project_id": "ent/proj", "id": "c1", "op_name": "op", "started_at": "2026-06-10T00:00:00Z", "trace_id": "t1"}
END: dict[str, Any] = {"project_id": "ent/proj", "id": "c1", "ended_at": "2026-06-10T00:00:01Z", "summary": {}}


def recorded(name: str) -> list[dict[str, Any]]:
    """The requests of a recording, in order."""
    return [json.loads(line) for line in (WIRE / name).read_text().splitlines()]


def events_in(body: str) -> list[Event]:
    """The events of a recorded body as a worker reads them out of it, had it come as one message."""
    decoded = decode_message(body.encode(), NOW_US)
    assert not decoded.invalid
    return decoded.events


@pytest.mark.parametrize("name", RECORDINGS)
def test_recorded_requests(name: str) -> None:
    """Every recorded request is answered with 200; the messages hold just the events that the bodies hold."""
    gateway = Gateway()
    sent: list[Event] = []
    for request in recorded(name):
        headers = {key: text for key, text in request["headers"].items() if key.lower() in ("content-type",)}
        response = gateway.ask(request["method"], request["path"], request["body"].encode(), headers)
        assert response.status_code == 200, (request["path"], response.text)
        if "/call" in request["path"]:
            sent += events_in(request["body"])
    assert gateway.kafka.events() == sent
    assert len({event.call_id for event in sent}) == CALLS_OF[name]
    assert {message.key for message in gateway.kafka.messages} == {"ent/proj"}


def test_texts_are_not_passed_on() -> None:
    """Only refs of inputs and output go on, and of attributes only which SDK it was; usage and exception stay."""
    gateway = Gateway()
    ref = "weave:///ent/proj/object/prompt:v1"
    call = {
        **START,
        **END,
        "inputs": {"prompt": "a secret", "of": [ref]},
        "output": "another secret",
        "attributes": {"weave": {"source": "js-sdk"}, "note": "a third secret"},
        "exception": "boom",
        "summary": {"usage": {"m": {"input_tokens": 3}}},
    }
    assert gateway.post("/v2/ent/proj/calls/complete", json.dumps({"batch": [call]}).encode()).json() == {}
    (message,) = gateway.kafka.messages
    assert b"secret" not in message.value
    (event,) = gateway.kafka.events()
    assert event.start is not None
    assert event.end is not None
    assert (event.start.input_refs, event.start.may_roll_up, event.end.failed) == ((ref,), True, True)
    assert event.end.usage["m"].input_tokens == 3


@pytest.mark.parametrize("name", ["gen_ai.request.model", "llm.model_name", "model", "model_name"])
@pytest.mark.parametrize("sdk", [{}, {"weave": {"source": "js-sdk"}}, {"weave": {"source": "python-sdk"}}])
def test_the_model_that_attributes_name(name: str, sdk: dict[str, Any]) -> None:
    """A call that fails without usage belongs to the model its attributes name, over HTTP as in a message."""
    gateway = Gateway()
    body = json.dumps({"batch": [{"start": START | {"attributes": {name: "gpt-4o", "note": "a secret"} | sdk}}]})
    assert gateway.post("/call/upsert_batch", body.encode()).status_code == 200
    assert gateway.kafka.events() == events_in(body)
    assert b"secret" not in gateway.kafka.messages[0].value


@pytest.mark.parametrize("prefix", ["", "/v2/ent/proj"])
def test_single_events(prefix: str) -> None:
    """A start and an end of their own, on the routes of both versions; a start is answered with its ids."""
    gateway = Gateway()
    begun = gateway.post(f"{prefix}/call/start", json.dumps({"start": START}).encode())
    assert (begun.status_code, begun.json()) == (200, {"id": "c1", "trace_id": "t1"})
    assert gateway.post(f"{prefix}/call/end", json.dumps({"end": END}).encode()).status_code == 200
    assert [(event.start is None, event.end is None) for event in gateway.kafka.events()] == [
        (False, True),
        (True, False),
    ]


def test_bad_elements_are_dead_letters() -> None:
    """An element that is no event is a dead letter with its place and reason; those beside it are sent."""
    gateway = Gateway()
    bad: list[Any] = [7, {}, {"project_id": 1, "id": "x"}, {"id": "x"}]
    body = json.dumps({"batch": [START | END, *bad, START | END | {"id": "c2"}]}).encode()
    assert gateway.post("/v2/ent/proj/calls/complete", body).status_code == 200
    assert [event.call_id for event in gateway.kafka.events()] == ["c1", "c2"]
    assert [letter.invalid.position for letter in gateway.kafka.letters] == [1, 2, 3, 4]
    assert all(letter.invalid.message for letter in gateway.kafka.letters)
    assert [json.loads(letter.message.value or b"") for letter in gateway.kafka.letters] == bad


@pytest.mark.parametrize("path", ["/call/upsert_batch", "/v2/ent/proj/calls/complete"])
@pytest.mark.parametrize(
    "element",
    [
        START | END,
        {"complete": START | END},
        {"mode": "complete", "req": START | END},
        {"mode": "complete", "req": {"complete": START | END}},
        {"start": START},
        {"mode": "end", "req": {"end": END}},
    ],
    ids=["bare", "complete", "mode and bare", "mode and complete", "start", "mode and end"],
)
def test_every_shape_in_a_batch(path: str, element: dict[str, Any]) -> None:
    """Whatever shape of event a message may hold, a batch of either route may hold it too."""
    gateway = Gateway()
    body = json.dumps({"batch": [element]})
    assert gateway.post(path, body.encode()).status_code == 200
    assert (gateway.kafka.events(), gateway.kafka.letters) == (events_in(body), [])


@pytest.mark.parametrize(
    "element", [{"mode": "end", "req": {"start": START}}, {"start": START, "end": END}, {"batch": []}]
)
def test_other_shapes_in_a_batch(element: dict[str, Any]) -> None:
    """An element that is not exactly one event is a dead letter, not a guess."""
    gateway = Gateway()
    response = gateway.post("/call/upsert_batch", json.dumps({"batch": [element]}).encode())
    assert (response.status_code, response.json()) == (200, {"res": [{}]})
    assert (len(gateway.kafka.messages), len(gateway.kafka.letters)) == (0, 1)


@pytest.mark.parametrize("path", ["/call/upsert_batch", "/v2/ent/proj/calls/complete"])
def test_one_item_with_a_nan(path: str) -> None:
    """A NaN, or a text of another encoding, spoils its own item, which is a dead letter as it came, and no other."""
    gateway = Gateway()
    good, other = (json.dumps(START | END | {"id": call_id}).encode() for call_id in ("c1", "c2"))
    bad = [b'{"output": [NaN, -Infinity, "\xff"]}', b"NaN", b'{"id": "c3", "\xff": "not JSON 0", "inputs": Infinity}']
    assert gateway.post(path, b'{"batch": [' + b", ".join([good, *bad, other]) + b"]}").status_code == 200
    assert [event.call_id for event in gateway.kafka.events()] == ["c1", "c2"]
    assert [(letter.invalid.position, letter.message.value) for letter in gateway.kafka.letters] == [*enumerate(bad, 1)]
    for beside in (b'{"batch": [%b], "x": NaN}', b'{"batch": [NaN, %b], "x": NaN}', b'{"batch": [%b, NaN}'):
        assert gateway.post(path, beside % good).status_code == 400


@pytest.mark.parametrize("field", ["started_at", "wb_run_step"])
def test_a_number_beyond_all(field: str) -> None:
    """A number that no double holds is the worker's to judge: the start is sent, and answered with its ids."""
    gateway = Gateway()
    body = json.dumps({"start": START | {field: 0}}).replace(f'"{field}": 0', f'"{field}": 1e400')
    begun = gateway.post("/call/start", body.encode())
    assert (begun.status_code, begun.json()) == (200, {"id": "c1", "trace_id": "t1"})
    assert len(gateway.kafka.messages) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"batch": 7}', b"\xff"])
def test_no_batch(body: bytes) -> None:
    """A body that is no batch at all will never pass: it is a 400, and nothing is sent."""
    gateway = Gateway()
    for path in ("/call/upsert_batch", "/v2/ent/proj/calls/complete"):
        assert gateway.post(path, body).status_code == 400
    assert not gateway.kafka.messages


def test_deep_inputs() -> None:
    """Inputs nested deeper than a decoder follows, and lone surrogates, are no reason to lose a call."""
    gateway = Gateway()
    deep = '{"batch": [' + json.dumps(START | END)[:-1] + ', "inputs": ' + "[" * 3000 + '"\\ud800"' + "]" * 3000 + "}]}"
    assert gateway.post("/v2/ent/proj/calls/complete", deep.encode()).status_code == 200
    assert len(gateway.kafka.events()) == 1


def test_digests() -> None:
    """One code has one digest, whatever the boundary of the upload; other code has another."""
    gateway = Gateway()

    def digest(content: str, boundary: str, line_end: str = "\r\n") -> str:
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="project_id"\r\n\r\nent/proj\r\n--{boundary}\r\n'
            f'Content-Disposition: form-data; name="file"; filename="blob"\r\n\r\n{content}\r\n--{boundary}--\r\n'
        )
        headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
        lines = body.replace("\r\n", line_end)
        return str(gateway.post("/file/create", lines.encode(), headers).json()["digest"])

    assert digest("code", "a1") == digest("code", "b2") == digest("code", "a1", "\n") != digest("other", "a1")
    assert digest("a\n\nb\n", "a1") == digest("a\n\nb\n", "a1", "\n") != digest("a\n\nb", "a1")
    made = [gateway.post("/obj/create", json.dumps({"obj": {"val": val}}).encode()).json() for val in (1, 1, 2)]
    assert made[0] == made[1] != made[2]


@pytest.mark.parametrize("body", [b"{}", b'{"query": "mutation { deleteAll }"}', b"{", b"[]"])
def test_other_queries(body: bytes) -> None:
    """A query that is none of the two that clients send is refused with a sentence."""
    response = Gateway().post("/graphql", body)
    assert (response.status_code, "viewer" in response.json()["detail"]) == (400, True)
