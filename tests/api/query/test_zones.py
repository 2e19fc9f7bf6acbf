"""Time zones: every name loads, and no jump of any zone's offset is missed."""

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from aggregator.time_units import DAY_S
from api.query.zones import UnknownZone, load_zone, offset_spans, zone_names
from tests.support.zone_files import distinct_zones, file_jumps


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "localtime", "posixrules", "../zones", "/etc/localtime", "America", "America/", "utc", "zones",
     "posix/UTC", "America/New_York\0", "tzdata.zi"],
)  # fmt: skip
def test_other_names_are_no_zones(name: str) -> None:
    """Only the exact names of the database are zones; nothing that is merely a file is."""
    with pytest.raises(UnknownZone):
        load_zone(name)


def test_every_zone_loads() -> None:
    """Every name of the database."""
    assert len(zone_names()) > 590
    assert all(load_zone(name).key == name for name in zone_names())


def test_no_jump_is_missed() -> None:
    """Every change of offset in every zone's file since 1970 is found, and no other before the yearly rules begin."""
    for name in distinct_zones():
        expected = [jump for jump in file_jumps(name) if jump > 0]
        if expected:
            spans = offset_spans(load_zone(name), 0, expected[-1] + 1)
            assert [span.since_s for span in spans[1:]] == expected, name


@pytest.mark.parametrize("year", [2040, 2101, 2499, 2500, 2900, 9998])
def test_no_jump_of_the_yearly_rules_is_missed(year: int) -> None:
    """No jump of a zone's yearly rules is missed, in the far future neither, where it is looked up 400 years
    earlier."""
    start_s = int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
    for name in distinct_zones()[:: 5 if year > 2040 else 1]:
        zone = load_zone(name)
        spans = offset_spans(zone, start_s, start_s + 365 * DAY_S)
        assert all(before.offset_s != after.offset_s for before, after in pairwise(spans))
        starts = [span.since_s for span in spans]
        for at_s in range(start_s, start_s + 365 * DAY_S, DAY_S):
            offset = datetime.fromtimestamp(at_s, zone).utcoffset()
            assert offset == timedelta(seconds=spans[bisect_right(starts, at_s) - 1].offset_s), (name, at_s)
