"""Messages of the OpenTelemetry Collector: projects, ids, times and errors of spans, and what is none."""

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.event import Event
from ingest.decoding.batch import decode_batch
from ingest.decoding.otlp import is_otlp
from ingest.decoding.otlp_span import SpanProjects
from ingest.decoding.single import Decoded, decode_message
from tests.support.spans import (
    SERVICE,
    STARTED_NS,
    Attributes,
    GivenSpan,
    Resources,
    one_resource,
    otlp_json,
    protobuf,
)

NOW_US = STARTED_NS // 1_000
USAGE: Attributes = {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m"}


def spans(count: int) -> list[GivenSpan]:
    """Distinct spans."""
    return [GivenSpan(span_id=f"{n + 1:016x}", name=f"op {n}", attributes=dict(USAGE)) for n in range(count)]


def decode(message: bytes, *projects: str) -> Decoded:
    """The message, decoded."""
    return decode_message(message, NOW_US, SpanProjects(*projects))


def events(message: bytes, *projects: str) -> list[Event]:
    """The events of a message without mistakes."""
    found = decode(message, *projects)
    assert found.invalid == []
    return found.events


def test_many_resources_and_scopes() -> None:
    """All spans of all scopes and resources, each in its own project, in order; protobuf and JSON alike."""
    first, second, third, fourth = spans(4)
    other = {"service.namespace": "globex", "service.name": "bots"}
    resources: Resources = [(SERVICE, [[first], [second, third]]), (other, [[fourth], []]), ({}, [])]
    found = events(protobuf(resources))
    assert [(event.project_id, event.call_id) for event in found] == [
        ("acme/agents", first.span_id),
        ("acme/agents", second.span_id),
        ("acme/agents", third.span_id),
        ("globex/bots", fourth.span_id),
    ]
    for variant in (otlp_json(resources), otlp_json(resources, base64_ids=True), otlp_json(resources, texts=False)):
        assert events(variant) == found


WANDB: Attributes = {"wandb.entity": "ent", "wandb.project": "proj"}
PROJECTS: dict[str, tuple[Attributes, Attributes, list[str], str]] = {
    "the span's": (WANDB, SERVICE, ["h/h", "d/d"], "ent/proj"),
    "the resource's": ({}, SERVICE | WANDB, ["h/h", "d/d"], "ent/proj"),
    "the header": ({"wandb.entity": "alone"}, SERVICE, ["h/h", "d/d"], "h/h"),
    "the service": ({}, SERVICE, ["", "d/d"], "acme/agents"),
    "the setting": ({}, {"service.name": "agents"}, ["", "d/d"], "d/d"),
    "the service's name": ({}, {"service.name": "agents"}, [], "agents"),
}


@pytest.mark.parametrize("source", PROJECTS)
def test_projects(source: str) -> None:
    """A span's project is the first that is named in the places where it may stand."""
    attributes, resource, given_projects, project_id = PROJECTS[source]
    resources: Resources = [(resource, [[GivenSpan(attributes=attributes)]])]
    for message in (protobuf(resources), otlp_json(resources)):
        assert [event.project_id for event in events(message, *given_projects)] == [project_id]


@pytest.mark.parametrize("resource", [{}, {"service.name": "unknown_service:python"}])
def test_no_project(resource: Attributes) -> None:
    """A span that nothing gives a project is a dead letter that says what would."""
    (bad,) = decode(protobuf([(resource, [[GivenSpan()]])])).invalid
    assert (bad.reason, bad.field, bad.position, "wandb.entity" in bad.message) == ("missing", "project", 0, True)


def test_errors() -> None:
    """The status ERROR, or an error.type, is an error; UNSET and OK are none."""
    given_spans = [GivenSpan(status=status) for status in (0, 1, 2)]
    given_spans.append(GivenSpan(attributes={"error.type": "timeout"}))
    resources = one_resource(*given_spans)
    for message in (protobuf(resources), otlp_json(resources)):
        assert [event.end is not None and event.end.failed for event in events(message)] == [False, False, True, True]
    named = otlp_json(one_resource(GivenSpan(status=2))).replace(b'{"code": 2}', b'{"code": "STATUS_CODE_ERROR"}')
    assert [event.end is not None and event.end.failed for event in events(named)] == [True]


def test_parents_and_absent_ids() -> None:
    """A parent is its id; no bytes, and zeros, are none. A span without a trace is its own."""
    zeros = GivenSpan(parent_id="0" * 16, trace_id="0" * 32)
    child = GivenSpan(parent_id="00f067aa0ba902b8")
    for message in (protobuf(one_resource(zeros, child)), otlp_json(one_resource(zeros, child))):
        found = [(event.start.parent_id, event.start.trace_id) for event in events(message) if event.start]
        assert found == [(None, None), ("00f067aa0ba902b8", child.trace_id)]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"span_id": ""}, "missing"),
    "zero id": ({"span_id": "0" * 16}, "missing"),
    "short id": ({"span_id": "00ff"}, "shape"),
    "no start": ({"started_ns": 0}, "missing"),
    "no end": ({"ended_ns": 0}, "missing"),
    "before 2000": ({"started_ns": 10**17}, "time_range"),
    "ahead": ({"ended_ns": STARTED_NS + 2 * 86_400 * 10**9}, "time_range"),
    "name": ({"name": "x" * 5_000}, "id_length"),
    "user": ({"attributes": {"user.id": "x" * 257}}, "id_length"),
    "negative": ({"attributes": {"gen_ai.usage.input_tokens": -1}}, "usage"),
    "fraction": ({"attributes": {"gen_ai.usage.input_tokens": 1.5}}, "usage"),
    "model": ({"attributes": USAGE | {"gen_ai.request.model": "m" * 1_025}}, "usage"),
    "details": ({"attributes": {"langfuse.observation.usage_details": "[1]"}}, "usage"),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_bad_span_is_bad_alone(mistake: str) -> None:
    """The reason and the span's number in the message; the spans beside it count."""
    fields, reason = WRONG[mistake]
    good, other = spans(2)
    resources: Resources = [(SERVICE, [[good]]), (SERVICE, [[GivenSpan(**fields), other]])]
    for message in (protobuf(resources), otlp_json(resources)):
        found = decode(message)
        assert [event.call_id for event in found.events] == [good.span_id, other.span_id]
        assert [(bad.reason, bad.position) for bad in found.invalid] == [(reason, 1)]


