"""Spans of OpenTelemetry for tests, given once and written by protobuf's own types, and as OTLP's JSON."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status, TracesData

STARTED_NS = 1_781_085_600_123_456_789  # 2026-06-10T10:00:00.123456789Z
Attributes = dict[str, Any]
SERVICE: Attributes = {"service.namespace": "acme", "service.name": "agents", "telemetry.sdk.language": "python"}


@dataclass
class GivenSpan:
    """A span; ids in hexadecimal."""

    span_id: str = "00f067aa0ba902b7"
    trace_id: str = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent_id: str = ""
    name: str = "chat gpt-4o"
    started_ns: int = STARTED_NS
    ended_ns: int = STARTED_NS + 1_500_000_000
    status: int = 0
    attributes: Attributes = field(default_factory=dict)


Resources = list[tuple[Attributes, list[list[GivenSpan]]]]
"""Resources with their attributes, each with its scopes, each with its spans."""


def one_resource(*spans: GivenSpan) -> Resources:
    """All spans in one scope of one service."""
    return [(SERVICE, [list(spans)])]


def protobuf(resources: Resources) -> bytes:
    """The message that the Collector's `otlp_proto` writes."""
    traces = TracesData()
    for attributes, scopes in resources:
        made = ResourceSpans(resource=Resource(attributes=_pairs(attributes)))
        made.scope_spans.extend(ScopeSpans(spans=list(map(_span, spans))) for spans in scopes)
        traces.resource_spans.append(made)
    return bytes(traces.SerializeToString())


def otlp_json(resources: Resources, base64_ids: bool = False, texts: bool = True) -> bytes:
    """The message that `otlp_json` writes; with ids and 64-bit integers as some other senders write them."""
    return json.dumps(
        {
            "resourceSpans": [
                {
                    "resource": {"attributes": _json_pairs(attributes, texts)},
                    "scopeSpans": [
                        {"scope": {"name": "s"}, "spans": [_json_span(span, base64_ids, texts) for span in spans]}
                        for spans in scopes
                    ],
                }
                for attributes, scopes in resources
            ]
        }
    ).encode()


def _span(span: GivenSpan) -> Span:
    return Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        name=span.name,
        kind=Span.SpanKind.SPAN_KIND_CLIENT,
        start_time_unix_nano=span.started_ns,
        end_time_unix_nano=span.ended_ns,
        attributes=_pairs(span.attributes),
        status=Status(code=span.status) if span.status else None,  # type: ignore[arg-type]
        flags=257,
        trace_state="a=b",
    )


def _pairs(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items()]


def _value(value: Any) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=value)
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=list(map(_value, value))))


def _json_span(span: GivenSpan, base64_ids: bool, texts: bool) -> dict[str, Any]:
    def identity(digits: str) -> str:
        return base64.b64encode(bytes.fromhex(digits)).decode() if base64_ids else digits

    written = {
        "traceId": identity(span.trace_id),
        "spanId": identity(span.span_id),
        "name": span.name,
        "kind": 3,
        "startTimeUnixNano": str(span.started_ns) if texts else span.started_ns,
        "endTimeUnixNano": str(span.ended_ns) if texts else span.ended_ns,
        "attributes": _json_pairs(span.attributes, texts),
        "status": {"code": span.status} if span.status else {},
    }
    return written | ({"parentSpanId": identity(span.parent_id)} if span.parent_id else {})


def _json_pairs(attributes: Attributes, texts: bool) -> list[dict[str, Any]]:
    return [{"key": key, "value": _json_value(value, texts)} for key, value in attributes.items()]


def _json_value(value: Any, texts: bool) -> dict[str, Any]:
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value) if texts else value}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"arrayValue": {"values": [_json_value(one, texts) for one in value]}}
