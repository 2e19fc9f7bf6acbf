"""What one call itself used, by model: the token counts of its summary (behaviour §1, "Usage of one call")."""

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

_DIGITS = re.compile(r"[0-9]+")
_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")

# "Per (call, model), the first name that is there": of each quantity what is added up, first of all what decides first.
_Path = tuple[str, ...]


def _in_details(key: str) -> list[list[_Path]]:
    return [[(details, key)] for details in _DETAILS]


_INPUT: list[list[_Path]] = [
    [("gross_input_tokens",)],
    [("prompt_tokens",), ("input_tokens",)],
    [("inputTokens",)],
    [("promptTokens",)],
    [("prompt_token_count",)],
    [("input",)],
    [("billed_units", "input_tokens")],
    [("tokens", "input_tokens")],
]
_OUTPUT: list[list[_Path]] = [
    [("completion_tokens",), ("output_tokens",)],
    [("outputTokens",)],
    [("completionTokens",)],
    [("candidates_token_count",)],
    [("output",)],
    [("billed_units", "output_tokens")],
    [("tokens", "output_tokens")],
]
_THOUGHTS: list[list[_Path]] = [[("thoughts_tokens",)], [("thoughts_token_count",)]]
_TOTAL: list[list[_Path]] = [[("total_tokens",)], [("totalTokens",)], [("total_token_count",)]]
_CACHE_READ: list[list[_Path]] = [
    [("cache_read_input_tokens",)],
    *_in_details("cached_tokens"),
    [("cached_tokens",)],
    [("cacheReadInputTokens",)],
    [("cachedInputTokens",)],
    [("cached_content_token_count",)],
]
_CACHE_CREATION: list[list[_Path]] = [
    [("cache_creation_input_tokens",)],
    *_in_details("cache_write_tokens"),
    [("cacheWriteInputTokens",)],
]
_REQUESTS: list[list[_Path]] = [[("requests",)]]
_KEPT_1H: list[list[_Path]] = [[("cache_creation", "ephemeral_1h_input_tokens")]]


class InvalidUsage(Exception):
    """A count that is none; `field` is its key, if it has one."""

    def __init__(self, field: str | None = None) -> None:
        super().__init__(field)
        self.field = field


COUNTED = 7  # of the counts, those that add up: the six that answers show, and tokens kept for an hour


class Counts(NamedTuple):
    """Counts of one (call, model), none negative; input tokens as stated, with or without what came from a cache."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    requests: int
    cache_creation_1h_input_tokens: int = 0
    is_read: bool = True
    """Whether any token count was found; else it costs an unknown amount."""

    def less(self, below: Sequence[int]) -> "Counts":
        """Returns what is left of these without what is counted below, each by itself and never below 0."""
        left = [max(mine - theirs, 0) for mine, theirs in zip(self[:COUNTED], below, strict=True)]
        left[-1] = min(left[-1], left[4])  # tokens kept for an hour are a part of the cache creation
        return Counts._make([*left, self.is_read])


def own_usage(summary: dict[str, Any]) -> dict[str, Counts]:
    """Returns what a summary states by model, a roll-up's too. Raises InvalidUsage."""
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
    given, generated, thoughts, total, read, creation = (
        _first_there(stated, groups) for groups in (_INPUT, _OUTPUT, _THOUGHTS, _TOTAL, _CACHE_READ, _CACHE_CREATION)
    )
    requests = _first_there(stated, _REQUESTS)
    input_tokens, output_tokens = given or 0, (generated or 0) + (thoughts or 0)
    return Counts(
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        total_tokens=total or input_tokens + output_tokens,
        cache_read_input_tokens=read or 0,
        cache_creation_input_tokens=creation or 0,
        requests=1 if requests is None else requests,
        cache_creation_1h_input_tokens=_first_there(stated, _KEPT_1H) or 0,
        is_read=any(count is not None for count in (given, generated, thoughts, total, read, creation)),
    )


def _first_there(stated: dict[str, Any], groups: list[list[_Path]]) -> int | None:
    """The sum of the first group of which anything is there; the others are not looked at."""
    for group in groups:
        counts = [_count(value, path[-1]) for path in group if (value := _value(stated, path)) is not None]
        if counts:
            return sum(counts)
    return None


def _value(stated: Any, path: _Path) -> Any:
    """Reads one value of a summary; None too where what should hold it is no object."""
    for key in path:
        stated = stated.get(key) if isinstance(stated, dict) else None
    return stated


def _count(value: Any, key: str) -> int:
    """A whole number that is not negative."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    if isinstance(value, int) and value >= 0:
        return int(value)
    # As a double, so that 1e999 is the infinity that other readers of JSON see.
    if isinstance(value, Decimal) and float(value).is_integer() and value >= 0:
        return int(value)
    raise InvalidUsage(key)