def test_malformed_spans() -> None:
    """A span whose bytes are broken is bad alone; a message that is cut off gives what came before."""
    message = protobuf(one_resource(*spans(3)))
    broken = message.replace(b"op 1", b"op \xff")
    found = decode(broken)
    assert [event.call_id for event in found.events] == [f"{1:016x}", f"{3:016x}"]
    assert [(bad.reason, bad.position) for bad in found.invalid] == [("shape", 1)]
    text = otlp_json(one_resource(*spans(3))).replace(b'"op 1"', b"7")
    found = decode(text)
    assert [event.call_id for event in found.events] == [f"{1:016x}", f"{3:016x}"]
    assert [(bad.reason, bad.position) for bad in found.invalid] == [("shape", 1)]


@pytest.mark.parametrize(
    ("message", "name"),
    [
        (b'{"resourceSpans":[{"resource":{},"scopespans":[{"spans":[]}]}]}', "'scopespans' where 'scopeSpans'"),
        (b'{"resourceSpans":[{"scopeSpans":[{"scope":{},"span":[{}]}]}]}', "'span' where 'spans'"),
        (b'{"resourceSpans":[{"instrumentationLibrarySpans":[{}]}]}', "'instrumentationLibrarySpans' where"),
    ],
)
def test_damaged_names_are_not_silently_empty(message: bytes, name: str) -> None:
    """Spans under a name that is none are told, not left out as if there were none."""
    found = decode(message)
    assert not found.events
    assert [name in bad.message for bad in found.invalid] == [True]


@pytest.mark.parametrize(
    "message",
    [
        b'{"resourceSpans":[]}',
        b'{"resourceSpans":[{"resource":{"attributes":[]},"schemaUrl":"x"}]}',
        b'{"resourceSpans":[{"scopeSpans":[{"scope":{"name":"x"}},{"spans":null}]},{"scopeSpans":null}]}',
    ],
)
def test_no_spans_are_none(message: bytes) -> None:
    """A message without spans has no events and no mistakes: any part may be absent."""
    assert (list(decode(message).events), list(decode(message).invalid)) == ([], [])


