"""Answers from sealed cells: the same numbers, also while they are being sealed; damage is told with its place."""

from typing import Any

import pytest
import redis

from aggregator.layout.sealed import DIRECTORY_FIELD, unpack_directory
from aggregator.reading.cells import DamagedCells
from aggregator.rollups.series import LATENCY
from aggregator.rollups.views import ViewFilter
from aggregator.writing import sealing
from tests.support.folding import NOW_US, apply, open_shard
from tests.support.sealing import AT_ONCE, blocks, seal_all, some_calls
from tests.support.watched_answers import DAY, answer


@pytest.mark.parametrize("views", [ViewFilter(), ViewFilter(op_names=("op-1",)), ViewFilter(user_ids=("user-1",))])
@pytest.mark.parametrize("calls", [50, 1_100])
def test_the_same_numbers(calls: int, views: ViewFilter, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers are the same before and after all is sealed, of all calls and of a view, from rows and from sketches."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 40)
    client: Any = redis.Redis.from_url(redis_url)
    client.flushall()
    shard = open_shard(client, AT_ONCE)
    apply(shard, some_calls(calls, hours=1 if calls > 1_000 else 5))
    expected = answer(redis_url, views=views)
    assert expected[0][0] >= calls // 4
    seal_all(shard)
    assert answer(redis_url, views=views) == expected


def test_while_they_are_sealed(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No answer mixes two moments, with a step of sealing, or a late call, before every round trip."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 40)
    monkeypatch.setattr(sealing, "LARGE_CELL", 1)  # else twenty answers come before the last step
    client: Any = redis.Redis.from_url(redis_url)
    client.flushall()
    shard = open_shard(client, AT_ONCE)
    apply(shard, some_calls(600, hours=1))
    counted = [600]

    def happen() -> None:
        if not shard.seal(NOW_US):
            apply(shard, some_calls(1, counted[-1]))
            counted.append(counted[-1] + 1)

    for _ in range(20):
        before = counted[-1]
        calls, _, totals, quantiles = answer(redis_url, before=happen)
        assert before <= calls[0] <= counted[-1]
        assert totals[0][0, LATENCY][0] == calls[0]
        assert quantiles is not None
    assert len(counted) > 1


def test_a_frame_that_has_just_been_replaced(redis_url: str) -> None:
    """Between the directory and its frames a late call is counted and all is sealed again: then both are read again."""
    client: Any = redis.Redis.from_url(redis_url)
    client.flushall()
    shard = open_shard(client, AT_ONCE)
    apply(shard, some_calls(60))
    seal_all(shard)
    round_trips = [0]

    def happen() -> None:
        round_trips[0] += 1
        if round_trips[0] in late:
            apply(shard, some_calls(1, 60))
            seal_all(shard)

    late: set[int] = set()
    assert answer(redis_url, before=happen)[0] == [60]
    # Nothing of it was beside cells, so the last round trip is that of the frames.
    late, round_trips = {round_trips[0] - 1}, [0]
    assert answer(redis_url, before=happen)[0] == [61]


def test_damage_is_told(redis_url: str) -> None:
    """A frame that is not what was sealed gives no number, but its name; so does one that is gone."""
    client: Any = redis.Redis.from_url(redis_url)
    client.flushall()
    shard = open_shard(client, AT_ONCE)
    apply(shard, some_calls(60))
    seal_all(shard)
    [key] = [key for key in blocks(client) if b":r:h:" in key]
    first = unpack_directory(client.hget(key, DIRECTORY_FIELD)).ranges[0]
    frame = client.hget(key, first.field)
    client.hset(key, first.field, frame[:-3] + b"xyz")
    with pytest.raises(DamagedCells, match=f"frame {first.number} of .*:r:h:{DAY} is damaged"):
        answer(redis_url)
    client.hdel(key, first.field)
    with pytest.raises(DamagedCells, match=f"frame {first.number} of"):
        answer(redis_url)
    client.hset(key, first.field, frame)
    assert answer(redis_url)[0] == [60]
