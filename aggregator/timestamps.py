"""Instants as integer microseconds since 1970-01-01T00:00Z: read from what producers write, written as ISO 8601."""

import re
from datetime import UTC, date, datetime, timedelta

MINUTE_US = 60_000_000
DAY_US = 86_400_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(1970, 1, 1).toordinal()

# RFC 3339 `date-time`, its separators in either case or a space, its offset optional (then UTC); no second 60.
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))?",
    re.ASCII,
)


def parse_timestamp_us(value: str | int | float) -> int:
    """The instant in microseconds since 1970-01-01T00:00Z.

    Text is RFC 3339, a missing offset means UTC. A number is seconds since 1970. Digits past the microsecond are cut.
    Raises ValueError for anything else: a date without time, a leap second, 24:00, an offset without colon, a
    boolean, a number that is not finite.
    """
    if isinstance(value, str):
        return _parse_text_us(value)
    if isinstance(value, bool):
        raise ValueError("a boolean is no timestamp")
    if isinstance(value, int):
        return value * 1_000_000
    try:
        instant_us = round(value * 1e6)
    except OverflowError:
        raise ValueError("a timestamp must be finite") from None
    # A double is seldom the decimal that was meant, so it is not cut itself: the microseconds whose own nearest double
    # it is, or exceeds, are. This gives back the six digits of any instant until 2255.
    return instant_us - 1 if instant_us / 1e6 > value else instant_us


def _parse_text_us(text: str) -> int:
    # The two forms nearly all producers write: all six digits, then Z or an offset. The standard library's parser is
    # fast but takes more than RFC 3339 (minutes over 59 in an offset), so the shape is checked first.
    size = len(text)
    if text[4:17:3] == "--T::" and (
        (size == 27 and text[19:27:7] == ".Z")
        or (size == 32 and text[19:30:10] == ".:" and text[26] in "+-" and text[30] < "6")
    ):
        try:
            since = datetime.fromisoformat(text) - _EPOCH
        except (ValueError, OverflowError):
            return _parse_any_us(text)
        # A whole second may have been written as 24:00, which some versions take.
        if since.microseconds:
            return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    return _parse_any_us(text)


def _parse_any_us(text: str) -> int:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError("not an RFC 3339 timestamp")
    day, hour, minute, second, fraction, sign, offset_hour, offset_minute = match.groups()
    days = date.fromisoformat(day).toordinal() - _EPOCH_DAY
    minutes = int(hour) * 60 + int(minute)
    if sign is not None:
        offset = int(offset_hour) * 60 + int(offset_minute)
        minutes += offset if sign == "-" else -offset
    fraction_us = int(fraction[:6].ljust(6, "0")) if fraction else 0
    return days * DAY_US + minutes * MINUTE_US + int(second) * 1_000_000 + fraction_us


def format_utc(instant_us: int) -> str:
    """ISO 8601 in UTC with `Z`; the six digits of the fraction are left out when all are 0.

    Raises OverflowError outside the years 1 to 9999.
    """
    return (_EPOCH + timedelta(microseconds=instant_us)).isoformat().replace("+00:00", "Z")
