"""Merging the frames of a day's pieces: fewer frames that say the same, at each step and whatever ends it."""

from itertools import pairwise
from typing import Any

import pytest

from aggregator.layout.keys import ShardKeys
from aggregator.layout.sealed import DIRECTORY_FIELD, SealedDirectory, are_apart, unpack_directory
from aggregator.layout.slots import Block
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, Level
from aggregator.rollups.view_numbers import USERS_FROM
from aggregator.time_units import DAY_S, HOUR_S, SECOND_US
from aggregator.writing import sealing
from aggregator.writing.limits import ShardLimits
from tests.support.folding import NOW_US, SHARD, T0_US, apply, fold_all, open_shard, read_state
from tests.support.moving import killed_at
from tests.support.sealing import AT_ONCE, seal_all, some_calls, unsealed_fields

MERGED = (FIVE_MINUTES, HOURS)
EVENTS = some_calls(16, hours=9)  # of three pieces


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece has several frames."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 11)
    monkeypatch.setattr(sealing, "LARGE_CELL", 1)


def directory(client: Any, level: Level) -> SealedDirectory:
    """Returns where the cells of the day lie."""
    block = T0_US // SECOND_US // level.block_s
    return unpack_directory(client.hget(ShardKeys(SHARD).rollups(1, level, block), DIRECTORY_FIELD))


def apart(client: Any) -> list[bool]:
    """Returns for each level that is merged whether its frames are of one piece each."""
    return [
        are_apart(Block(1, level, T0_US // SECOND_US // level.block_s), directory(client, level).ranges)
        for level in MERGED
    ]


def test_at_each_step(client: Any) -> None:
    """Pieces are merged once all are sealed; between any two steps all is said as before, and in the end once."""
    expected = fold_all(client, [EVENTS])
    client.flushall()
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S))
    apply(shard, EVENTS)
    later_us = NOW_US + 2 * HOUR_S * SECOND_US
    shard.touch(later_us)
    expected["shard"]["as_of_us"] = later_us
    were_apart = False
    while shard.seal(later_us):
        assert read_state(client) == expected
        were_apart |= all(apart(client))
    assert were_apart
    assert unsealed_fields(client) == []
    assert not client.exists(ShardKeys(SHARD).unsealed)
    assert apart(client) == [False, False]
    for level in MERGED:
        ranges = [one for one in directory(client, level).ranges if 0 < one.last_view < USERS_FROM]
        ends = sorted((one.first_view, one.last_view) for one in ranges)
        assert all(last <= first for (_, last), (first, _) in pairwise(ends)), ends


def test_not_before_the_day_is_over(client: Any) -> None:
    """Frames stay apart until the last piece of their day may have been sealed, and as long again."""
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S))
    over_us = (T0_US // SECOND_US // DAY_S + 1) * DAY_S * SECOND_US
    came_us = over_us - 2 * HOUR_S * SECOND_US
    shard.apply(EVENTS, 16, came_us, came_us, {})
    shard.touch(over_us - 1)
    seal_all(shard, over_us - 1)
    assert unsealed_fields(client) == []
    assert apart(client) == [True, True]
    for hours, are in ((3, True), (4, False)):
        shard.touch(over_us + hours * HOUR_S * SECOND_US)
        seal_all(shard, over_us + hours * HOUR_S * SECOND_US)
        assert apart(client) == [are, are]


@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_crash_at_each_step(takes_effect: bool, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next writer merges anew what is there, late calls with it, and all is said as before."""
    late = some_calls(4, first=16, hours=9)
    expected = fold_all(client, [EVENTS, late])
    client.flushall()
    apply(open_shard(client, AT_ONCE), EVENTS)
    number = 0
    while client.exists(ShardKeys(SHARD).unsealed):
        shard = open_shard(client, AT_ONCE)
        with killed_at(monkeypatch, "replace", 2 + 4 * number, takes_effect):  # a merge begins anew
            seal_all(shard)
        if number == 3:
            apply(open_shard(client, AT_ONCE), late)
        if number >= 3:
            assert read_state(client) == expected
        number += 1
    seal_all(open_shard(client, AT_ONCE))
    assert read_state(client) == expected
    assert apart(client) == [False, False]
