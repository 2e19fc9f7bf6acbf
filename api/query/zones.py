"""Time zones: by name, and as spans of time in which their offset from UTC stands still."""

from datetime import datetime
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from aggregator.time_units import DAY_S

# Calendar and weekdays repeat after 400 years, and so does every rule of a zone. A 400th of that is the length of
# one stretch of remembered jumps.
_STRETCH_S = 31_556_952
_STRETCHES_OF_CYCLE = 400

# No zone has a jump before the 19th century; by the 22nd, all that is not a yearly rule has run out.
_FIRST_STRETCH = 1800 - 1970
_LAST_STRETCH = 2500 - 1970

# Probes further apart could miss a jump and the one back. The closest two of any zone are a week apart (Boa Vista
# in 2000, Gaza in 2040); tests/test_buckets.py looks at all of them.
_PROBE_S = 2 * DAY_S

# A few hundred bytes each: a year of one zone. Enough for 50 years in every zone there is.
_STRETCHES_KEPT_MAX = 32_768


class UnknownZone(ValueError):
    """A name that the IANA time zone database does not have."""


class OffsetSpan(NamedTuple):
    """The zone's clock is `offset_s` ahead of UTC from `since_s` up to, not at, `until_s` (seconds since 1970, UTC)."""

    since_s: int
    until_s: int
    offset_s: int


def load_zone(name: str) -> ZoneInfo:
    """The zone of this exact IANA name, else UnknownZone.

    Read from the `tzdata` package, never from the machine: every replica then cuts the same buckets, whatever its
    base image has installed, and names that only a machine has (`localtime`, `posixrules`, paths) stay unknown.
    """
    if name not in zone_names():
        raise UnknownZone(f"{name!r} is not a time zone of the IANA database")
    return _read_zone(name)


@cache
def zone_names() -> frozenset[str]:
    """All names that `load_zone` knows."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="ascii").split())


@cache
def _read_zone(name: str) -> ZoneInfo:
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def offset_at(zone: ZoneInfo, at_s: int) -> int:
    """Seconds that the zone's clock is ahead of UTC at `at_s`; defined for all time, before year 1 too."""
    stretch = at_s // _STRETCH_S
    if stretch < _FIRST_STRETCH:
        at_s = _FIRST_STRETCH * _STRETCH_S
    elif stretch >= _LAST_STRETCH:
        at_s -= _cycles_past(stretch) * _STRETCHES_OF_CYCLE * _STRETCH_S
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    assert offset is not None
    return offset.days * DAY_S + offset.seconds


def offset_spans(zone: ZoneInfo, since_s: int, until_s: int) -> list[OffsetSpan]:
    """The spans that make up [since_s, until_s), in order: neighbours differ in their offset."""
    first = max(since_s // _STRETCH_S, _FIRST_STRETCH)
    jumps = [
        jump_s
        for stretch in range(first, (until_s - 1) // _STRETCH_S + 1)
        for jump_s in _jumps(zone, stretch)
        if since_s < jump_s < until_s
    ]
    edges = [since_s, *jumps, until_s]
    return [OffsetSpan(since, until, offset_at(zone, since)) for since, until in pairwise(edges)]


def _jumps(zone: ZoneInfo, stretch: int) -> tuple[int, ...]:
    """The instants of a stretch from which on the offset is another one."""
    if stretch < _LAST_STRETCH:
        return _found_jumps(zone, stretch)
    stretches = _cycles_past(stretch) * _STRETCHES_OF_CYCLE
    return tuple(jump + stretches * _STRETCH_S for jump in _found_jumps(zone, stretch - stretches))


def _cycles_past(stretch: int) -> int:
    """How many whole cycles lead from a stretch of the far future back to before _LAST_STRETCH."""
    return (stretch - _LAST_STRETCH) // _STRETCHES_OF_CYCLE + 1


@lru_cache(maxsize=_STRETCHES_KEPT_MAX)
def _found_jumps(zone: ZoneInfo, stretch: int) -> tuple[int, ...]:
    """Find the jumps with probes and bisection, since ZoneInfo does not tell them."""
    start_s = stretch * _STRETCH_S
    end_s = start_s + _STRETCH_S
    jumps = []
    for low, high in pairwise([*range(start_s, end_s, _PROBE_S), end_s]):
        before = offset_at(zone, low)
        if before == offset_at(zone, high):
            continue
        while high - low > 1:
            middle = (low + high) // 2
            if offset_at(zone, middle) == before:
                low = middle
            else:
                high = middle
        jumps.append(high)
    return tuple(jumps)
