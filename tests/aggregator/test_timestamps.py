"""Instants as integer microseconds."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aggregator.timestamps import format_utc, parse_timestamp_us, parse_timestamps_us
from tests.brute_force import instants

# 2026-02-10T04:08:49.580044Z, by GNU date.
EXAMPLE_US = 1_770_696_529_580_044
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ZONES = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# Anything that is nearly a timestamp: the right characters in the right places, most of the time.
NEARLY = st.from_regex(
    r"\A\d{4}-[0-1]\d-[0-3]\d[Tt _][0-2]\d:?[0-6]\d:?[0-6]\d([.,]\d{0,7})?([Zz]|[+-][0-2]\d:?[0-9]\d(:\d\d)?)?\Z"
)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-10T04:08:49.580044Z",
        "2026-02-10T04:08:49.580044z",
        "2026-02-10t04:08:49.580044Z",
        "2026-02-10 04:08:49.580044Z",
        "2026-02-10T04:08:49.580044",
        "2026-02-10 04:08:49.580044",
        "2026-02-10T04:08:49.580044+00:00",
        "2026-02-10T04:08:49.580044-00:00",
        "2026-02-10T09:38:49.580044+05:30",
        "2026-02-09T20:08:49.580044-08:00",
        "2026-02-11T04:07:49.580044+23:59",
        "2026-02-10T04:08:49.5800440Z",
        "2026-02-10T04:08:49.580044999999999999Z",
        "2026-02-10T09:38:49.580044999+05:30",
    ],
)
def test_one_instant_in_many_spellings(text: str) -> None:
    """Offsets, separators and case do not matter, a missing offset means UTC, digits past the microsecond are cut."""
    assert parse_timestamp_us(text) == EXAMPLE_US


@pytest.mark.parametrize(
    ("text", "expected_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.5Z", 500_000),
        ("1970-01-01T00:00:00.000001Z", 1),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("1970-01-01T00:00:00+00:01", -60_000_000),
        ("2000-02-29T00:00:00Z", 951_782_400_000_000),
        ("0001-01-01T00:00:00+23:59", -62_135_596_800_000_000 - 86_340_000_000),
        ("9999-12-31T23:59:59.999999-23:59", 253_402_300_799_999_999 + 86_340_000_000),
    ],
)
def test_edges_of_text(text: str, expected_us: int) -> None:
    """Short fractions, instants before 1970, leap days, and offsets that leave the years 1 to 9999."""
    assert parse_timestamp_us(text) == expected_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "1770696529",
        "2026-02-10",
        "2026-02-10T04Z",
        "2026-02-10T04:08.5Z",
        "2026-02-10T04:60Z",
        "2026-02-10T04:08:49.580044+0530",
        "2026-02-10T04:08:49.580044+05",
        "2026-02-10T04:08:49.580044+05:75",
        "2026-02-10T04:08:49.580044+24:00",
        "2026-02-10T04:08:49.580+05:30:15",
        "2026-02-10T04:08:49.Z",
        "2026-02-10T04:08:49,580044Z",
        "2026-02-10T04:08:49,580044+00:00",
        "2026-02-10T04:08:49.580044 Z",
        "2026-02-10T04:08:49.58004\uff14Z",
        " 2026-02-10T04:08:49.580044Z",
        "2026-02-10T04:08:49.580044Z\n",
        "2026-02-10_04:08:49.580044Z",
        "20260210T040849.5800440000Z",
        "2026-W07-2T04:08:49.580044Z",
        "2026-02-30T04:08:49.580044Z",
        "2026-13-10T04:08:49.580044Z",
        "0000-02-10T04:08:49.580044Z",
        "2026-02-10T24:00:00.000000Z",
        "2026-02-10T24:00:00Z",
        "2026-02-10T04:60:49.580044Z",
        "2016-12-31T23:59:60.000000Z",
        "2016-12-31T23:59:60Z",
    ],
)
def test_what_is_no_timestamp(text: str) -> None:
    """Only RFC 3339 is read: no date alone, no leap second, no 24:00, no offset without colon, no ISO 8601 at large."""
    with pytest.raises(ValueError):  # noqa: PT011 - the words are the standard library's in some cases
        parse_timestamp_us(text)


@pytest.mark.parametrize("number", [True, False, float("nan"), float("inf"), float("-inf"), 1e308])
def test_what_is_no_number_of_seconds(number: float) -> None:
    """A boolean is no number, and seconds must be finite in microseconds too."""
    with pytest.raises(ValueError, match=r"boolean|finite|NaN"):
        parse_timestamp_us(number)


@pytest.mark.parametrize(
    ("seconds", "expected_us"),
    [
        (0, 0),
        (1_770_696_529, 1_770_696_529_000_000),
        (-1, -1_000_000),
        (1_770_696_529.580044, EXAMPLE_US),
        (1_770_714_763.55983, 1_770_714_763_559_830),
        (0.0000005, 0),
        (0.0000015, 1),
        (1_770_696_529.5800439, EXAMPLE_US - 1),
        (1_770_696_529.5800447, EXAMPLE_US),
        (-0.5, -500_000),
        (10**400, 10**406),
    ],
)
def test_seconds_since_1970(seconds: float, expected_us: int) -> None:
    """A number is seconds; digits past the microsecond are cut, as in text."""
    assert parse_timestamp_us(seconds) == expected_us


@given(st.integers(946_684_800_000_000, 4_102_444_800_000_000), st.integers(1, 5))
def test_a_float_keeps_the_microsecond(instant_us: int, tenth: int) -> None:
    """The double nearest to an instant gives back its microsecond, from 2000 to 2100, with half of another one too."""
    text = f"{instant_us // 1_000_000}.{instant_us % 1_000_000:06}"
    assert parse_timestamp_us(float(text)) == instant_us
    assert parse_timestamp_us(float(f"{text}{tenth}")) == instant_us


@given(st.datetimes(timezones=ZONES))
def test_agrees_with_datetime(moment: datetime) -> None:
    """An instant that datetime writes, in any offset, is read as the same instant."""
    assert parse_timestamp_us(moment.isoformat()) == (moment - EPOCH) // timedelta(microseconds=1)


@given(st.datetimes())
def test_round_trip(moment: datetime) -> None:
    """An instant that is written is read back unchanged, and is written with `Z`."""
    instant_us = (moment.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert format_utc(instant_us).endswith("Z")
    assert parse_timestamp_us(format_utc(instant_us)) == instant_us


def test_format() -> None:
    """Microseconds are written unless there are none."""
    assert format_utc(EXAMPLE_US) == "2026-02-10T04:08:49.580044Z"
    assert format_utc(EXAMPLE_US // 1_000_000 * 1_000_000) == "2026-02-10T04:08:49Z"


@given(NEARLY | st.text(max_size=35))
def test_agrees_with_brute_force(text: str) -> None:
    """Two readers of RFC 3339 take the same texts, for the same instants."""
    try:
        expected_us: int | None = instants.from_text(text)
    except ValueError:
        expected_us = None
    try:
        actual_us: int | None = parse_timestamp_us(text)
    except ValueError:
        actual_us = None
    assert actual_us == expected_us


# The form that is read many at a time, some with one character changed.
COMMON = st.datetimes().map(lambda moment: f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z".rjust(27, "0"))
NEARLY_COMMON = st.builds(
    lambda text, at, character: text[:at] + character + text[at + 1 :],
    COMMON,
    st.integers(0, 26),
    st.sampled_from("09-+:.TtZz _٣é"),
)


@given(
    st.lists(COMMON, max_size=5), st.lists(COMMON | NEARLY_COMMON | NEARLY, max_size=1), st.lists(COMMON, max_size=2)
)
def test_many_at_once(before: list[str], odd: list[str], after: list[str]) -> None:
    """Many timestamps at once are each read as they are alone; an error in one of them is an error."""
    texts = before + odd + after
    try:
        alone = [parse_timestamp_us(text) for text in texts]
    except ValueError:
        with pytest.raises(ValueError):  # noqa: PT011  whose words differ
            parse_timestamps_us(texts)
    else:
        assert parse_timestamps_us(texts) == alone


def test_characters_that_move_from_one_to_the_next() -> None:
    """Texts of other lengths that would be right if they were cut anew."""
    with pytest.raises(ValueError, match="not an RFC 3339 timestamp"):
        parse_timestamps_us(["2026-02-10T04:08:49.580044", "Z2026-02-10T04:08:49.580044Z"])
