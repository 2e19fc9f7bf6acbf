"""Where buckets begin: against the golden cases, against a clock walked minute by minute, and by their laws."""

import json
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.query.buckets import bucket_starts, bucket_timestamps
from api.query.granularity import resolve_granularity
from api.query.zones import OffsetSpan, load_zone, offset_at, offset_spans, zone_names
from tests.support.paths import CASES
from tests.support.zone_files import distinct_zones, file_jumps

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
US = 1_000_000
HOUR_S, DAY_S = 3_600, 86_400
UNTIL_2100_S = 4_102_444_800


def us(text: str) -> int:
    """Microseconds of an ISO instant; a missing offset is UTC."""
    instant = datetime.fromisoformat(text)
    return ((instant if instant.tzinfo else instant.replace(tzinfo=UTC)) - EPOCH) // timedelta(microseconds=1)


def timestamps(start: str, end: str, granularity_s: int, zone_name: str) -> list[str]:
    zone = load_zone(zone_name)
    return bucket_timestamps(bucket_starts(us(start), us(end), granularity_s, zone), zone)


def stats_cases() -> list[Any]:
    """Every answered stats request of the golden cases, with the `now` of its dataset."""
    return [
        pytest.param(case["request"], case["expected"], dataset["now"], id=f"{path.stem}: {case['name']}")
        for path in sorted(CASES.glob("*.cases.json"))
        for dataset in [json.loads(path.read_text(encoding="utf-8"))]
        for case in dataset["cases"]
        if case["path"] == "/calls/stats" and case["status"] == 200
    ]


@pytest.mark.parametrize(("request_", "expected", "now"), stats_cases())
def test_golden_cases(request_: dict[str, Any], expected: dict[str, Any], now: str) -> None:
    """Granularity and timestamps are those of the golden answers."""
    start_us, end_us = us(request_["start"]), us(request_.get("end") or now)
    zone = load_zone(request_.get("timezone", "UTC"))
    granularity_s = resolve_granularity(end_us - start_us, request_.get("granularity"))
    assert granularity_s == expected["granularity"]
    answer = bucket_timestamps(bucket_starts(start_us, end_us, granularity_s, zone), zone)
    for rows in (expected["call_buckets"], expected["usage_buckets"]):
        assert not rows or answer == list(dict.fromkeys(row["timestamp"] for row in rows))


def test_the_hour_that_comes_twice() -> None:
    """An hour or a part of one that comes again is a bucket of its own, told apart by the offset."""
    window = ("2025-11-02T04:00Z", "2025-11-02T07:30Z")
    assert timestamps(*window, 3_600, "America/New_York") == [
        "2025-11-02T00:00:00-04:00",
        "2025-11-02T01:00:00-04:00",
        "2025-11-02T01:00:00-05:00",
        "2025-11-02T02:00:00-05:00",
    ]
    assert timestamps(*window, 1_800, "America/New_York")[2:6] == [
        "2025-11-02T01:00:00-04:00",
        "2025-11-02T01:30:00-04:00",
        "2025-11-02T01:00:00-05:00",
        "2025-11-02T01:30:00-05:00",
    ]


@pytest.mark.parametrize("zone_name", ["America/New_York", "Atlantic/Azores", "America/Havana", "Asia/Beirut"])
def test_a_day_of_25_hours_is_one_bucket(zone_name: str) -> None:
    """A day of 25 hours is one bucket, also where the clock falls back to the very midnight at which the day began
    (Azores, Havana)."""
    zone = load_zone(zone_name)
    starts = bucket_starts(us("2025-10-20T12:00Z"), us("2025-11-05T12:00Z"), DAY_S, zone)
    lengths_h = [(after - before) / US / HOUR_S for before, after in pairwise(starts)]
    assert sorted(lengths_h) == [24.0] * (len(lengths_h) - 1) + [25.0]
    assert all("T00:00:00" in text for text in bucket_timestamps(starts, zone))


def test_the_start_of_a_day_whose_midnight_comes_twice() -> None:
    """A window that begins after the second midnight still finds the day's start at the first (Havana)."""
    for start in ("2025-11-02T04:30Z", "2025-11-02T05:00Z", "2025-11-02T17:00Z"):
        days = timestamps(start, "2025-11-03T06:00Z", DAY_S, "America/Havana")
        assert days == ["2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00"]


