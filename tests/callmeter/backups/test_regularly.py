"""Backups made by themselves: one at a time, when the newest is old enough, and never of a Redis that was wiped."""

import time
from typing import Any

import pytest

from callmeter.backups.keeping import stored_backups
from callmeter.backups.regularly import WIPED, RegularBackups
from tests.support.backing_up import back_up, bring_back
from tests.support.folding import SHARD, apply, open_shard
from tests.support.moving import FailingStore
from tests.support.sealing import some_calls

DAY_S = 86_400


class Clock:
    """Tells a time so many seconds later than it is."""

    later_s = 0

    def __call__(self) -> int:
        return time.time_ns() // 1_000 + self.later_s * 1_000_000


def regular(client: Any, objects: FailingStore, clock: Clock) -> RegularBackups:
    """Backups each day, kept for three."""
    return RegularBackups(client, SHARD.namespace, objects, DAY_S, 3 * DAY_S, clock)


def test_one_each_day(client: Any, objects: FailingStore) -> None:
    """The first look makes one, of two processes one does, and the next comes a day later; one that another process is
    about is waited for.
    """
    apply(open_shard(client), some_calls(5))
    clock = Clock()
    one, other = regular(client, objects, clock), regular(client, objects, clock)
    first = one.look()
    assert [other.look(), one.look()] == [None, None]
    clock.later_s = DAY_S - 60
    assert other.look() is None
    clock.later_s = DAY_S + 60
    client.set(f"{SHARD.namespace}:backup:turn", "a third")
    assert other.look() is None
    client.delete(f"{SHARD.namespace}:backup:turn")
    second = other.look()
    assert [backup.name for backup in stored_backups(objects, SHARD.namespace)] == [first, second]
    clock.later_s = 3 * DAY_S + 60
    third = one.look()
    assert [backup.name for backup in stored_backups(objects, SHARD.namespace)] == [third]


def test_none_of_a_redis_that_was_wiped(client: Any, objects: FailingStore, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing that is left after a wipe takes no backup's place, until one is restored, or one is made by hand."""
    apply(open_shard(client), some_calls(5))
    clock = Clock()
    backups = regular(client, objects, clock)
    first = backups.look()
    assert first is not None
    client.flushall()
    apply(open_shard(client), some_calls(5))
    clock.later_s = 2 * DAY_S
    assert backups.look() is None
    assert WIPED in caplog.text
    bring_back(client, objects, first)
    assert backups.look() is not None
    client.flushall()
    clock.later_s = 4 * DAY_S
    assert backups.look() is None
    back_up(client, objects, clock())
    clock.later_s = 6 * DAY_S
    assert backups.look() is not None
