"""Where the buckets of an answer begin: the multiples of the granularity on a zone's wall clock, over its jumps."""

from bisect import bisect_left
from zoneinfo import ZoneInfo

import numpy as np

from aggregator.time_units import SECOND_US
from api.query.zones import offset_at, offset_spans


def bucket_starts(start_us: int, end_us: int, granularity_s: int, zone: ZoneInfo) -> list[int]:
    """The starts (UTC microseconds, ascending) of all buckets that meet [start_us, end_us), the first often before it.

    The wall clock, counted from its 1970-01-01T00:00, is a row of cells `granularity_s` long. A bucket begins wherever
    the clock enters a cell, and lasts until the next one begins.
    """
    if start_us >= end_us:
        return []
    # Cells and jumps lie on whole seconds, so the second of `start` has the bucket of `start`.
    begin_s = _bucket_start(start_us // SECOND_US, granularity_s, zone)
    spans = offset_spans(zone, begin_s, -(-end_us // SECOND_US))
    starts_us = [begin_s * SECOND_US]
    offset_before_s = spans[0].offset_s
    for since_s, until_s, offset_s in spans:
        if since_s != begin_s and _opens(since_s, offset_before_s, offset_s, granularity_s):
            starts_us.append(since_s * SECOND_US)
        next_cell_s = since_s + granularity_s - (since_s + offset_s) % granularity_s
        starts_us.extend(range(next_cell_s * SECOND_US, until_s * SECOND_US, granularity_s * SECOND_US))
        offset_before_s = offset_s
    return starts_us


def bucket_timestamps(starts_us: list[int], zone: ZoneInfo) -> list[str]:
    """The ascending starts on the zone's clock, in ISO 8601 with its offset: `2026-03-03T00:00:00+00:00`."""
    if not starts_us:
        return []
    starts_s = [start_us // SECOND_US for start_us in starts_us]
    timestamps: list[str] = []
    for since_s, until_s, offset_s in offset_spans(zone, starts_s[0], starts_s[-1] + 1):
        here = starts_s[bisect_left(starts_s, since_s) : bisect_left(starts_s, until_s)]
        clock_s = np.array(here, dtype=np.int64) + offset_s
        suffix = _iso_offset(offset_s)
        timestamps.extend([text + suffix for text in np.datetime_as_string(clock_s.astype("M8[s]")).tolist()])
    return timestamps


def _bucket_start(at_s: int, granularity_s: int, zone: ZoneInfo) -> int:
    """The start, in seconds, of the bucket that holds `at_s`: its cell's, or that of a jump into the cell."""
    while True:
        cell_s = at_s - (at_s + offset_at(zone, at_s)) % granularity_s
        # From a second before the cell: what changes the clock at the very edge of the cell is a jump as well.
        spans = offset_spans(zone, cell_s - 1, at_s + 1)
        if len(spans) == 1:
            return cell_s
        (*_, before), (jump_s, _, offset_s) = spans[-2], spans[-1]
        if _opens(jump_s, before, offset_s, granularity_s):
            return jump_s
        at_s = jump_s - 1


def _opens(jump_s: int, before_s: int, after_s: int, granularity_s: int) -> bool:
    """Whether a new bucket begins where the clock's offset jumps at `jump_s` from `before_s` to `after_s`."""
    out_s, into_s = jump_s + before_s, jump_s + after_s
    if (out_s - 1) // granularity_s != into_s // granularity_s:
        return True
    # From the end of a cell back to its beginning: all of it comes again. A jump from inside the cell to its
    # beginning (Havana's and the Azores' autumn midnight) only makes it longer: a day of 25 hours is one bucket.
    return out_s % granularity_s == 0 and into_s % granularity_s == 0


def _iso_offset(offset_s: int) -> str:
    minutes, seconds = divmod(abs(offset_s), 60)
    text = f"{'-' if offset_s < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{seconds:02}" if seconds else text
