"""The JSON Schema of our events: what docs/events.md says in words, for validators and code generators.

A test holds it against the decoder. What a schema cannot say is in the descriptions: lengths in bytes, instants that
can be read, are not before 2000 and at most a day ahead of now.
"""

from typing import Any

from aggregator.calls.stated_usage import KEYS, MODEL_CHARACTERS_MAX, MODELS_OF_CALL_MAX
from ingest.decoding.shapes import KINDS
from ingest.decoding.typed import ID_BYTES_MAX, OP_NAME_BYTES_MAX

Json = dict[str, Any]

_OPTIONAL_IDS = {
    "trace_id": "The trace; absent: the call is its own trace.",
    "parent_id": "The call that made this one; absent: a root.",
    "thread_id": "A conversation.",
    "turn_id": "A turn of it.",
    "wb_user_id": "Who caused the call.",
    "wb_run_id": "The run it belongs to.",
}
_ABSENT: Json = {"type": "null"}


def event_schema() -> Json:
    """The schema of a message's value, as JSON Schema 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A message of callmeter: an event, or a batch of them",
        "anyOf": [*_shapes(), _batch()],
        "$defs": {
            "start": _object(_identity() | _start(), "project_id", "id", "op_name", "started_at"),
            "end": _object(_identity() | _end() | _of_an_old_end(), "project_id", "id", "ended_at", "summary"),
            "complete": _complete(),
            "id": _text(ID_BYTES_MAX, f"An opaque name of at most {ID_BYTES_MAX} bytes."),
            "instant": {
                "type": ["string", "number"],
                "description": "RFC 3339 (no offset means UTC), or seconds since 1970; kept to the microsecond.",
            },
            "summary": _object({"usage": _usage()}),
            "usage_of_model": _usage_of_model(),
            "count": _count(),
        },
    }


def _shapes() -> list[Json]:
    """An event as it stands alone, or in `req` beside its `mode`."""
    shapes = []
    for kind in KINDS:
        others: Json = {other: _ABSENT for other in KINDS if other != kind}
        plain: Json = {kind: {"$ref": f"#/$defs/{kind}"}}
        shapes.append(_object(plain | others | {"mode": _ABSENT, "batch": _ABSENT}, kind))
        asked = _object(plain, kind)
        req: Json = {"anyOf": [asked, {"$ref": "#/$defs/complete"}]} if kind == "complete" else asked
        alone: Json = dict.fromkeys((*KINDS, "batch"), _ABSENT)
        shapes.append(_object(alone | {"mode": {"const": kind}, "req": req}, "mode", "req"))
    return shapes


def _batch() -> Json:
    alone: Json = dict.fromkeys((*KINDS, "mode"), _ABSENT)
    return _object(alone | {"batch": {"type": "array", "items": {"anyOf": [*_shapes(), _bare()]}}}, "batch")


def _bare() -> Json:
    """A complete as it may stand in a batch."""
    alone: Json = dict.fromkeys((*KINDS, "mode", "batch"), _ABSENT)
    return {"allOf": [{"$ref": "#/$defs/complete"}, {"type": "object", "properties": alone}]}


def _complete() -> Json:
    required = ("project_id", "id", "op_name", "started_at", "ended_at", "summary")
    return _object(_identity() | _start() | _end(), *required)


def _identity() -> Json:
    return {"project_id": {"$ref": "#/$defs/id"}, "id": {"$ref": "#/$defs/id"}}


def _start() -> Json:
    optional = {
        name: {"anyOf": [{"$ref": "#/$defs/id"}, _ABSENT], "description": meaning}
        for name, meaning in _OPTIONAL_IDS.items()
    }
    return {
        "op_name": _text(OP_NAME_BYTES_MAX, "What was done; rollups are kept for each."),
        "started_at": {"$ref": "#/$defs/instant"},
        **optional,
        "inputs": {"description": "Anything; only refs in it are kept."},
    }


def _end() -> Json:
    return {
        "ended_at": {"$ref": "#/$defs/instant"},
        "summary": {"$ref": "#/$defs/summary"},
        "exception": {
            "type": ["string", "null"],
            "description": "A text that is not empty is an error; nothing else is.",
        },
        "output": {"description": "Anything; only refs in it are kept."},
    }


def _of_an_old_end() -> Json:
    """Return what an end may repeat of its start; it says nothing there."""
    return {
        "trace_id": {"anyOf": [{"$ref": "#/$defs/id"}, _ABSENT]},
        "started_at": {"anyOf": [{"$ref": "#/$defs/instant"}, _ABSENT]},
    }


def _usage() -> Json:
    return {
        "type": ["object", "null"],
        "maxProperties": MODELS_OF_CALL_MAX,
        "propertyNames": {"maxLength": MODEL_CHARACTERS_MAX},
        "additionalProperties": {"$ref": "#/$defs/usage_of_model"},
        "description": "By the model's name, what the call used of it.",
    }


def _usage_of_model() -> Json:
    count: Json = {"anyOf": [{"$ref": "#/$defs/count"}, _ABSENT]}
    keys: Json = {}
    for key, inner in KEYS.items():
        details: Json = {"type": "object", "properties": dict.fromkeys(inner, count)}
        keys[key] = {"anyOf": [details, {"not": {"type": "object"}}]} if inner else count
    return _object(keys)


def _count() -> Json:
    return {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
            {"type": "string", "pattern": "^[0-9]+$"},
            {"type": "boolean"},
        ],
        "description": 'A whole number; 12.0 and "12" are 12, true is 1.',
    }


def _object(properties: Json, *required: str) -> Json:
    return {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}


def _text(bytes_max: int, meaning: str) -> Json:
    return {"type": "string", "maxLength": bytes_max, "description": meaning}
