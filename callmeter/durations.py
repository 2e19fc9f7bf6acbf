"""How long, as people write it (`90s`, `15m`, `7d`, `1d12h`), to whole seconds and back."""

import re

from aggregator.time_units import DAY_S, HOUR_S, MINUTE_S

UNIT_S = {"w": 7 * DAY_S, "d": DAY_S, "h": HOUR_S, "m": MINUTE_S, "s": 1}
# Beyond a century a duration is a typing error, and it would leave the range of dates.
DURATION_S_MAX = 36_525 * DAY_S

_PART = re.compile(r"(\d+)\s*([wdhms])")
_WHOLE = re.compile(rf"(?:{_PART.pattern}\s*)+")


def parse_duration_s(text: str) -> int:
    """Seconds of a duration like `90s`, `15m`, `7d`, `2w` or `1d12h`.

    Raises ValueError with a sentence's end ("is not a duration; ...") for anything else, a bare number included:
    nobody should have to guess its unit.
    """
    written = text.strip().lower()
    if not _WHOLE.fullmatch(written):
        raise ValueError("is not a duration; write a number with a unit, like 90s, 15m, 12h, 7d or 2w")
    duration_s = sum(int(count) * UNIT_S[unit] for count, unit in _PART.findall(written))
    if not 0 < duration_s <= DURATION_S_MAX:
        raise ValueError("is out of range; a duration is between 1s and 100 years")
    return duration_s


def format_duration(duration_s: int) -> str:
    """The shortest text that `parse_duration_s` reads as the same, in one unit: 86400 is `1d`, 5400 is `90m`.

    Weeks are left out: `400d` and `30d` compare at a glance.
    """
    for unit in ("d", "h", "m"):
        if duration_s % UNIT_S[unit] == 0:
            return f"{duration_s // UNIT_S[unit]}{unit}"
    return f"{duration_s}s"
