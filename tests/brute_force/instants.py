"""Instants as integer microseconds since 1970-01-01T00:00Z, read from and written as text."""

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_FLOOR, Decimal

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d+))?)?(?:[Zz]|([+-])(\d\d):(\d\d))?", re.ASCII
)


def from_text(text: str) -> int:
    """The instant of an RFC 3339 text; no offset means UTC, no seconds 0, digits past the microsecond are cut.

    Raises ValueError for anything else (a date without time, a leap second, an offset without colon).
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(f"not an RFC 3339 instant: {text!r}")
    *date_and_time, fraction, sign, offset_hours, offset_minutes = match.groups()
    year, month, day, hour, minute, second = (int(number or 0) for number in date_and_time)
    offset = 0
    if sign is not None:
        if int(offset_hours) > 23 or int(offset_minutes) > 59:
            raise ValueError(f"no such offset: {text!r}")
        offset = (int(offset_hours) * 60 + int(offset_minutes)) * (-60 if sign == "-" else 60)
    wall_clock = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    microsecond = int(((fraction or "") + "000000")[:6])
    return from_datetime(wall_clock) + microsecond - offset * SECOND_US


def from_epoch_seconds(seconds: int | Decimal) -> int:
    """The instant of a number of seconds since 1970, digits past the microsecond cut."""
    return int((Decimal(seconds) * SECOND_US).to_integral_value(ROUND_FLOOR))


def from_datetime(moment: datetime) -> int:
    """The instant of a datetime; a naive one is taken as UTC."""
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) // timedelta(microseconds=1)


def to_text(instant_us: int, offset_s: int = 0) -> str:
    """ISO 8601 with an offset, as the wall clock at that offset shows it."""
    zone = timezone(timedelta(seconds=offset_s))
    return (EPOCH + timedelta(microseconds=instant_us)).astimezone(zone).isoformat()
