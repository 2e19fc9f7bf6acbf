"""How fine an answer can be, given what is still retained of its window."""

from typing import NamedTuple

from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, SECOND_US, Level, Retention


class Fitted(NamedTuple):
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


def calls_reach_us(now_us: int, retention: Retention) -> int:
    """How far back call records, and so filters on ids, reach."""
    return now_us - retention.calls_s * SECOND_US


def level_reach_us(level: Level, now_us: int, retention: Retention) -> int:
    """The first slot of `level` that is wholly retained."""
    reach_us = now_us - retention.level_s(level) * SECOND_US
    return -(-reach_us // level.slot_us) * level.slot_us


def fit(start_us: int, end_us: int, granularity_s: int, now_us: int, retention: Retention) -> Fitted:
    """Raise the granularity and move the edges outward as far as the oldest part of the window needs.

    What lies before everything that is retained is left out, by moving the start. Raises BeyondRetention where that
    is all.
    """
    if start_us == end_us or (
        start_us >= calls_reach_us(now_us, retention) and start_us >= level_reach_us(MINUTES, now_us, retention)
    ):
        return Fitted(start_us, end_us, granularity_s, 0)
    for level in (MINUTES, FIVE_MINUTES, HOURS):
        outward_us = start_us // level.slot_us * level.slot_us
        if outward_us >= level_reach_us(level, now_us, retention):
            break
    else:
        outward_us = level_reach_us(HOURS, now_us, retention)
        if outward_us >= end_us:
            raise BeyondRetention(outward_us)
    raised_s = -(-granularity_s // level.slot_s) * level.slot_s
    # The end may lie where single calls are still known; a cut slot there is answered exactly.
    cuts_needed = end_us < max(calls_reach_us(now_us, retention), level_reach_us(MINUTES, now_us, retention))
    end_outward_us = -(-end_us // level.slot_us) * level.slot_us if cuts_needed else end_us
    return Fitted(outward_us, end_outward_us, raised_s, level.slot_s)
