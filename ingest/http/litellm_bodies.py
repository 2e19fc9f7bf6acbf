"""What LiteLLM's generic API logger sends (`StandardLoggingPayload`), as events; a payload is one attempt of a call.

Attempts of one request share its trace: retries and fallbacks are counted apart, and found together. The cost that
LiteLLM states goes along as an attribute, which nothing counts.
"""

from typing import Any

import msgspec

from ingest.http.json_items import items_of
from ingest.http.weave_bodies import BadElement, NoBody, ReadBody, SentEvent

_Object = dict[str, Any]
# In any spelling in which numbers of tokens count; the worker checks it.
_Count = int | float | bool | str | None


class _Metadata(msgspec.Struct):
    usage_object: _Object | None = None
    user_api_key_user_id: str | None = None
    user_api_key_end_user_id: str | None = None


class _Payload(msgspec.Struct):
    id: str
    call_type: str
    startTime: float  # noqa: N815  # LiteLLM's names
    endTime: float  # noqa: N815
    status: str = ""
    model: str | None = None
    trace_id: str | None = None
    session_id: str | None = None
    end_user: str | None = None
    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    total_tokens: _Count = None
    response_cost: float | None = None
    error_str: str | None = None
    metadata: _Metadata | None = None


_payload = msgspec.json.Decoder(_Payload).decode
_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode
_WRONG = (msgspec.DecodeError, ValueError, RecursionError)


def read_payloads(body: bytes, project_id: str) -> ReadBody:
    """The events of a JSON array, of lines of JSON, or of one object. Raises NoBody for what is none of these."""
    read = ReadBody([], [])
    for position, element in enumerate(_elements(body)):
        try:
            element.decode()
            read.events.append(SentEvent(project_id, _encode({"complete": _complete(_payload(element), project_id)})))
        except _WRONG as wrong:
            read.bad.append(BadElement(position, element, f"no payload of LiteLLM: {wrong}"))
    return read


def _elements(body: bytes) -> list[bytes]:
    text = body.strip()
    try:
        if text.startswith(b"["):
            return items_of(text, _raws)
    except _WRONG as wrong:
        raise NoBody(f"The body must be a JSON array, lines of JSON, or one object: {wrong}") from None
    if not text.startswith(b"{"):
        raise NoBody("The body must be a JSON array, lines of JSON, or one object.")
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except _WRONG:
        return [line for line in text.splitlines() if line.strip()]
    return [text]


def _complete(payload: _Payload, project_id: str) -> _Object:
    metadata = payload.metadata or _Metadata()
    failed = payload.status == "failure" or bool(payload.error_str)
    user = payload.end_user or metadata.user_api_key_end_user_id or metadata.user_api_key_user_id
    fields: _Object = {
        "project_id": project_id,
        "id": payload.id,
        "op_name": payload.call_type,
        "started_at": payload.startTime,
        "ended_at": payload.endTime,
        "trace_id": payload.trace_id or None,
        "thread_id": payload.session_id or None,
        "wb_user_id": user or None,
        "exception": (payload.error_str or "failure") if failed else None,
        "summary": {"usage": _usage(payload, metadata.usage_object)},
    }
    if payload.response_cost:
        fields["attributes"] = {"litellm": {"response_cost": payload.response_cost}}
    return fields


def _usage(payload: _Payload, usage_object: _Object | None) -> _Object:
    """Return usage by model; nothing of an attempt that used nothing, such as one that failed."""
    counted = {
        "prompt_tokens": payload.prompt_tokens,
        "completion_tokens": payload.completion_tokens,
        "total_tokens": payload.total_tokens,
    }
    stated = usage_object or (counted if any(counted.values()) else None)
    return {payload.model or "": stated} if stated else {}
