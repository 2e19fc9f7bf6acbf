"""What a call's summary says about tokens: checked counts per model."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any

import msgspec
from msgspec.structs import astuple

from aggregator.calls.event import UsageCounts
from aggregator.calls.usage_names import TOKEN_QUANTITIES, USAGE_NAMES

# Token counts are 64-bit integers everywhere else (the reference's ClickHouse too); above it, a count is a mistake.
COUNT_MAX = 2**63 - 1
# A model's name is a key of every rollup it appears in; providers' longest names (ARNs, deployments) have some 200.
MODEL_CHARACTERS_MAX = 1024
# Models of one call; each is a row of its minute and of every ancestor, of which there may be ten thousand. A call uses
# one or two, a roll-up some dozens.
MODELS_OF_CALL_MAX = 100

_Count = Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)] | None
_Model = Annotated[str, msgspec.Meta(max_length=MODEL_CHARACTERS_MAX)]

# The keys that most producers write, in the order in which `_counts` takes them.
_USUAL = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "requests",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "gross_input_tokens",
    "prompt_tokens_details",
    "input_tokens_details",
    "cache_creation",
)


def _keys() -> dict[str, list[str]]:
    """All keys of the table of names, the usual ones first, each with the keys that are read of the object under it."""
    keys: dict[str, list[str]] = {key: [] for key in _USUAL}
    for groups in USAGE_NAMES:
        for name in (name for group in groups for name in group):
            key, _, inner = name.partition(".")
            keys.setdefault(key, []).extend([inner] if inner else [])
    return keys


def _struct_of(name: str, keys: list[str]) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, [(key, _Count, None) for key in keys], gc=False, module=__name__)


KEYS = _keys()
"""What is read of a model's usage: its keys, and of those that hold objects the keys in them."""

_Usage: Any = msgspec.defstruct(
    "_Usage",
    [
        # A list under a key that should hold an object (Gemini's modalities) says nothing.
        (key, _struct_of(key, inner) | list[msgspec.Raw] | None if inner else _Count, None)
        for key, inner in KEYS.items()
    ],
    gc=False,
    module=__name__,
)
"""One model's usage as the producer stated it; `None` is absent. Decodes the usual form: integers only."""

_PLACES = {
    name: (quantity, rank)
    for quantity, groups in zip(USAGE_NAMES._fields, USAGE_NAMES, strict=True)
    for rank, group in enumerate(groups)
    for name in group
}
"""Of each name, its quantity and the rank of its group."""

_USUAL_KEYS = len(_USUAL)
_NOTHING_UNUSUAL = (None,) * (len(KEYS) - _USUAL_KEYS)


class StatusCounts(msgspec.Struct, gc=False):
    """How many calls below and including this one succeeded and failed, as Weave's SDK counts them."""

    success: _Count = None
    error: _Count = None


class StatedSummary(msgspec.Struct, gc=False):
    """What is read of a call's summary."""

    usage: Annotated[dict[_Model, _Usage], msgspec.Meta(max_length=MODELS_OF_CALL_MAX)] | None = None
    status_counts: StatusCounts | None = None


class InvalidUsage(ValueError):
    """A summary's usage cannot be counted: `field` is the key to blame, `message` a sentence on why."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def own_usage(summary: Mapping[str, Any]) -> dict[str, UsageCounts]:
    """The counts that a call states by model, of a summary decoded from JSON: they may be text, floats or booleans.

    Raises InvalidUsage.
    """
    usage = summary.get("usage")
    if usage is None:
        return {}
    if not isinstance(usage, Mapping):
        raise InvalidUsage("usage", "usage must be an object that maps models to their counts")
    if len(usage) > MODELS_OF_CALL_MAX:
        raise InvalidUsage("usage", f"usage has more than {MODELS_OF_CALL_MAX:,} models")
    counts = {}
    for model, stated in usage.items():
        if len(model) > MODEL_CHARACTERS_MAX:
            raise InvalidUsage("usage", f"a model's name in usage is longer than {MODEL_CHARACTERS_MAX} characters")
        if not isinstance(stated, Mapping):
            raise InvalidUsage("usage", f"usage of model {model[:100]!r} must be an object")
        counts[model] = read_counts(stated)
    return counts


def usage_of(stated: StatedSummary) -> dict[str, UsageCounts]:
    """The counts that a call states, by model; the summary may sum up the call's children (`rollup_marks` tells)."""
    if not stated.usage:
        return {}
    counts = {}
    for model, usage in stated.usage.items():
        counts[model] = _counts(usage)
    return counts


