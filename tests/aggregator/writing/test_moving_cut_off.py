"""Moving that is cut off, or overtaken: whoever goes on finds all as it was, or as it is to be."""

from contextlib import AbstractContextManager
from typing import Any

import pytest

from aggregator.store.shard_store import Fenced, ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.objects_access import AtOnce, objects_access
from aggregator.writing.shard import Shard
from tests.support.folding import KEEP_ALL, NOW_US, SHARD, apply, fold_all, prices
from tests.support.moving import (
    AT_ONCE,
    KEYS,
    FailingStore,
    check_crashes,
    check_pointers,
    frames_in_redis,
    killed_at,
    open_moving,
    state,
)
from tests.support.sealing import seal_all, some_calls, unsealed_fields


@pytest.mark.parametrize("command", ["replace", "put"])
@pytest.mark.parametrize("takes_effect", [False, True])
def test_a_crash_at_each_step(
    command: str, takes_effect: bool, client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next writer begins anew; at worst an object is left that nothing points into."""
    events = some_calls(12)

    def killed(number: int) -> AbstractContextManager[None]:
        return killed_at(monkeypatch, command, number, takes_effect)

    check_crashes(client, objects, events, killed, lambda: frames_in_redis(client) == unsealed_fields(client) == [])


def test_a_zombie_moves_nothing(client: Any, objects: FailingStore) -> None:
    """A writer that has put an object while another went on is refused, and the other's frames are as they were."""
    first = open_moving(client, objects)
    events = some_calls(60)
    apply(first, events)
    for _ in range(1_000):
        first.seal(NOW_US)
        if objects.puts > 1:
            break
    second = open_moving(client, objects)
    apply(second, some_calls(5, 60))
    with pytest.raises(Fenced):
        first.seal(NOW_US)
    seal_all(second)
    check_pointers(client, objects)
    assert state(client, objects) == fold_all(client, [events, some_calls(5, 60)])


def test_what_was_sealed_anew_meanwhile_is_left_out(client: Any, objects: FailingStore) -> None:
    """A late event between put and pointer: of what is replaced nothing points into the object."""
    held: list[Any] = []

    class Slow(AtOnce):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            done = super().submit(fn, *args, **kwargs)
            return Held(done) if not held else done

    class Held:
        def __init__(self, done: Any) -> None:
            self._done = done
            held.append(self)
            self.is_done = False

        def done(self) -> bool:
            return self.is_done

        def result(self) -> Any:
            return self._done.result()

    access = objects_access(objects, Slow())
    shard = Shard(ShardStore(client, SHARD), prices(), KEEP_ALL, AT_ONCE, access)
    events = some_calls(60)
    apply(shard, events)
    seal_all(shard)
    assert len(held) == 1
    late = some_calls(60, 60)
    apply(shard, late)
    seal_all(shard)
    held[0].is_done = True
    seal_all(shard)
    seal_all(shard, NOW_US + 3_600 * SECOND_US)
    assert frames_in_redis(client) == []
    check_pointers(client, objects)
    assert client.hlen(KEYS.retired) == 1
    assert state(client, objects) == fold_all(client, [events, late])
