"""A span of OpenTelemetry as it was read, in protobuf or JSON, and the complete call that it is."""

from collections.abc import Mapping
from itertools import repeat
from typing import Any, NamedTuple

import msgspec

from aggregator.calls.error_text import error_text
from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from aggregator.calls.stated_usage import COUNT_MAX, MODEL_CHARACTERS_MAX, InvalidUsage, read_counts
from ingest.decoding.invalid_event import NotAnEvent
from ingest.decoding.otlp_names import (
    KINDS,
    OPERATIONS_WITHOUT_USAGE,
    SERVICE_NAME,
    SERVICE_NAMESPACE,
    UNKNOWN_SERVICE,
    USAGE_OBJECT,
    USAGE_OBJECT_KEYS,
    UsageAttributes,
    places,
)
from ingest.decoding.typed import EARLIEST_US, ID_BYTES_MAX, OP_NAME_BYTES_MAX

Value = str | int | float | bool
Attributes = Mapping[str, Value]

_PLACES = places()
_QUANTITIES = frozenset(UsageAttributes._fields)
_INFERENCE = {kind.attribute: kind.inference for kind in KINDS}
_OPERATION = KINDS[0].attribute


class Span(NamedTuple):
    """What is read of a span. Ids in hexadecimal, "" for none; times in nanoseconds since the epoch, 0 for none."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    started_ns: int
    ended_ns: int
    failed: bool
    attributes: Attributes


class SpanProjects(NamedTuple):
    """Where a span's project comes from if it names none: what came with its message, and a setting; "" for neither."""

    named: str = ""
    default: str = ""


NO_PROJECTS = SpanProjects()


def event_of_span(span: Span, resource: Attributes, projects: SpanProjects, latest_us: int) -> Event:
    """The complete call that the span is. Raises NotAnEvent."""
    if not span.span_id:
        raise NotAnEvent("missing", "span_id", "a span must have an id of 8 bytes that are not all 0")
    said = _first_of_rows(span.attributes)
    usage = _usage(said, span.attributes)
    start = CallStart(
        _bounded(span.name, "name", OP_NAME_BYTES_MAX),
        _instant_us(span.started_ns, "start_time", latest_us),
        span.trace_id or None,
        span.parent_id or None,
        _id(said, "thread"),
        _id(said, "turn"),
        _id(said, "user"),
        model=str(said["model"])[:MODEL_CHARACTERS_MAX] if "model" in said else None,
    )
    end = CallEnd(
        _instant_us(span.ended_ns, "end_time", latest_us),
        span.failed or "error" in said,
        usage,
        (),
        bool(usage) and not _is_inference(said, span.attributes),
        error_text(str(said["error"])) if "error" in said else None,
    )
    return Event(_bounded(_project(said, resource, projects), "project", ID_BYTES_MAX), span.span_id, start, end)


def _first_of_rows(attributes: Attributes) -> dict[str, Value]:
    """Return for each row of the table the value of the first attribute that is there; of `kind` the
    attribute's name.
    """
    said: dict[str, Value] = {}
    ranks: dict[str, int] = {}
    for name, value in attributes.items():
        row, rank = _PLACES[name]
        if value != "" and rank < ranks.get(row, rank + 1):
            ranks[row] = rank
            said[row] = name if row == "kind" else value
    return said


def _project(said: Attributes, resource: Attributes, projects: SpanProjects) -> str:
    entity = said.get("entity") or resource.get("wandb.entity")
    project = said.get("project") or resource.get("wandb.project")
    if entity and project:
        return f"{entity}/{project}"
    if projects.named:
        return projects.named
    namespace, name = resource.get(SERVICE_NAMESPACE), resource.get(SERVICE_NAME)
    if namespace and name:
        return f"{namespace}/{name}"
    if projects.default:
        return projects.default
    if name and not str(name).startswith(UNKNOWN_SERVICE):
        return str(name)
    sentence = "a span needs a project: wandb.entity and wandb.project, a header, service.namespace and service.name"
    raise NotAnEvent("missing", "project", sentence)


def _usage(said: Attributes, attributes: Attributes) -> dict[str, UsageCounts]:
    """Return what the span states, by its one model; empty where it states nothing."""
    stated: Mapping[str, object] = {row: value for row, value in said.items() if row in _QUANTITIES}
    if not stated and USAGE_OBJECT in said:
        stated = _usage_object(said[USAGE_OBJECT])
    if not stated or attributes.get(_OPERATION) in OPERATIONS_WITHOUT_USAGE:
        return {}
    model = str(said.get("model", ""))
    if len(model) > MODEL_CHARACTERS_MAX:
        raise NotAnEvent("usage", "model", f"a model's name is longer than {MODEL_CHARACTERS_MAX} characters")
    try:
        return {model: _plain_counts(stated) or read_counts(stated)}
    except InvalidUsage as wrong:
        raise NotAnEvent("usage", wrong.field, wrong.message) from None


def _plain_counts(stated: Mapping[str, object]) -> UsageCounts | None:
    """Read counts where only whole numbers are stated, each for its quantity: in a tenth of the time of
    `read_counts`.
    """
    counts: list[Any] = list(map(stated.get, UsageAttributes._fields, repeat(0)))
    for count in counts:
        if type(count) is not int or not 0 <= count <= COUNT_MAX:
            return None
    input_tokens, output_tokens, total_tokens, read, creation = counts
    if stated.keys() - _QUANTITIES:
        return None
    return UsageCounts(input_tokens, output_tokens, total_tokens or input_tokens + output_tokens, read, creation, 1)


def _usage_object(text: Value) -> dict[str, object]:
    try:
        stated = msgspec.json.decode(str(text), type=dict[str, object])
    except (msgspec.DecodeError, RecursionError):
        raise NotAnEvent("usage", USAGE_OBJECT, f"{USAGE_OBJECT} must be an object in JSON") from None
    return {USAGE_OBJECT_KEYS.get(key, key): value for key, value in stated.items()}


def _is_inference(said: Attributes, attributes: Attributes) -> bool:
    kind = said.get("kind")
    return kind is not None and str(attributes[str(kind)]).lower() in _INFERENCE[str(kind)]


def _id(said: Attributes, row: str) -> str | None:
    value = said.get(row)
    return None if value is None else _bounded(str(value), row, ID_BYTES_MAX)


def _bounded(text: str, field: str, bytes_max: int) -> str:
    if len(text) * 4 > bytes_max and len(text.encode()) > bytes_max:
        raise NotAnEvent("id_length", field, f"{field} must not be longer than {bytes_max} bytes")
    return text


def _instant_us(instant_ns: int, field: str, latest_us: int) -> int:
    if instant_ns <= 0:
        raise NotAnEvent("missing", field, f"a span must have a {field}")
    instant_us = instant_ns // 1_000
    if instant_us < EARLIEST_US:
        raise NotAnEvent("time_range", field, f"{field} must not be before 2000-01-01")
    if instant_us > latest_us:
        raise NotAnEvent("time_range", field, f"{field} must not be more than a day ahead of the broker's clock")
    return instant_us
