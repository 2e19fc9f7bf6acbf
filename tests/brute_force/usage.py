"""What one call itself used, by model: the token counts of its summary (behaviour §1, "Usage of one call")."""

import re
from decimal import Decimal
from typing import Any, NamedTuple

_DIGITS = re.compile(r"[0-9]+")
_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_COUNT_KEYS = (
    "gross_input_tokens",
    "prompt_tokens",
    "input_tokens",
    "completion_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "requests",
)


class InvalidUsage(Exception):
    """A count that is none; `field` is its key, if it has one."""

    def __init__(self, field: str | None = None) -> None:
        super().__init__(field)
        self.field = field


class Counts(NamedTuple):
    """Counts of one (call, model), none negative; input tokens as stated, with or without what came from a cache."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    requests: int


def own_usage(summary: dict[str, Any]) -> dict[str, Counts]:
    """What a summary states by model, a roll-up's too. Raises InvalidUsage."""
    usage = summary.get("usage")
    if usage is None:
        return {}
    if not isinstance(usage, dict):
        raise InvalidUsage
    return {model: _counts(stated) for model, stated in usage.items()}


def sums_up_children(status_counts: Any) -> bool:
    """Whether a summary counts more calls than one, so that its usage may repeat the children's."""
    if not isinstance(status_counts, dict):
        return False
    outcomes = [status_counts.get("success", 0), status_counts.get("error", 0)]
    if any(isinstance(outcome, bool) or not isinstance(outcome, (int, Decimal)) for outcome in outcomes):
        return False
    return sum(outcomes) > 1


def _counts(stated: Any) -> Counts:
    if not isinstance(stated, dict):
        raise InvalidUsage
    count = {key: _count(stated, key) for key in _COUNT_KEYS}
    input_tokens = count["gross_input_tokens"]
    if input_tokens is None:
        input_tokens = (count["prompt_tokens"] or 0) + (count["input_tokens"] or 0)
    output_tokens = (count["completion_tokens"] or 0) + (count["output_tokens"] or 0)
    read_in_details = _count_in_details(stated, "cached_tokens")
    creation_in_details = _count_in_details(stated, "cache_write_tokens")
    read, creation, requests = (
        count["cache_read_input_tokens"],
        count["cache_creation_input_tokens"],
        count["requests"],
    )
    return Counts(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=count["total_tokens"] or input_tokens + output_tokens,
        cache_read_input_tokens=read_in_details if read is None else read,
        cache_creation_input_tokens=creation_in_details if creation is None else creation,
        requests=1 if requests is None else requests,
    )


def _count_in_details(stated: dict[str, Any], key: str) -> int:
    """The count in the first of the details that has it, else 0; all are checked."""
    found = []
    for name in _DETAILS:
        details = stated.get(name)
        if details is None:
            continue
        if not isinstance(details, dict):
            raise InvalidUsage(name)
        found.append(_count(details, key))
    return next((count for count in found if count is not None), 0)


def _count(stated: dict[str, Any], key: str) -> int | None:
    """A whole number that is not negative; None when absent or null."""
    value = stated.get(key)
    if value is None:
        return None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, int) and value >= 0:
        return int(value)
    # As a double, so that 1e999 is the infinity that other readers of JSON see.
    if isinstance(value, Decimal) and float(value).is_integer() and value >= 0:
        return int(value)
    raise InvalidUsage(key)
