"""What is said where the filter or the length of a window asks for more than is kept, or than one answer may read."""

from collections.abc import Iterator
from contextlib import contextmanager

from aggregator.reading.rollups import TooMuchToRead
from aggregator.rollups.levels import Retention
from aggregator.rollups.views import NotKept
from aggregator.time_units import DAY_US
from aggregator.timestamps import format_utc
from api.query.retained_window import BeyondRetention, FittedWindow, calls_reach_us, fit
from api.refusals import invalid_at

# No event is taken in that is further ahead of the time at which it comes; nothing beyond has to be read, nor listed.
AHEAD_US_MAX = DAY_US


@contextmanager
def refusing_what_is_not_kept() -> Iterator[None]:
    """Turns NotKept and TooMuchToRead into Refusals."""
    try:
        yield
    except NotKept as beyond:
        reach_us = beyond.calls_reach_us
        raise invalid_at(
            ("start",),
            "this project had more distinct values of the filtered fields on a day of the window than are kept apart "
            "(CALLMETER_LIMITS__VIEWS), and call records, which tell all the same, "
            + ("are not kept" if reach_us is None else f"reach back to {format_utc(reach_us)}; ask for a later start"),
        ) from None
    except TooMuchToRead as too_much:
        raise invalid_at(("filter",), f"{too_much}; ask for a shorter window or fewer values") from None


def end_of_time(start_us: int, end_us: int, now_us: int) -> int:
    """The end of a window for all that is computed: a day from now, where it was to be later."""
    return max(start_us, min(end_us, now_us + AHEAD_US_MAX))


def fitted_window(start_us: int, end_us: int, granularity_s: int, now_us: int, retention: Retention) -> FittedWindow:
    """The window as far as what is retained can answer it. Raises Refusal where that is nothing."""
    try:
        return fit(start_us, end_of_time(start_us, end_us, now_us), granularity_s, now_us, retention)
    except BeyondRetention as beyond:
        raise invalid_at(
            ("start",), f"nothing of this window is kept; data reaches back to {format_utc(beyond.reaches_us)}"
        ) from None


def check_calls_are_kept(window: FittedWindow, now_us: int, retention: Retention) -> None:
    """Raises Refusal where a filter that needs call records reaches further back than they do."""
    reach_us = calls_reach_us(now_us, retention)
    if window.start_us < min(reach_us, window.end_us):
        raise invalid_at(
            ("filter",),
            "filters on ids and refs need call records, which reach back to "
            f"{format_utc(reach_us)}; ask for a later start",
        )
