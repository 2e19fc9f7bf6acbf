"""OTLP over HTTP: spans as events, and the answer that says how many of them were none."""

from typing import NamedTuple

import msgspec

from ingest.decoding.event_json import event_json
from ingest.decoding.otlp import is_otlp, read_spans
from ingest.decoding.otlp_span import SpanProjects
from ingest.decoding.single import AHEAD_MAX_US
from ingest.http.weave_bodies import NoBody, SentEvent

PROTOBUF, JSON = "application/x-protobuf", "application/json"
# Of the reasons of all rejected spans the first few are told; an exporter logs them in one line.
REASONS_MAX = 3

_PARTIAL_SUCCESS, _REJECTED, _MESSAGE = 0x0A, 0x08, 0x12


class ReadSpans(NamedTuple):
    """What a body holds: events, how many spans were none, and why."""

    events: list[SentEvent]
    rejected: int
    message: str


class Answer(NamedTuple):
    """The body of an answer, in the encoding of the request."""

    content: bytes
    media_type: str


def read_request(body: bytes, projects: SpanProjects, now_us: int) -> ReadSpans:
    """The spans of an ExportTraceServiceRequest in protobuf or JSON. Raises NoBody for what is none."""
    if body and not is_otlp(body) and body.strip() != b"{}":
        raise NoBody("The body must be an ExportTraceServiceRequest in protobuf or JSON.")
    if body.strip() in (b"", b"{}"):
        return ReadSpans([], 0, "")
    events, invalid = read_spans(body, projects, now_us + AHEAD_MAX_US)
    reasons = [f"span {bad.position}: {bad.message}" if bad.position is not None else bad.message for bad in invalid]
    sent = [SentEvent(event.project_id, event_json(event)) for event in events]
    return ReadSpans(sent, len(invalid), "; ".join(reasons[:REASONS_MAX]))


def answer(read: ReadSpans, content_type: str) -> Answer:
    """Success, partial where spans were rejected."""
    if content_type.partition(";")[0].strip().lower() == JSON:
        partial = {"rejectedSpans": str(read.rejected), "errorMessage": read.message}
        return Answer(msgspec.json.encode({"partialSuccess": partial} if read.rejected else {}), JSON)
    if not read.rejected:
        return Answer(b"", PROTOBUF)
    message = read.message.encode()
    partial_success = bytes([_REJECTED]) + _varint(read.rejected) + bytes([_MESSAGE]) + _varint(len(message)) + message
    return Answer(bytes([_PARTIAL_SUCCESS]) + _varint(len(partial_success)) + partial_success, PROTOBUF)


def _varint(number: int) -> bytes:
    groups = []
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])