def test_a_midnight_that_never_comes() -> None:
    """A day whose midnight the clock skips begins at the jump (Beirut); a day skipped whole has no bucket (Apia)."""
    beirut = ("2025-03-29T12:00Z", "2025-03-30T12:00Z", DAY_S, "Asia/Beirut")
    assert timestamps(*beirut) == ["2025-03-29T00:00:00+02:00", "2025-03-30T01:00:00+03:00"]
    apia = ("2011-12-30T09:00Z", "2011-12-30T11:00Z", DAY_S, "Pacific/Apia")
    assert timestamps(*apia) == ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"]


def test_a_minute_past_midnight() -> None:
    """A clock that falls back over midnight (St John's, 00:01) leaves the day, enters it again, leaves once more."""
    assert timestamps("2010-11-07T00:00Z", "2010-11-07T12:00Z", DAY_S, "America/St_Johns") == [
        "2010-11-06T00:00:00-02:30",
        "2010-11-07T00:00:00-02:30",
        "2010-11-06T23:01:00-03:30",
        "2010-11-07T00:00:00-03:30",
    ]


def test_utc_is_the_floor_of_the_epoch() -> None:
    """Every granularity gives floor(epoch / g) * g in UTC, before 1970 too."""
    for granularity_s in (1, 7, 3_600, 604_800, 10**12):
        for start_us in (us("2026-06-10T11:22:33.25Z"), us("1969-12-31T23:59:59.999999Z")):
            first = bucket_starts(start_us, start_us + 1, granularity_s, load_zone("UTC"))
            assert first == [start_us // US // granularity_s * granularity_s * US]


def test_the_end_of_the_window_is_outside() -> None:
    """A bucket that begins at `end` does not meet the window; one that begins a microsecond before does."""
    utc, noon = load_zone("UTC"), us("2026-06-10T12:00Z")
    assert len(bucket_starts(noon - 1, noon, HOUR_S, utc)) == 1
    assert len(bucket_starts(noon - 1, noon + 1, HOUR_S, utc)) == 2
    assert bucket_starts(noon, noon, HOUR_S, utc) == []
    assert bucket_timestamps([], utc) == []


@pytest.mark.parametrize("zone_name", ["UTC", "America/New_York", "Africa/Casablanca", "Africa/Monrovia"])
def test_all_of_the_calendar(zone_name: str) -> None:
    """The widest window that can be asked, and a granularity longer than it, are answered without fuss."""
    window = ("0001-01-01T00:00Z", "9999-12-31T23:59:59.999999Z")
    texts = timestamps(*window, 31_556_952, zone_name)
    assert len(set(texts)) == len(texts) in (9_999, 10_000, 10_001)
    assert len(timestamps(*window, 10**13, zone_name)) == 2  # the cells meet in 1970


def test_offsets_with_seconds_are_told() -> None:
    """Local mean times of old: Monrovia was 44 minutes and 30 seconds behind until 1972."""
    assert timestamps("1970-06-01T12:00Z", "1970-06-01T13:00Z", DAY_S, "Africa/Monrovia") == [
        "1970-06-01T00:00:00-00:44:30"
    ]


def clock(at_s: int, zone: ZoneInfo) -> int:
    """Returns what the zone's clock shows, in seconds since its 1970-01-01T00:00."""
    offset = datetime.fromtimestamp(at_s, zone).utcoffset()
    assert offset is not None
    return at_s + int(offset.total_seconds())


def walked_starts(clock_s: "np.ndarray[Any, np.dtype[np.int64]]", granularity_s: int) -> list[int]:
    """Returns which minutes of a clock's readings, one per minute, begin a bucket, by the words of the rule."""
    before, now = clock_s[:-1], clock_s[1:]
    other_cell = before // granularity_s != now // granularity_s
    jumped = now != before + 60
    whole_again = jumped & (now % granularity_s == 0) & ((before + 60) % granularity_s == 0)
    return [int(minute) for minute in np.flatnonzero(other_cell | whole_again) + 1]


def test_every_zone_against_a_walked_clock() -> None:
    """Around jumps of every zone since 2000, buckets are those of a clock that is read once a minute."""
    for number, name in enumerate(distinct_zones()):
        zone = load_zone(name)
        jumps = [s.since_s for s in offset_spans(zone, us("2000-01-01") // US, UNTIL_2100_S)[1:]]
        # One jump of each zone, another in other zones, or a quiet time.
        for jump_s in jumps[number * 7 % max(1, len(jumps)) :][:1] or [us("2026-01-15") // US]:
            walk_s = jump_s // 60 * 60 - 24 * HOUR_S
            minutes = range(walk_s, walk_s + 48 * HOUR_S, 60)
            clock_s = np.array([clock(t, zone) for t in minutes], dtype=np.int64)
            short = (60, 420) if number % 8 == 0 else ()  # two days of them are thousands of buckets
            for granularity_s in (*short, 900, 1_800, 3_600, 5_400, 7_200, 10_800, 21_600, 43_200, DAY_S):
                walked = [walk_s + 60 * minute for minute in walked_starts(clock_s, granularity_s)]
                found = bucket_starts(walked[0] * US, minutes.stop * US, granularity_s, zone)
                assert [start // US for start in found] == walked, (name, jump_s, granularity_s)


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, int, int, str]:
    """(start_us, end_us, granularity_s, zone name), often with a jump inside."""
    name = draw(st.sampled_from(sorted(zone_names())))
    jumps = file_jumps(name) or [0]
    centre_s = draw(st.one_of(st.sampled_from(jumps), st.integers(-3_000_000_000, 8_000_000_000)))
    granularity_s = draw(st.one_of(st.integers(60, 2 * DAY_S), st.sampled_from([1_800, HOUR_S, 7_200, DAY_S, 10**9])))
    start_us = centre_s * US - draw(st.integers(0, 40 * granularity_s * US))
    return start_us, start_us + draw(st.integers(1, 80 * granularity_s * US)), granularity_s, name


@settings(deadline=None, max_examples=300)
@given(windows())
def test_buckets_cover_the_window_once(window: tuple[int, int, int, str]) -> None:
    """Ascending; the first holds `start`, the last begins before `end`; each begins a cell or at a jump."""
    start_us, end_us, granularity_s, name = window
    zone = load_zone(name)
    starts = bucket_starts(start_us, end_us, granularity_s, zone)
    assert all(before < after for before, after in pairwise(starts))
    assert starts[0] <= start_us
    assert all(start_us < start < end_us for start in starts[1:])
    for start in starts:
        at_s = start // US
        on_the_grid = (at_s + offset_at(zone, at_s)) % granularity_s == 0
        assert on_the_grid or offset_at(zone, at_s) != offset_at(zone, at_s - 1)


@settings(deadline=None, max_examples=300)
@given(windows(), st.data())
def test_edges_do_not_depend_on_the_window(window: tuple[int, int, int, str], data: st.DataObject) -> None:
    """A window inside another has the other's buckets: those that meet it."""
    start_us, end_us, granularity_s, name = window
    zone = load_zone(name)
    inner_start = data.draw(st.integers(start_us, end_us - 1))
    inner_end = data.draw(st.integers(inner_start + 1, end_us))
    outer = bucket_starts(start_us, end_us, granularity_s, zone)
    first = bisect_right(outer, inner_start) - 1
    expected = [outer[first], *(start for start in outer[first + 1 :] if start < inner_end)]
    assert bucket_starts(inner_start, inner_end, granularity_s, zone) == expected


@settings(deadline=None, max_examples=200)
@given(windows())
def test_timestamps_are_the_starts(window: tuple[int, int, int, str]) -> None:
    """Each timestamp reads back as its start, with the offset of the zone there."""
    zone = load_zone(window[3])
    starts = [start for start in bucket_starts(*window[:3], zone) if start > us("1000-01-01")]
    for start, text in zip(starts, bucket_timestamps(starts, zone), strict=True):
        assert us(text) == start
        assert text == datetime.fromtimestamp(start // US, zone).isoformat()


def test_spans_of_a_zone_without_jumps() -> None:
    """A zone without jumps has one span, however long."""
    assert offset_spans(load_zone("UTC"), -(10**11), 10**11) == [OffsetSpan(-(10**11), 10**11, 0)]
