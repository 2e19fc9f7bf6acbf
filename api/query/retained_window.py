"""How fine an answer can be, given what is still retained of its window."""

from collections.abc import Sequence
from typing import NamedTuple

from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Level, Retention


class FittedWindow(NamedTuple):
    """A window and granularity that what is retained can answer. `slot_s` is the coarsest slot in it; 0: single
    calls.
    """

    start_us: int
    end_us: int
    granularity_s: int
    slot_s: int


class BeyondRetention(Exception):
    """Nothing of the window is retained; `reaches_us` is how far back it goes."""

    def __init__(self, reaches_us: int) -> None:
        super().__init__(reaches_us)
        self.reaches_us = reaches_us


class Reach(NamedTuple):
    """How far back minutes and five-minute slots are kept whole (microseconds since 1970)."""

    minutes_us: int
    five_minutes_us: int


def reach_of(now_us: int, retention: Retention) -> Reach:
    """Return how far back finer slots are kept whole."""
    return Reach(*(level_reach_us(level, now_us, retention) for level in (MINUTES, FIVE_MINUTES)))


def are_nested(windows: Sequence[FittedWindow], reach: Reach) -> bool:
    """Whether windows end together, and what lies between their starts can be read from whole slots that are kept."""
    if len({window.end_us for window in windows}) > 1:
        return False
    later = sorted({window.start_us for window in windows})[1:]
    return all(
        start_us % MINUTES.slot_us == 0
        and all(
            start_us % coarser.slot_us == 0 or start_us // coarser.slot_us * coarser.slot_us >= reach_us
            for coarser, reach_us in ((FIVE_MINUTES, reach.minutes_us), (HOURS, reach.five_minutes_us))
        )
        for start_us in later
    )


def calls_reach_us(now_us: int, retention: Retention) -> int:
    """How far back call records, and so filters on ids, reach."""
    return retention.calls_reach_us(now_us)


def level_reach_us(level: Level, now_us: int, retention: Retention) -> int:
    """The first slot of `level` that is wholly retained."""
    reach_us = retention.level_reach_us(level, now_us)
    return -(-reach_us // level.slot_us) * level.slot_us


def fit(start_us: int, end_us: int, granularity_s: int, now_us: int, retention: Retention) -> FittedWindow:
    """Raise the granularity and move the edges outward as far as the oldest part of the window needs.

    What lies before everything that is retained is left out, by moving the start. Raises BeyondRetention where that
    is all.
    """
    if start_us == end_us or (
        start_us >= calls_reach_us(now_us, retention) and start_us >= level_reach_us(MINUTES, now_us, retention)
    ):
        return FittedWindow(start_us, end_us, granularity_s, 0)
    for level in (MINUTES, FIVE_MINUTES, HOURS):
        outward_us = start_us // level.slot_us * level.slot_us
        if outward_us >= level_reach_us(level, now_us, retention):
            break
    else:
        outward_us = level_reach_us(HOURS, now_us, retention)
        if outward_us >= end_us:
            raise BeyondRetention(outward_us)
    raised_s = -(-granularity_s // level.slot_s) * level.slot_s
    end_outward_us = _readable_end_us(outward_us, end_us, level, now_us, retention)
    return FittedWindow(outward_us, end_outward_us, raised_s, level.slot_s)


def _readable_end_us(start_us: int, end_us: int, coarsest: Level, now_us: int, retention: Retention) -> int:
    """The end itself where all that is read up to it is retained, else the first edge of a coarser slot of which it is.

    Between the last edge of a coarser slot and the end finer slots are read, and single calls of the minute that the
    end cuts: of that slot they all have to be there, not only those just before the end.
    """
    for unit_us in (1, MINUTES.slot_us, FIVE_MINUTES.slot_us):
        outward_us = -(-end_us // unit_us) * unit_us
        if unit_us >= coarsest.slot_us or _is_readable(start_us, outward_us, now_us, retention):
            return outward_us
    return -(-end_us // coarsest.slot_us) * coarsest.slot_us


def _is_readable(start_us: int, end_us: int, now_us: int, retention: Retention) -> bool:
    finer_us, reach_us = 1, calls_reach_us(now_us, retention)
    for level in (MINUTES, FIVE_MINUTES, HOURS):
        from_us = max(start_us, end_us // level.slot_us * level.slot_us)
        if from_us < end_us // finer_us * finer_us and from_us < reach_us:
            return False
        finer_us, reach_us = level.slot_us, level_reach_us(level, now_us, retention)
    return True