def test_prompts_are_skipped_unread() -> None:
    """A prompt may be large and no text at all."""
    noise = GivenSpan(attributes=USAGE | {"gen_ai.input.messages": "\x00\ud7ff" * 100_000, "big": ["x"] * 1_000})
    assert len(events(protobuf(one_resource(noise)))) == 1
    assert len(events(otlp_json(one_resource(noise)))) == 1


def test_what_is_told_apart() -> None:
    """Our own events, with white space before them or spans inside them, are no spans; keys come in any order."""
    own = b'{"complete": {"project_id": "a", "id": "c", "op_name": "o", "started_at": "2026-06-10T10:00:00Z", '
    own += b'"ended_at": "2026-06-10T10:00:00Z", "summary": {}, "inputs": {"resourceSpans": []}}}'
    for message in (own, b"\n" + own, b"\n  " + own):
        assert not is_otlp(message)
        assert [event.project_id for event in events(message)] == ["a"]
    given_spans = json.loads(otlp_json(one_resource(*spans(1))))
    late = json.dumps({"partial": {"resource": 1}, **given_spans}).encode()
    assert len(events(late)) == 1
    assert len(events(b"\n " + json.dumps(given_spans, indent=2).encode())) == 1


def test_batches_and_projects_by_message() -> None:
    """Among our own messages, each message of spans has its own header; an old span is too late."""
    own = b'{"start": {"project_id": "a", "id": "c", "op_name": "o", "started_at": "2026-06-10T10:00:00Z"}}'
    bare: Resources = [({}, [spans(2)])]
    named = {1: SpanProjects("x/x"), 2: SpanProjects("y/y")}
    values = [own, protobuf(bare), otlp_json(bare)]
    batch = decode_batch(values, [NOW_US] * 3, 10**15, projects=lambda position: named.get(position, SpanProjects()))
    assert [event.project_id for event in batch.events] == ["a", "x/x", "x/x", "y/y", "y/y"]
    batch = decode_batch(values, [NOW_US + 10**12] * 3, 10**11, projects=lambda position: named[max(position, 1)])
    assert [bad.reason for _, bad in batch.invalid] == ["too_late"] * 5


@given(st.integers(0, 2**63), st.integers(0, 2_000), st.integers(1, 40))
def test_damaged_messages_never_raise(seed: int, at: int, length: int) -> None:
    """Bytes exchanged, cut out or put in anywhere: events or reasons come out, and no exception."""
    noise = random.Random(seed)
    attributes = USAGE | {"langfuse.observation.usage_details": '{"input": 3}', "a": 1.5, "b": True, "c": ["x"]}
    given_spans = [GivenSpan(span_id=f"{n + 1:016x}", attributes=attributes, status=2) for n in range(3)]
    for message in (protobuf(one_resource(*given_spans)), otlp_json(one_resource(*given_spans))):
        begin = at % len(message)
        for damaged in (
            message[:begin] + noise.randbytes(length) + message[begin + length :],
            message[:begin] + message[begin + length :],
            message[:begin] + noise.randbytes(length) + message[begin:],
            message[:begin],
            b"\n" + noise.randbytes(length),
        ):
            found = decode(damaged)
            # A key of JSON that is damaged is one that nobody knows: what is under it is no span then.
            assert found.events or found.invalid or is_otlp(damaged)


def test_base64_ids_are_those_in_hexadecimal() -> None:
    """An id of 16 characters that is both is hexadecimal, as OTLP says."""
    span = GivenSpan(span_id="abcdefabcdefabcd")
    (event,) = events(otlp_json(one_resource(span)))
    assert event.call_id == "abcdefabcdefabcd"
    text = otlp_json(one_resource(span)).replace(b"abcdefabcdefabcd", base64.b64encode(b"12345678"))
    assert events(text)[0].call_id == b"12345678".hex()


@pytest.mark.parametrize("wrong", ["\u00e9" * 16, "\u0663" * 16, "not hexadecimal!", "0" * 15, "AQIDBAUGBwg"])
def test_an_id_in_no_encoding(wrong: str) -> None:
    """An id that is neither hexadecimal nor base64, in whatever script, is wrong alone: spans beside it count."""
    right, left = spans(2)
    text = otlp_json(one_resource(right, left)).decode().replace(right.span_id, wrong)
    found = decode(text.encode())
    assert [event.call_id for event in found.events] == [left.span_id]
    assert [(bad.reason, bad.position) for bad in found.invalid] == [("shape", 0)]
