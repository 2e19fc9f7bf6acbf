"""What Weave's clients send, as events: each small, of its own message, without the texts of inputs and outputs.

Of `inputs` and `output` only the refs in them are passed on, of `attributes` only what says which SDK wrote the call,
and the model that they name.
All else goes on as it came, and the worker checks it.
"""

from typing import Annotated, NamedTuple, TypeVar

import msgspec

from aggregator.calls.rollup_marks import any_attributes, is_from_js_sdk, model_named
from ingest.decoding.event_json import attributes_json
from ingest.decoding.json_repair import readable_json
from ingest.decoding.refs import refs_in
from ingest.http.json_items import items_of

# A body of 31 MiB can hold some 100,000 small calls; SDKs send a thousand.
EVENTS_OF_BODY_MAX = 100_000

_Fields = dict[str, msgspec.Raw]
_Decoded = TypeVar("_Decoded")
_DROPPED = ("otel_dump", "display_name")


class SentEvent(NamedTuple):
    """An event, as a message's value; `project_id` is whose it is."""

    project_id: str
    value: bytes


class BadElement(NamedTuple):
    """What in a body is no event: its place in the batch, None outside one, and why."""

    position: int | None
    value: bytes
    reason: str


class ReadBody(NamedTuple):
    """What a body holds."""

    events: list[SentEvent]
    bad: list[BadElement]


class NoBody(ValueError):
    """The body is not what the route takes; the message is a sentence."""


class _Batch(msgspec.Struct):
    batch: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=EVENTS_OF_BODY_MAX)]


class _Request(msgspec.Struct):
    start: _Fields | None = None
    end: _Fields | None = None
    complete: _Fields | None = None


class _Element(_Request):
    mode: str | None = None
    req: _Request | None = None


class _RequestedFields(msgspec.Struct):
    req: _Fields


_batch = msgspec.json.Decoder(_Batch)
_element = msgspec.json.Decoder(_Element)
_fields = msgspec.json.Decoder(_Fields)
_requested_fields = msgspec.json.Decoder(_RequestedFields)
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode

_WRONG = (msgspec.DecodeError, ValueError, RecursionError)


def read_batch(body: bytes, bare: bool) -> ReadBody:
    """The events of `{"batch": [...]}`. Raises NoBody where there is no such list.

    `bare`: whether most are completes by themselves, which are looked for first; else events with their kind.
    """
    try:
        elements = items_of(body, lambda text: _batch.decode(text).batch)
    except _WRONG as wrong:
        raise NoBody(f"The body must be JSON with a list `batch`: {wrong}") from None
    read = ReadBody([], [])
    for position, element in enumerate(elements):
        _read(read, element, position, bare)
    return read


def read_single(body: bytes) -> ReadBody:
    """The event of `{"start": {...}}` or `{"end": {...}}`. Raises NoBody for a body that is no JSON."""
    read = ReadBody([], [])
    _read(read, body, None, False)
    if read.bad and not _is_json(body):
        raise NoBody(f"The body must be JSON: {read.bad[0].reason}")
    return read


def _read(read: ReadBody, element: bytes, position: int | None, bare: bool) -> None:
    try:
        element.decode()
        read.events.append(_sent(*_kind_and_fields(element, position is not None, bare)))
    except _WRONG as wrong:
        read.bad.append(BadElement(position, element, str(wrong)))


def _kind_and_fields(text: bytes, in_batch: bool, bare: bool) -> tuple[str, _Fields]:
    """Return the kind of an event and its fields, which may come in any of the shapes of a message."""
    if bare and _are_of_call(fields := _decoded(_fields, text)):
        return "complete", fields
    element = _decoded(_element, text)
    request = element if element.req is None else element.req
    named = [("start", request.start), ("end", request.end), ("complete", request.complete)]
    given = [(kind, fields) for kind, fields in named if fields is not None]
    if not given and (complete := _bare_complete(text, element, in_batch)) is not None:
        return "complete", complete
    if len(given) != 1 or element.mode not in (None, given[0][0]):
        raise ValueError("an event is a start, an end or a complete")
    return given[0]


def _bare_complete(text: bytes, element: _Element, in_batch: bool) -> _Fields | None:
    """The fields of a complete that stands by itself, in a batch or as the request of its mode; None: it is none."""
    if element.mode == "complete" and element.req is not None:
        fields = _decoded(_requested_fields, text).req
    elif in_batch and element.mode is None and element.req is None:
        fields = _decoded(_fields, text)
    else:
        return None
    return fields if _are_of_call(fields) else None


def _are_of_call(fields: _Fields) -> bool:
    return "project_id" in fields or "id" in fields


def _sent(kind: str, fields: _Fields) -> SentEvent:
    """The event without what is not passed on. Raises ValueError without a project, or with refs beyond the limits."""
    if "project_id" not in fields or "id" not in fields:
        raise ValueError("project_id and id are required")
    for name in ("inputs", "output"):
        if (value := fields.pop(name, None)) is not None and (refs := refs_in(value)):
            fields[name] = msgspec.Raw(_encode(refs))
    if (attributes := fields.pop("attributes", None)) is not None:
        read = any_attributes(attributes)
        if said := attributes_json(is_from_js_sdk(read), model_named(read)):
            fields["attributes"] = msgspec.Raw(_encode(said))
    for name in _DROPPED:
        fields.pop(name, None)
    return SentEvent(_text.decode(fields["project_id"]), _encode({kind: fields}))


def _decoded(decoder: "msgspec.json.Decoder[_Decoded]", text: bytes) -> _Decoded:
    """Decode JSON as msgspec reads it, or, where it cannot, as the worker makes it readable. Raises what
    _WRONG names.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError):
        return decoder.decode(readable_json(text))


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except _WRONG:
        return False
    return True
