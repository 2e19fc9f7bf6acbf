"""What is read of attributes: the marks that a call's usage may repeat that of calls below it, and a model's name.

Weave's Python SDK counts in `summary.status_counts` how many calls a summary sums up; its TypeScript SDK adds the usage
of children to every call and names itself in the attributes of the start. A mark only says that a call *may* be such a
roll-up: what is left of its usage beside its children's is decided where calls are folded.
"""

import msgspec

from aggregator.calls.stated_usage import MODEL_CHARACTERS_MAX, StatusCounts

# What the TypeScript SDK writes as `attributes.weave.source`.
JS_SDK = "js-sdk"
_ABSENT = msgspec.Raw(b"")
_JS_SDK_JSON = msgspec.json.encode(JS_SDK)


class WeaveAttributes(msgspec.Struct, gc=False):
    """What is read of the attributes that Weave's SDKs write about themselves."""

    source: msgspec.Raw = msgspec.Raw(b"")


class Attributes(msgspec.Struct, gc=False):
    """What is read of a start's attributes; all else in them is skipped."""

    weave: WeaveAttributes | None = None
    request_model: msgspec.Raw = msgspec.field(default=_ABSENT, name="gen_ai.request.model")
    llm_model: msgspec.Raw = msgspec.field(default=_ABSENT, name="llm.model_name")
    model: msgspec.Raw = _ABSENT
    model_name: msgspec.Raw = _ABSENT


def is_from_js_sdk(attributes: Attributes | None) -> bool:
    """Whether a start was written by Weave's TypeScript SDK."""
    if attributes is None or attributes.weave is None:
        return False
    source = bytes(attributes.weave.source)
    if source == _JS_SDK_JSON:
        return True
    # Another spelling of the same text has escapes in it.
    return source[:1] == b'"' and b"\\" in source and bool(msgspec.json.decode(source) == JS_SDK)


def model_named(attributes: Attributes | None) -> str | None:
    """The model that a start names in its attributes; None for none, and for what can be no model's name."""
    if attributes is None:
        return None
    for said in (attributes.request_model, attributes.llm_model, attributes.model, attributes.model_name):
        if said is not _ABSENT and bytes(said)[:1] == b'"':
            name: str = msgspec.json.decode(said)
            if 0 < len(name) <= MODEL_CHARACTERS_MAX:
                return name
    return None


def any_attributes(attributes: bytes) -> Attributes | None:
    """Attributes of any type, as JSON: those that are not what SDKs write say nothing."""
    try:
        return msgspec.json.decode(attributes, type=Attributes | None)
    except msgspec.ValidationError:
        return None


def sums_up_calls(status_counts: StatusCounts | None) -> bool:
    """Whether a summary counts more than its own call."""
    return status_counts is not None and (status_counts.success or 0) + (status_counts.error or 0) > 1