def read_counts(stated: Mapping[str, Any]) -> UsageCounts:
    """The counts of one model's usage, an object of JSON under any of the names in the table.

    Whole floats, digits and booleans are counts too. Only what decides is checked. Raises InvalidUsage.
    """
    return _decide(_names_in(stated))


def _names_in(stated: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The names that are there, with what is stated under them."""
    for key, inner in KEYS.items():
        value = stated.get(key)
        if value is not None and not inner:
            yield key, value
        elif isinstance(value, Mapping):
            for inner_key in inner:
                if value.get(inner_key) is not None:
                    yield f"{key}.{inner_key}", value[inner_key]


def _counts(stated: Any) -> UsageCounts:
    """Read the counts of what was decoded as `_Usage`."""
    values = astuple(stated)
    if values[_USUAL_KEYS:] != _NOTHING_UNUSUAL:
        return _decide(_names_of(values))
    prompt, completion, total, requests, net, output, read, creation, gross, of_prompt, of_input, created = values[
        :_USUAL_KEYS
    ]
    input_tokens = (prompt or 0) + (net or 0) if gross is None else gross
    output_tokens = (completion or 0) + (output or 0)
    if not (input_tokens or output_tokens):
        return _decide(_names_of(values))
    kept_1h = 0
    if of_prompt is not None and type(of_prompt) is not list:
        read = of_prompt.cached_tokens if read is None else read
        creation = of_prompt.cache_write_tokens if creation is None else creation
    if of_input is not None and type(of_input) is not list:
        read = of_input.cached_tokens if read is None else read
        creation = of_input.cache_write_tokens if creation is None else creation
    if created is not None and type(created) is not list:
        kept_1h = created.ephemeral_1h_input_tokens or 0
    total = total or input_tokens + output_tokens
    requests = 1 if requests is None else requests
    # As UsageCounts(...) does, without the call in Python: half the time of this function.
    counts = (input_tokens, output_tokens, total, read or 0, creation or 0, requests, kept_1h, True)
    return tuple.__new__(UsageCounts, counts)


def _names_of(values: tuple[Any, ...]) -> Iterator[tuple[str, object]]:
    """Return the names that are there, of the values of what was decoded as `_Usage`."""
    for (key, inner), value in zip(KEYS.items(), values, strict=True):
        if value is None or type(value) is list:
            continue
        if not inner:
            yield key, value
            continue
        for inner_key, count in zip(inner, astuple(value), strict=True):
            if count is not None:
                yield f"{key}.{inner_key}", count


def _decide(stated: Iterable[tuple[str, object]]) -> UsageCounts:
    """The counts of a usage, of the names that are there. Raises InvalidUsage."""
    deciding: dict[str, tuple[int, list[tuple[str, object]]]] = {}
    for name, value in stated:
        quantity, rank = _PLACES[name]
        known = deciding.get(quantity)
        if known is None or rank < known[0]:
            deciding[quantity] = rank, [(name, value)]
        elif rank == known[0]:
            known[1].append((name, value))
    found = {
        quantity: sum(_check_count(name.rpartition(".")[2], value) for name, value in names)
        for quantity, (_, names) in deciding.items()
    }
    input_tokens = found.get("input_tokens", 0)
    output_tokens = found.get("output_tokens", 0) + found.get("thoughts_tokens", 0)
    return UsageCounts(
        input_tokens,
        output_tokens,
        found.get("total_tokens", 0) or input_tokens + output_tokens,
        found.get("cache_read_input_tokens", 0),
        found.get("cache_creation_input_tokens", 0),
        found.get("requests", 1),
        found.get("cache_creation_1h_input_tokens", 0),
        not found.keys().isdisjoint(TOKEN_QUANTITIES),
    )


def _check_count(field: str, value: object) -> int:
    count = -1
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        count = int(value)
    elif isinstance(value, str) and value.isascii() and value.isdigit():
        digits = value.lstrip("0")
        count = int(digits or 0) if len(digits) <= len(str(COUNT_MAX)) else -1
    if not 0 <= count <= COUNT_MAX:
        raise InvalidUsage(field, f"{field} must be a whole number from 0 to {COUNT_MAX}")
    return count


def check_status_counts(status_counts: object) -> StatusCounts | None:
    """Malformed status counts are none: they only tell a roll-up apart, the usage itself is still good."""
    if not isinstance(status_counts, Mapping):
        return None
    success, error = status_counts.get("success"), status_counts.get("error")
    if any(isinstance(count, (bool, str)) for count in (success, error)):
        return None
    try:
        return StatusCounts(*(None if count is None else _check_count("status", count) for count in (success, error)))
    except InvalidUsage:
        return None
