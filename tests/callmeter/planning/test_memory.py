"""Memory of a plan: what is kept of busy minutes."""

from dataclasses import replace

import pytest

from aggregator.rollups.levels import Retention
from aggregator.time_units import DAY_S
from callmeter.planning.load import Load
from tests.support.planning import plan_of


def test_busy_minutes() -> None:
    """Are those of a project in a shard with 4,000 calls; what is kept of them is not sealed, and goes a day later."""
    load = Load(4_000 / 60, retention=Retention(calls_s=DAY_S), seal_after_s=3_600)
    assert plan_of(load).memory.busy_minutes_bytes == pytest.approx(2 * 4_000 * 1_440 * 5)
    assert plan_of(replace(load, calls_per_s=3_999 / 60)).memory.busy_minutes_bytes == 0
