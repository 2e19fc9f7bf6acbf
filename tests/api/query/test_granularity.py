"""The granularity that is chosen, and the one that is used."""

import pytest

from api.query.granularity import resolve_granularity

US = 1_000_000
MINUTE, HOUR, DAY = 60 * US, 3_600 * US, 86_400 * US


@pytest.mark.parametrize(
    ("range_us", "granularity_s"),
    [
        (0, 300),
        (2 * HOUR, 300),
        (2 * HOUR + 1, 3_600),
        (12 * HOUR, 3_600),
        (12 * HOUR + 1, 21_600),
        (3 * DAY, 21_600),
        (3 * DAY + 1, 43_200),
        (14 * DAY, 43_200),
        (14 * DAY + 1, 86_400),
        (10_000 * DAY, 86_400),
    ],
)
def test_left_out_it_follows_from_the_range(range_us: int, granularity_s: int) -> None:
    """Each granularity that is chosen for a range holds up to its range, to the microsecond, and no further."""
    assert resolve_granularity(range_us, None) == granularity_s


@pytest.mark.parametrize(
    ("range_us", "requested_s", "granularity_s"),
    [
        (31 * DAY, 60, 300),
        (7 * DAY, 1, 120),
        (DAY, 1, 9),
        (10_000 * US, 1, 1),
        (10_000 * US + 1, 1, 2),
        (20_000 * US - 1, 1, 2),
        (580_000 * US, 1, 59),
        (590_000 * US - 1, 1, 59),
        (590_000 * US, 1, 60),
        (599_999 * US, 1, 60),
        (600_000 * US, 1, 120),
        (10_000 * 90 * US + 1, 90, 120),
        (30 * 365 * DAY, None, 94_620),
    ],
)
def test_more_than_ten_thousand_buckets_are_refused_quietly(
    range_us: int, requested_s: int | None, granularity_s: int
) -> None:
    """10,000 buckets are as requested; one microsecond more raises it, from a minute on to whole minutes."""
    assert resolve_granularity(range_us, requested_s) == granularity_s


@pytest.mark.parametrize("requested_s", [1, 59, 61, 90, 86_401, 10**12])
def test_what_fits_is_used_as_requested(requested_s: int) -> None:
    """A granularity that fits is used as requested, and not rounded."""
    assert resolve_granularity(HOUR, requested_s) == requested_s
