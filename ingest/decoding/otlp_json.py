"""Reads spans out of OTLP's JSON: only what a call needs.

Ids are hexadecimal, as OTLP says, or base64, as some senders write what protobuf's own JSON says; 64-bit integers are
texts or numbers; a status is its number or its name.
"""

import base64
import re
from collections.abc import Iterator

import msgspec

from ingest.decoding.json_repair import readable_json
from ingest.decoding.otlp_names import places
from ingest.decoding.otlp_span import Attributes, Span, Value

_BEGINNING = re.compile(rb'\s*\{\s*"resourceSpans"\s*:')
_HEX = re.compile(r"[0-9a-fA-F]*")
_WANTED = places().keys()
_FAILED = frozenset({2, "2", "STATUS_CODE_ERROR"})
_NANOSECONDS = re.compile(r"\d{1,20}", re.ASCII)
_ABSENT = msgspec.Raw(b"")


class MalformedSpan(ValueError):
    """A span, or what holds it, has not the shape of OTLP's JSON; the message says where."""


class _Text(msgspec.Struct):
    stringValue: str | None = None  # noqa: N815  # OTLP's names
    intValue: str | int | float | None = None  # noqa: N815
    doubleValue: str | int | float | None = None  # noqa: N815
    boolValue: bool | None = None  # noqa: N815


class _Pair(msgspec.Struct, gc=False):
    key: str = ""
    value: msgspec.Raw = _ABSENT


class _Status(msgspec.Struct):
    code: int | str | None = None


class _Span(msgspec.Struct):
    traceId: str | None = None  # noqa: N815
    spanId: str | None = None  # noqa: N815
    parentSpanId: str | None = None  # noqa: N815
    name: str | None = None
    startTimeUnixNano: str | int | None = None  # noqa: N815
    endTimeUnixNano: str | int | None = None  # noqa: N815
    attributes: list[_Pair] | None = None
    status: _Status | None = None


class _ScopeSpans(msgspec.Struct):
    spans: list[msgspec.Raw] | None = None


class _Resource(msgspec.Struct):
    attributes: list[_Pair] | None = None


class _ResourceSpans(msgspec.Struct):
    resource: _Resource | None = None
    scopeSpans: list[msgspec.Raw] | None = None  # noqa: N815


class _Traces(msgspec.Struct):
    resourceSpans: list[msgspec.Raw] | None = None  # noqa: N815


# What may stand beside spans, and alone where there are none.
_BESIDE_SCOPES = frozenset(("resource", "schemaUrl", "scopeSpans"))
_BESIDE_SPANS = frozenset(("scope", "schemaUrl", "spans"))
NAME_CHARACTERS_MAX = 40

_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_traces = msgspec.json.Decoder(_Traces).decode
_resource_spans = msgspec.json.Decoder(_ResourceSpans).decode
_scope_spans = msgspec.json.Decoder(_ScopeSpans).decode
_decode_span = msgspec.json.Decoder(_Span).decode
_text = msgspec.json.Decoder(_Text).decode


class SpanText:
    """One span of a message, and what its resource says; `read` may raise MalformedSpan for it alone."""

    __slots__ = ("_text", "resource")

    def __init__(self, text: msgspec.Raw, resource: Attributes) -> None:
        self._text = text
        self.resource = resource

    def read(self) -> Span:
        """The span. Raises MalformedSpan."""
        try:
            span = _decode_span(self._text)
            return Span(
                _id(span.traceId, 16),
                _id(span.spanId, 8),
                _id(span.parentSpanId, 8),
                span.name or "",
                _nanoseconds(span.startTimeUnixNano),
                _nanoseconds(span.endTimeUnixNano),
                span.status is not None and span.status.code in _FAILED,
                _attributes(span.attributes),
            )
        except msgspec.DecodeError as wrong:
            raise MalformedSpan(f"the span is malformed: {wrong}") from None


def looks_like_otlp_json(message: bytes) -> bool:
    """Whether the message begins as OTLP's JSON does."""
    return _BEGINNING.match(message) is not None


def spans_in_json(message: bytes) -> Iterator[SpanText]:
    """The spans of a message, in order. Raises MalformedSpan for what is none; the spans before have been given."""
    try:
        message.decode()
        try:
            traces = _traces(message)
        except (msgspec.DecodeError, RecursionError):
            traces = _traces(readable_json(message))
        for resource_text in traces.resourceSpans or ():
            of_resource = _resource_spans(resource_text)
            if of_resource.scopeSpans is None:
                _check_empty(resource_text, _BESIDE_SCOPES, "scopeSpans")
            resource = _attributes(of_resource.resource.attributes if of_resource.resource else None)
            for scope_text in of_resource.scopeSpans or ():
                of_scope = _scope_spans(scope_text)
                if of_scope.spans is None:
                    _check_empty(scope_text, _BESIDE_SPANS, "spans")
                for span in of_scope.spans or ():
                    yield SpanText(span, resource)
    except (ValueError, msgspec.DecodeError) as wrong:
        raise MalformedSpan(f"the message is malformed: {wrong}") from None


def _check_empty(text: msgspec.Raw, beside: frozenset[str], wanted: str) -> None:
    """Raises MalformedSpan for an object without what it should hold that holds something else: its name is damaged."""
    for name in _members(text):
        if name not in beside:
            raise MalformedSpan(f"there is {name[:NAME_CHARACTERS_MAX]!r} where {wanted!r} should be")


def _attributes(pairs: list[_Pair] | None) -> Attributes:
    attributes: dict[str, Value] = {}
    for pair in pairs or ():
        if pair.key in _WANTED and bytes(pair.value) not in (b"", b"null"):
            value = _value(_text(pair.value))
            if value is not None:
                attributes[pair.key] = value
    return attributes


def _value(value: _Text) -> Value | None:
    for stated in (value.stringValue, value.intValue, value.doubleValue, value.boolValue):
        if stated is not None:
            return stated
    return None


def _nanoseconds(stated: str | int | None) -> int:
    if stated is None:
        return 0
    if not _NANOSECONDS.fullmatch(str(stated)):
        raise MalformedSpan("a time must be whole nanoseconds since 1970")
    return int(stated)


def _id(text: str | None, size: int) -> str:
    """An id in hexadecimal, "" for an absent one, which is also written as zeros."""
    if not text:
        return ""
    if len(text) == 2 * size and _HEX.fullmatch(text):
        digits = text.lower()
    else:
        try:
            decoded = base64.b64decode(text, validate=True)
        except ValueError:  # no base64, or not even ASCII
            decoded = b""
        if len(decoded) != size:
            raise MalformedSpan(f"an id must have {size} bytes, in hexadecimal or base64")
        digits = decoded.hex()
    return digits if digits.strip("0") else ""
