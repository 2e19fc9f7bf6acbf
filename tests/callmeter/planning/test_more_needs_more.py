"""More calls, and longer retention, never need less, for any load."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aggregator.rollups.levels import Retention
from aggregator.time_units import DAY_S
from callmeter.planning.load import Load
from callmeter.planning.rollup_memory import Mix
from tests.support.planning import plan_of

MIXES = st.builds(
    Mix,
    models=st.integers(1, 100),
    ops=st.integers(1, 10_000),
    users=st.integers(0, 10_000),
    runs=st.integers(0, 100),
    calls_per_trace=st.floats(1, 100),
    usage_share=st.floats(0, 1),
)
RETENTIONS = st.builds(Retention, *[st.integers(60, 400 * DAY_S)] * 4)
LOADS = st.builds(
    Load,
    calls_per_s=st.floats(1e-3, 1e6),
    projects=st.integers(1, 10_000),
    mix=MIXES,
    message_bytes=st.floats(100, 1e5),
    retention=RETENTIONS,
    seal_after_s=st.none() | st.integers(60, 10 * DAY_S),
)


@settings(deadline=None)
@given(LOADS, st.floats(1, 1_000))
def test_more_calls_never_need_less(load: Load, times: float) -> None:
    """Whatever the load, more of it needs as much or more of everything, or no longer fits."""
    less, more = plan_of(load), plan_of(replace(load, calls_per_s=load.calls_per_s * times))
    assert less.fits >= more.fits
    if not more.fits:
        return
    for name in ("partitions", "workers", "masters"):
        assert getattr(more, name) >= getattr(less, name)
    for name in ("worker_cores", "redis_cores", "in_bytes_per_s", "worker_bytes"):
        assert getattr(more, name) >= getattr(less, name) * (1 - 1e-9)
    assert more.memory.total_bytes >= less.memory.total_bytes * (1 - 1e-9)


@settings(deadline=None)
@given(LOADS)
def test_ten_times_the_calls(load: Load) -> None:
    """Traffic and call records grow with the calls; rollups, which calls share, by no more than that."""
    one, ten = plan_of(load), plan_of(replace(load, calls_per_s=10 * load.calls_per_s))
    for name in ("events_per_s", "in_bytes_per_s", "replication_bytes_per_s", "worker_cores", "redis_cores"):
        assert getattr(ten, name) == pytest.approx(10 * getattr(one, name))
    assert (ten.memory.records_bytes, ten.memory.indexes_bytes) == pytest.approx(
        (10 * one.memory.records_bytes, 10 * one.memory.indexes_bytes)
    )
    if ten.key == "project":
        for level, size in ten.memory.levels.items():
            assert size.total_bytes <= 10 * one.memory.levels[level].total_bytes * (1 + 1e-9)


@settings(deadline=None)
@given(LOADS)
def test_longer_retention_never_needs_less(load: Load) -> None:
    """Keeping everything a day longer takes more memory, and never fewer masters or partitions."""
    kept = load.retention
    longer = Retention(*(part + DAY_S for part in (kept.calls_s, kept.minutes_s, kept.five_minutes_s, kept.hours_s)))
    less, more = plan_of(load), plan_of(replace(load, retention=longer))
    assert less.fits >= more.fits
    if not more.fits:
        return
    assert more.memory.total_bytes > less.memory.total_bytes
    assert more.masters >= less.masters
    assert more.partitions >= less.partitions
