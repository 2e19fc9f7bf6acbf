"""Memory of a plan: what is kept of busy minutes."""

from dataclasses import replace

import pytest

from aggregator.rollups.levels import Retention
from aggregator.time_units import DAY_S
from callmeter.planning.load import Load
from tests.support.planning import LARGE, plan_of


def test_busy_minutes() -> None:
    """Are those of a project in a shard with 4,000 calls; what is kept of them is not sealed, and goes a day later, or
    into objects: of a day and seven hours it has not by then.
    """
    load = Load(4_000 / 60, retention=Retention(calls_s=DAY_S), seal_after_s=3_600)
    assert plan_of(load).memory.busy_minutes_bytes == pytest.approx(2 * 4_000 * 1_440 * 5)
    assert plan_of(replace(load, calls_per_s=3_999 / 60)).memory.busy_minutes_bytes == 0
    kept_days, hot_days = 31, 1 + 7 / 24
    moving = replace(load, retention=Retention(calls_s=30 * DAY_S), moves=True)
    shares = {"moved_share__busy": 0.01, "object_share__busy": 0.5}
    a_day = 4_000 * 1_440 * 5
    memory = plan_of(moving, LARGE, **shares).memory
    assert memory.busy_minutes_bytes == pytest.approx(a_day * (hot_days + 0.01 * (kept_days - hot_days)))
