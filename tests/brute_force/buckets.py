"""The buckets of a window on the local clock of a zone (behaviour §4), found by walking through the time."""

from datetime import timedelta
from functools import cache, lru_cache
from importlib.resources import files
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tests.brute_force.instants import EPOCH, SECOND_US

HOUR_S = 3600
# No clock has been set back by more than a day since 2000, so a bucket is never longer than its cell plus this.
LONGEST_JUMP_S = 2 * 86_400


class Bucket(NamedTuple):
    """`start_us` ≤ instants < `end_us` (microseconds since 1970), and the zone's offset at the start (seconds)."""

    start_us: int
    end_us: int
    offset_s: int


def buckets_of(start_us: int, end_us: int, granularity_s: int, timezone: str) -> list[Bucket]:
    """Every bucket that meets `start_us` ≤ t < `end_us`, in order; none for an empty window."""
    if start_us >= end_us:
        return []
    zone = _zone(timezone)
    first_s, last_s = start_us // SECOND_US, -(-end_us // SECOND_US)
    margin_s = granularity_s + LONGEST_JUMP_S
    edges_s = _edges(first_s - margin_s, last_s + margin_s, granularity_s, zone)
    buckets = [
        Bucket(begin_s * SECOND_US, finish_s * SECOND_US, _offset_s(begin_s, zone))
        for begin_s, finish_s in pairwise(edges_s)
    ]
    return [bucket for bucket in buckets if bucket.start_us < end_us and bucket.end_us > start_us]


@cache
def _zone(name: str) -> ZoneInfo:
    """Reads a zone from the `tzdata` package: rules that change (Morocco's in 2026) may not have reached this
    machine."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _edges(from_s: int, to_s: int, granularity_s: int, zone: ZoneInfo) -> list[int]:
    """The seconds in (`from_s`, `to_s`] at which the clock enters a grid cell."""
    edges = []
    now_s, offset_s = from_s, _offset_s(from_s, zone)
    while now_s < to_s:
        cell = (now_s + offset_s) // granularity_s
        cell_ends_s = (cell + 1) * granularity_s - offset_s
        next_s = min(cell_ends_s, now_s + HOUR_S)
        if _offset_s(next_s, zone) != offset_s:
            next_s = _jump_s(now_s, next_s, zone)
        next_offset_s = _offset_s(next_s, zone)
        next_cell = (next_s + next_offset_s) // granularity_s
        # Set back by a whole cell: the clock runs through all of the cell once more.
        if next_cell != cell or offset_s - next_offset_s >= granularity_s:
            edges.append(next_s)
        now_s, offset_s = next_s, next_offset_s
    return edges


def _jump_s(before_s: int, after_s: int, zone: ZoneInfo) -> int:
    """The first second in (`before_s`, `after_s`] with the later offset; the offset changes once in between."""
    offset_before_s = _offset_s(before_s, zone)
    while after_s - before_s > 1:
        middle_s = (before_s + after_s) // 2
        if _offset_s(middle_s, zone) == offset_before_s:
            before_s = middle_s
        else:
            after_s = middle_s
    return after_s


@lru_cache(maxsize=100_000)
def _offset_s(at_s: int, zone: ZoneInfo) -> int:
    moment = (EPOCH + timedelta(seconds=at_s)).astimezone(zone)
    offset = moment.utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
