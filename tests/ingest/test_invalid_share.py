"""Input that is wholly invalid is noticed, told once a minute, and forgotten when it is over."""

from aggregator.time_units import MINUTE_US
from ingest.invalid_share import COUNTED_MIN, InvalidLimit, InvalidShare

NOW_US = 1_000 * MINUTE_US


def test_all_invalid_is_broken() -> None:
    """Input that is all invalid is broken; with one valid event among it, or too little to tell, it is not."""
    for valid, invalid, broken in ((0, COUNTED_MIN, True), (1, COUNTED_MIN, False), (0, COUNTED_MIN - 1, False)):
        share = InvalidShare(InvalidLimit())
        share.count(valid, invalid, NOW_US)
        assert share.is_broken(NOW_US) == broken


def test_a_lower_share_and_a_row() -> None:
    """Half of them, or three with no valid one between, however slowly they come."""
    half = InvalidShare(InvalidLimit(share=0.5))
    half.count(COUNTED_MIN, COUNTED_MIN, NOW_US)
    assert half.is_broken(NOW_US)
    row = InvalidShare(InvalidLimit(consecutive=3))
    for minute in range(3):
        assert not row.is_broken(NOW_US)
        row.count(0, 1, NOW_US + 5 * minute * MINUTE_US)
    assert row.is_broken(NOW_US + 99 * MINUTE_US)
    row.count(1, 0, NOW_US)
    assert not row.is_broken(NOW_US)


def test_told_once_a_minute_and_over_in_two() -> None:
    """Broken input is told once a minute as long as it lasts, and is over in two."""
    share = InvalidShare(InvalidLimit())
    share.count(0, COUNTED_MIN, NOW_US)
    assert share.to_tell(NOW_US) == {"invalid_events": 100, "valid_events": 0, "consecutive": 100}
    assert share.to_tell(NOW_US + 1) is None
    assert share.to_tell(NOW_US + MINUTE_US) is not None
    assert share.to_tell(NOW_US + 2 * MINUTE_US) is None
