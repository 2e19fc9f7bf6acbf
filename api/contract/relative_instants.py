"""Instants of our own questions: RFC 3339, or relative to the moment of the question: `now`, `-15m`, `-1d12h`.

Relative instants fall on whole minutes, a start on the one before and an end on the one after. So they are answered
from rollups alone, however often they are asked, and name the same window for a minute.
"""

import re
from typing import Annotated, NamedTuple

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from aggregator.time_units import DAY_US, MINUTE_US
from api.contract.field_types import instant_us

NOW = "now"
# A century back; nothing is kept for longer, and no instant leaves the calendar.
BACK_US_MAX = 36_525 * DAY_US

_PATTERN = r"-(?=\d)(?:(\d{1,5})w)?(?:(\d{1,6})d)?(?:(\d{1,7})h)?(?:(\d{1,9})m)?"
_BACK = re.compile(_PATTERN, re.ASCII)
_UNITS_US = (7 * DAY_US, DAY_US, 60 * MINUTE_US, MINUTE_US)


class AskedInstant(NamedTuple):
    """An instant as it was asked: microseconds since 1970, or how many before now."""

    us: int
    is_relative: bool

    def as_start(self, now_us: int) -> int:
        """The instant as the start of a window, in microseconds since 1970."""
        return (now_us - self.us) // MINUTE_US * MINUTE_US if self.is_relative else self.us

    def as_end(self, now_us: int) -> int:
        """The instant as the end of a window, in microseconds since 1970."""
        return -((self.us - now_us) // MINUTE_US) * MINUTE_US if self.is_relative else self.us


MOMENT = AskedInstant(0, True)
"""The moment of the question, `now`."""


def asked_instant(value: object) -> AskedInstant:
    """Return what a request means by an instant. Raises PydanticCustomError for what is none."""
    if value == NOW:
        return MOMENT
    if isinstance(value, str) and (parts := _BACK.fullmatch(value)) is not None:
        back_us = sum(int(count or 0) * unit_us for count, unit_us in zip(parts.groups(), _UNITS_US, strict=True))
        if back_us > BACK_US_MAX:
            raise PydanticCustomError("datetime_parsing", "Input should be at most 100 years ago")
        return AskedInstant(back_us, True)
    try:
        return AskedInstant(instant_us(value), False)
    except PydanticCustomError as wrong:
        if wrong.type == "datetime_parsing" and "years" not in wrong.message():
            raise PydanticCustomError(
                "datetime_parsing",
                "Input should be an RFC 3339 date-time, 2026-03-03T00:00:00Z, or relative: now, -15m, -24h, -1d12h",
            ) from None
        raise


Instant = Annotated[
    AskedInstant,
    PlainValidator(asked_instant),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "format": "date-time"},
                {"type": "string", "pattern": f"^(now|{_PATTERN})$", "examples": [NOW, "-15m", "-24h", "-1d12h"]},
            ]
        }
    ),
]
