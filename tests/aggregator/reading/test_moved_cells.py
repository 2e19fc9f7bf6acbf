"""Answers from cells that are in objects: the same numbers, also while they are moved; what cannot be read is named."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis

from aggregator.layout.keys import ShardKeys
from aggregator.layout.moved import unpack_objects
from aggregator.objects.object_store import Span
from aggregator.reading.cells import DamagedCells
from aggregator.reading.rollups import LevelBlock
from aggregator.rollups.levels import HOURS
from aggregator.rollups.series import LATENCY
from aggregator.rollups.views import ViewFilter
from aggregator.writing import sealing
from tests.support.folding import NOW_US, SHARD, apply
from tests.support.moving import FailingStore, frames_in_redis, open_moving
from tests.support.sealing import seal_all, some_calls, unsealed_fields
from tests.support.watched_answers import DAY, answer

KEYS = ShardKeys(SHARD)


@pytest.mark.parametrize("views", [ViewFilter(), ViewFilter(op_names=("op-1",)), ViewFilter(user_ids=("user-1",))])
@pytest.mark.parametrize("calls", [50, 1_100])
def test_the_same_numbers(
    calls: int, views: ViewFilter, redis_url: str, objects: FailingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers are the same before and after all is moved, of all calls and of a view, from rows and from sketches."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 40)
    client: Any = redis.Redis.from_url(redis_url)
    shard = open_moving(client, objects)
    apply(shard, some_calls(calls, hours=1 if calls > 1_000 else 5))
    expected = answer(redis_url, None, views=views)
    assert expected[0][0] >= calls // 4
    seal_all(shard)
    assert unsealed_fields(client) == frames_in_redis(client) == []
    assert answer(redis_url, objects, views=views) == expected


def test_while_they_are_moved(redis_url: str, objects: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer mixes two moments, with a step of sealing or moving, or a late call, before every round trip."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 40)
    monkeypatch.setattr(sealing, "LARGE_CELL", 1)  # else twenty answers come before the last step
    client: Any = redis.Redis.from_url(redis_url)
    shard = open_moving(client, objects)
    apply(shard, some_calls(300, hours=1))
    counted = [300]

    def happen() -> None:
        if not shard.seal(NOW_US):
            apply(shard, some_calls(1, counted[-1]))
            counted.append(counted[-1] + 1)

    for _ in range(20):
        before = counted[-1]
        calls, _, totals, quantiles = answer(redis_url, objects, happen)
        assert before <= calls[0] <= counted[-1]
        assert totals[0][0, LATENCY][0] == calls[0]
        assert quantiles is not None
    assert len(counted) > 1
    assert client.hlen(KEYS.retired)


def test_what_cannot_be_read_is_named(redis_url: str, objects: FailingStore, tmp_path: Path) -> None:
    """An object that is away, damaged or gone gives no number, but its name; then the numbers again."""
    client: Any = redis.Redis.from_url(redis_url)
    shard = open_moving(client, objects)
    apply(shard, some_calls(60))
    seal_all(shard)
    [name] = [name for name in unpack_objects(client.hgetall(KEYS.objects)) if "-h-" in name]
    path = tmp_path / "objects/callmeter/calls/0" / name
    content = path.read_bytes()
    with pytest.raises(DamagedCells, match=f"callmeter/calls/0/{name} lies in an object store"):
        answer(redis_url, None)
    objects.is_away = True
    with pytest.raises(DamagedCells, match="away"):
        answer(redis_url, objects)
    objects.is_away = False
    path.write_bytes(content[:40] + b"x" + content[41:])
    with pytest.raises(DamagedCells, match=f"callmeter/calls/0/{name} is damaged"):
        answer(redis_url, objects)
    path.unlink()
    with pytest.raises(DamagedCells, match=f"there is no object callmeter/calls/0/{name}"):
        answer(redis_url, objects)
    path.write_bytes(content)
    assert answer(redis_url, objects)[0] == [60]


def test_an_object_that_has_just_been_replaced(redis_url: str, objects: FailingStore, tmp_path: Path) -> None:
    """An object is gone once nothing points into it any more: a reader that has the old pointer reads all again."""
    client: Any = redis.Redis.from_url(redis_url)
    shard = open_moving(client, objects)
    apply(shard, some_calls(60, hours=60))
    seal_all(shard)
    once = threading.Lock()

    class Collected(FailingStore):
        def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
            with once:
                if not client.hlen(KEYS.retired):
                    apply(shard, some_calls(1, 60))
                    seal_all(shard)
                    self.delete([f"callmeter/calls/0/{retired.decode()}" for retired in client.hkeys(KEYS.retired)])
            return super().read(name, spans)

    days = {LevelBlock(HOURS, DAY + day): dict.fromkeys(range(24), 0) for day in range(4)}
    assert answer(redis_url, Collected(tmp_path / "objects"), wanted=days)[0] == [61]
