"""What a call's summary says about tokens: checked counts per model."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from aggregator.calls.event import UsageCounts

# Token counts are 64-bit integers everywhere else (the reference's ClickHouse too); above it, a count is a mistake.
COUNT_MAX = 2**63 - 1
# A model's name is a key of every rollup it appears in; providers' longest names (ARNs, deployments) have some 200.
MODEL_CHARACTERS_MAX = 1024
# Models of one call; each is a row of its minute and of every ancestor. A call uses one or two, a roll-up some dozens.
MODELS_OF_CALL_MAX = 1_000

_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)] | None
_Model = Annotated[str, msgspec.Meta(max_length=MODEL_CHARACTERS_MAX)]


class StatedDetails(msgspec.Struct, gc=False):
    """`prompt_tokens_details` or `input_tokens_details`."""

    cached_tokens: _Count = None
    cache_write_tokens: _Count = None


class StatedUsage(msgspec.Struct, gc=False):
    """One model's usage as the producer stated it; `None` is absent. Decodes the usual form: integers only."""

    gross_input_tokens: _Count = None
    prompt_tokens: _Count = None
    input_tokens: _Count = None
    completion_tokens: _Count = None
    output_tokens: _Count = None
    total_tokens: _Count = None
    cache_read_input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None
    requests: _Count = None
    prompt_tokens_details: StatedDetails | None = None
    input_tokens_details: StatedDetails | None = None


class StatusCounts(msgspec.Struct, gc=False):
    """How many calls below and including this one succeeded and failed, as Weave's SDK counts them."""

    success: _Count = None
    error: _Count = None


class StatedSummary(msgspec.Struct, gc=False):
    """What is read of a call's summary."""

    usage: Annotated[dict[_Model, StatedUsage], msgspec.Meta(max_length=MODELS_OF_CALL_MAX)] | None = None
    status_counts: StatusCounts | None = None


class InvalidUsage(ValueError):
    """A summary's usage cannot be counted: `field` is the key to blame, `message` a sentence on why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def own_usage(summary: Mapping[str, Any]) -> dict[str, UsageCounts]:
    """The counts that a call states by model, of a summary decoded from JSON. Raises InvalidUsage."""
    return usage_of(check_summary(summary))


def usage_of(stated: StatedSummary) -> dict[str, UsageCounts]:
    """The counts that a call states, by model; the summary may sum up the call's children (`rollup_marks` tells)."""
    if not stated.usage:
        return {}
    counts = {}
    for model, usage in stated.usage.items():
        counts[model] = _counts(usage)
    return counts


def check_summary(summary: Mapping[str, Any]) -> StatedSummary:
    """The same as decoding a StatedSummary, but counts may be text, floats or booleans. Raises InvalidUsage."""
    usage = summary.get("usage")
    if usage is None:
        return StatedSummary()
    if not isinstance(usage, Mapping):
        raise InvalidUsage("usage", "usage must be an object that maps models to their counts")
    if len(usage) > MODELS_OF_CALL_MAX:
        raise InvalidUsage("usage", f"usage has more than {MODELS_OF_CALL_MAX:,} models")
    stated = {}
    for model, stated_by_model in usage.items():
        if len(model) > MODEL_CHARACTERS_MAX:
            raise InvalidUsage("usage", f"a model's name in usage is longer than {MODEL_CHARACTERS_MAX} characters")
        if not isinstance(stated_by_model, Mapping):
            raise InvalidUsage("usage", f"usage of model {model[:100]!r} must be an object")
        stated[model] = _check_usage(stated_by_model)
    return StatedSummary(stated, _check_status_counts(summary.get("status_counts")))


def _counts(stated: StatedUsage) -> UsageCounts:
    gross = stated.gross_input_tokens
    input_tokens = (stated.prompt_tokens or 0) + (stated.input_tokens or 0) if gross is None else gross
    output_tokens = (stated.completion_tokens or 0) + (stated.output_tokens or 0)
    read = stated.cache_read_input_tokens
    creation = stated.cache_creation_input_tokens
    for details in (stated.prompt_tokens_details, stated.input_tokens_details):
        if details is not None:
            read = details.cached_tokens if read is None else read
            creation = details.cache_write_tokens if creation is None else creation
    requests = stated.requests
    total_tokens = stated.total_tokens or input_tokens + output_tokens
    requests = 1 if requests is None else requests
    # As UsageCounts(...) does, without the call in Python: half the time of this function.
    return tuple.__new__(UsageCounts, (input_tokens, output_tokens, total_tokens, read or 0, creation or 0, requests))


def _check_usage(usage: Mapping[str, Any]) -> StatedUsage:
    checked = StatedUsage()
    for field in StatedUsage.__struct_fields__:
        value = usage.get(field)
        if value is None:
            continue
        if not field.endswith("_details"):
            setattr(checked, field, _check_count(field, value))
        elif isinstance(value, Mapping):
            details = {name: _check_count(name, value.get(name)) for name in StatedDetails.__struct_fields__}
            setattr(checked, field, StatedDetails(**details))
        else:
            raise InvalidUsage(field, f"{field} must be an object")
    return checked


def _check_count(field: str, value: object) -> int | None:
    if value is None:
        return None
    count = -1
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        count = int(value)
    elif isinstance(value, str) and value.isascii() and value.isdigit():
        digits = value.lstrip("0")
        count = int(digits or 0) if len(digits) <= len(str(COUNT_MAX)) else -1
    if not 0 <= count <= COUNT_MAX:
        raise InvalidUsage(field, f"{field} must be a whole number from 0 to {COUNT_MAX}")
    return count


def _check_status_counts(status_counts: object) -> StatusCounts | None:
    """Malformed status counts are none: they only tell a roll-up apart, the usage itself is still good."""
    if not isinstance(status_counts, Mapping):
        return None
    success, error = status_counts.get("success"), status_counts.get("error")
    if any(isinstance(count, (bool, str)) for count in (success, error)):
        return None
    try:
        return StatusCounts(_check_count("success", success), _check_count("error", error))
    except InvalidUsage:
        return None
