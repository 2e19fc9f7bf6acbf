"""OTLP over HTTP: spans become events as a worker reads them from the Collector, and partial success says the rest."""

import gzip
import json

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from aggregator.access.key import new_access_key
from aggregator.access.key_ring import KeyRing
from ingest.decoding.single import decode_message
from ingest.http.app import GatewayLimits
from ingest.http.writers import KeyedWriters
from tests.ingest.http.memory_keys import MemoryKeys, headers_of
from tests.support.gatewaying import NOW_US, Gateway
from tests.support.spans import GivenSpan, Resources, one_resource, otlp_json, protobuf

PATHS = ["/v1/traces", "/otel/v1/traces", "/agents/otel/v1/traces"]
PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
USAGE = {"gen_ai.usage.input_tokens": 3, "gen_ai.request.model": "m", "gen_ai.operation.name": "chat", "secret": "s3"}
GOOD = one_resource(GivenSpan(attributes=USAGE), GivenSpan(span_id="1" * 16, attributes=USAGE | {"user.id": "kim"}))
AGENT = GivenSpan(attributes={"gen_ai.usage.input_tokens": 3}, status=2)


@pytest.mark.parametrize("path", PATHS)
def test_spans_become_the_events_of_the_same_message(path: str) -> None:
    """Protobuf and JSON, on all three paths: what is sent is what a worker would read out of such a message."""
    resources = [*GOOD, *one_resource(AGENT)]
    gateway = Gateway()
    sent = decode_message(protobuf(resources), NOW_US).events
    response = gateway.post(path, protobuf(resources), PROTOBUF)
    assert (response.status_code, response.content, response.headers["content-type"]) == (200, b"", *PROTOBUF.values())
    response = gateway.post(path, gzip.compress(otlp_json(resources)), {**JSON, "content-encoding": "gzip"})
    assert (response.status_code, response.json()) == (200, {})
    assert gateway.kafka.events() == sent * 2
    assert {message.key for message in gateway.kafka.messages} == {"acme/agents"}
    assert not any(b"s3" in message.value for message in gateway.kafka.messages)


def test_partial_success() -> None:
    """The spans that are none are counted and the first reasons told, in the encoding of the request."""
    resources = one_resource(*[GivenSpan(started_ns=0)] * 200, GivenSpan())
    gateway = Gateway()
    answer = ExportTraceServiceResponse.FromString(gateway.post("/v1/traces", protobuf(resources), PROTOBUF).content)
    assert answer.partial_success.rejected_spans == 200
    assert answer.partial_success.error_message.startswith("span 0: a span must have a start_time")
    partial = gateway.post("/v1/traces", otlp_json(resources), JSON).json()["partialSuccess"]
    assert partial == {"rejectedSpans": "200", "errorMessage": answer.partial_success.error_message}
    assert len(gateway.kafka.events()) == 2


@pytest.mark.parametrize(("body", "headers"), [(b"", PROTOBUF), (b"{}", JSON), (b'{"resourceSpans": []}', JSON)])
def test_no_spans(body: bytes, headers: dict[str, str]) -> None:
    """A request without spans is a success, as the protocol says."""
    assert Gateway().post("/v1/traces", body, headers).status_code == 200


@pytest.mark.parametrize("body", [b"spans", b"[]", b"\x00", b"\n\xff"])
def test_no_request(body: bytes) -> None:
    """A body that is no such request at all is a 400."""
    assert Gateway().post("/v1/traces", body, PROTOBUF).status_code == 400


def test_whose_spans() -> None:
    """A header, else the key's only project, else what is set; a key of other projects is refused."""
    bare: Resources = [({}, [[GivenSpan()]])]
    one, shown_one = new_access_key("sdk", ["ent/one"], 1, ["write"])
    two, shown_two = new_access_key("sdk", ["ent/one", "ent/two"], 1, ["write"])
    writers = KeyedWriters(KeyRing(MemoryKeys(one, two), lambda: NOW_US))
    gateway = Gateway(writers, GatewayLimits(default_project="ent/two"))
    sent = [
        gateway.post("/v1/traces", protobuf(bare), {**PROTOBUF, **headers_of(shown, "Bearer"), **named}).status_code
        for shown, named in (
            (shown_one, {}),
            (shown_two, {}),
            (shown_two, {"project_id": "ent/one"}),
            (shown_one, {"project_id": "ent/two"}),
        )
    ]
    assert sent == [200, 200, 200, 403]
    assert [event.project_id for event in gateway.kafka.events()] == ["ent/one", "ent/two", "ent/one"]


def test_kafka_away() -> None:
    """Exporters try again at what 503 says."""
    from ingest.kafka.acknowledged import Unacknowledged

    gateway = Gateway()
    gateway.kafka.failure = Unacknowledged("away")
    response = gateway.post("/v1/traces", protobuf(GOOD), PROTOBUF)
    assert (response.status_code, "retry-after" in response.headers) == (503, True)
    assert json.loads(response.content)["detail"]
