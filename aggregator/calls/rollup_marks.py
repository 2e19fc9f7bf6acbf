"""The marks by which producers show that a call's usage may repeat what the calls below it used.

Weave's Python SDK counts in `summary.status_counts` how many calls a summary sums up; its TypeScript SDK adds the usage
of children to every call and names itself in the attributes of the start. A mark only says that a call *may* be such a
roll-up: what is left of its usage beside its children's is decided where calls are folded.
"""

import msgspec

from aggregator.calls.stated_usage import StatusCounts

# What the TypeScript SDK writes as `attributes.weave.source`.
JS_SDK = "js-sdk"
_JS_SDK_JSON = msgspec.json.encode(JS_SDK)


class WeaveAttributes(msgspec.Struct, gc=False):
    """What is read of the attributes that Weave's SDKs write about themselves."""

    source: msgspec.Raw = msgspec.Raw(b"")


class Attributes(msgspec.Struct, gc=False):
    """What is read of a start's attributes; all else in them is skipped."""

    weave: WeaveAttributes | None = None


def is_from_js_sdk(attributes: Attributes | None) -> bool:
    """Whether a start was written by Weave's TypeScript SDK."""
    if attributes is None or attributes.weave is None:
        return False
    source = bytes(attributes.weave.source)
    if source == _JS_SDK_JSON:
        return True
    # Another spelling of the same text has escapes in it.
    return source[:1] == b'"' and b"\\" in source and bool(msgspec.json.decode(source) == JS_SDK)


def is_any_from_js_sdk(attributes: bytes) -> bool:
    """The same of attributes of any type, as JSON: those that are not what SDKs write say nothing."""
    try:
        return is_from_js_sdk(msgspec.json.decode(attributes, type=Attributes | None))
    except msgspec.ValidationError:
        return False


def sums_up_calls(status_counts: StatusCounts | None) -> bool:
    """Whether a summary counts more than its own call."""
    return status_counts is not None and (status_counts.success or 0) + (status_counts.error or 0) > 1
