"""Fields that rules share: durations, thresholds, templates, names; and what is wrong with them, in a sentence."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from aggregator.rollups.series import UsageMetric
from callmeter.durations import parse_duration_s

# What a template may say; each is a name in braces.
WORDS = (
    *("rule", "project", "severity", "group", "value", "threshold"),
    *("window", "as_of", "link", "examples"),
)
TEMPLATE_CHARACTERS_MAX = 2_000
_BRACES = re.compile(r"\{([^{}]*)\}")

SumMetric = Literal["call_count", "error_count", UsageMetric]
"""Metrics of which sums are made; of a cost in dollars."""

Dimension = Literal["op_name", "model", "wb_user_id", "wb_run_id"]


def _duration(written: object) -> object:
    if isinstance(written, str):
        return 0 if written.strip() in ("0", "0s") else parse_duration_s(written)
    if isinstance(written, bool) or written != 0:
        raise ValueError("is not a duration; write a number with a unit, like 90s, 15m or 1h")
    return written


def _window(written: object) -> object:
    window_s = _duration(written)
    if isinstance(window_s, int) and (window_s < 60 or window_s % 60):
        raise ValueError("is not a window of whole minutes, like 5m or 1h")
    return window_s


def _template(written: object) -> object:
    if isinstance(written, str):
        unknown = [word for word in _BRACES.findall(written) if word not in WORDS]
        if unknown:
            raise ValueError(f"says {{{unknown[0]}}}; there are {', '.join(f'{{{word}}}' for word in WORDS)}")
    return written


def filled(template: str, words: dict[str, str]) -> str:
    """A template with its words."""
    return _BRACES.sub(lambda found: words.get(found[1], found[0]), template)


DurationS = Annotated[int, BeforeValidator(_duration)]
WindowS = Annotated[int, BeforeValidator(_window)]
Template = Annotated[str, BeforeValidator(_template), Field(max_length=TEMPLATE_CHARACTERS_MAX)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,100}$")]
LabelName = Annotated[str, Field(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]{0,99}$")]
"""As Alertmanager takes it."""
