"""Sealing: what is finished goes into frames, and comes out when a batch changes it; nothing it says changes."""

from typing import Any

import pytest

from aggregator.layout.keys import ShardKeys
from aggregator.layout.sealed import DIRECTORY_FIELD, named_piece, unpack_directory
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, LEVELS, MINUTES
from aggregator.segments.unpacked_frame import unpack_frame
from aggregator.store.shard_store import Fenced
from aggregator.time_units import HOUR_S, SECOND_US
from aggregator.writing import sealing
from aggregator.writing import shard as shard_module
from aggregator.writing.limits import ShardLimits
from tests.support.folding import (
    NOW_US,
    SHARD,
    T0_US,
    apply,
    complete,
    end,
    fold_all,
    open_shard,
    read_state,
)
from tests.support.sealing import AT_ONCE, blocks, seal_all, some_calls, unsealed_fields

KEYS = ShardKeys(SHARD)


@pytest.mark.parametrize(("calls", "per_frame"), [(60, 1_000), (60, 7), (1_100, 50)])
def test_all_is_sealed_and_says_the_same(
    calls: int, per_frame: int, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealing leaves no cell beside its frame, however many frames there are, and changes no number; of 1,100 calls an
    hour some have sketches."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", per_frame)
    events = some_calls(calls, hours=1 if calls > 1_000 else 5)
    expected = fold_all(client, [events])
    client.flushall()
    shard = open_shard(client, AT_ONCE)
    apply(shard, events)
    before = sum(len(field) + len(value) for block in blocks(client).values() for field, value in block.items())
    seal_all(shard)
    assert unsealed_fields(client) == []
    assert read_state(client) == expected
    after = sum(len(field) + len(value) for block in blocks(client).values() for field, value in block.items())
    assert per_frame < 50 or after < before / 3
    assert client.hgetall(KEYS.unsealed) == {}


@pytest.mark.parametrize("per_frame", [1_000, 20])
def test_late_events_take_cells_out(per_frame: int, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events for sealed cells are counted with all these had, by the writer that sealed them and by a new one."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", per_frame)
    parts = [some_calls(560, hours=1), some_calls(10, 560), some_calls(1, 570), some_calls(560, 571, hours=1)]
    expected = fold_all(client, parts)
    client.flushall()
    shard = open_shard(client, AT_ONCE)
    for number, part in enumerate(parts):
        apply(shard, part)
        assert unsealed_fields(client)
        seal_all(shard)
        assert unsealed_fields(client) == []
        if number % 2:
            shard = open_shard(client, AT_ONCE)
    assert read_state(client) == expected


def test_only_what_has_changed_is_sealed_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A late call rewrites some frames, not all; no frame that has been taken in again is left."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 10)
    shard = open_shard(client, AT_ONCE)
    apply(shard, some_calls(40))
    seal_all(shard)
    before = blocks(client)
    apply(shard, some_calls(1, 400))
    seal_all(shard)
    after = blocks(client)
    kept = [
        set(before[key]) & set(after[key]) - {DIRECTORY_FIELD} for key in before if len(before[key]) > len(LEVELS) + 2
    ]
    assert any(kept)
    for block in after.values():
        named = {one.field for one in unpack_directory(block[DIRECTORY_FIELD]).ranges}
        assert set(block) == named | {DIRECTORY_FIELD}


@pytest.mark.parametrize(
    ("level", "over_after_s"), [(MINUTES, HOUR_S), (FIVE_MINUTES, 2 * HOUR_S), (HOURS, 14 * HOUR_S)]
)
def test_due_an_hour_after_its_end(level: Any, over_after_s: int, client: Any) -> None:
    """Cells are due to the microsecond an hour after their block ends. T0 is ten o'clock: its hour ends at eleven, its
    six hours at noon, its day at midnight."""
    assert T0_US % (86_400 * SECOND_US) == 10 * HOUR_S * SECOND_US
    due_us = T0_US + (over_after_s + HOUR_S) * SECOND_US
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S))
    shard.apply([complete("call")], 1, T0_US, T0_US, {})
    shard.touch(due_us - 1)
    shard.seal(NOW_US)
    waiting = {named_piece(field).block.level for field in client.hkeys(KEYS.unsealed)}
    assert level in waiting
    shard.touch(due_us)
    seal_all(shard)
    waiting = {named_piece(field).block.level for field in client.hkeys(KEYS.unsealed)}
    assert level not in waiting


def test_what_came_late_waits_too(client: Any) -> None:
    """An hour after it came, whenever its calls began."""
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S))
    late_us = T0_US + 40 * HOUR_S * SECOND_US
    shard.apply([complete("call")], 1, late_us, late_us, {})
    shard.touch(late_us + HOUR_S * SECOND_US - 1)
    assert seal_all(shard) == 0
    assert len(client.hkeys(KEYS.unsealed)) == len(LEVELS)
    shard.touch(late_us + HOUR_S * SECOND_US)
    seal_all(shard)
    assert unsealed_fields(client) == []


@pytest.mark.parametrize(
    ("behind_s", "put_off_max", "sealed"),
    [(0, 1_000, 80), (60, 1_000, 10), (60, 0, 80), (3_600, 1_000, 80)],
    ids=["in time", "a little behind", "put off for long", "a backlog"],
)
def test_steps_back_while_folding_is_behind(
    behind_s: int, put_off_max: int, sealed: int, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside 80 events 80 of a hundred cells are sealed that are due, and 10 while folding catches up, unless as much
    has been put off as may be."""
    monkeypatch.setattr(shard_module, "PUT_OFF_MAX", put_off_max)
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 1)
    due_s = 60 * HOUR_S
    shard = open_shard(client, ShardLimits(seal_after_s=HOUR_S, open_slots_max=0))
    shard.apply([complete(f"call-{at}", at_s=60 * at) for at in range(20)], 20, T0_US, T0_US, {})
    before = len(unsealed_fields(client))
    late = [complete(f"late-{at}", at_s=due_s) for at in range(80)]
    due_us = T0_US + due_s * SECOND_US
    shard.apply(late, 100, due_us, due_us + behind_s * SECOND_US, {})
    brought = len(LEVELS) * 4  # views: of all calls, the op, roots, and both
    assert before == 100
    assert sealed - len(LEVELS) <= before + brought - len(unsealed_fields(client)) <= sealed


def test_nothing_is_sealed_unless_asked(client: Any) -> None:
    """Nothing is sealed where no time is set after which to seal."""
    shard = open_shard(client)
    apply(shard, some_calls(20))
    assert seal_all(shard) == 0
    assert not client.exists(KEYS.unsealed)


def test_who_read_before_cannot_write_after(client: Any) -> None:
    """A writer that has cells at hand from before they were sealed is refused, though no offset has moved since."""
    first = open_shard(client, AT_ONCE)
    apply(first, some_calls(20))
    second = open_shard(client, AT_ONCE)
    offset = first.next_offset
    seal_all(second)
    assert second.next_offset == offset
    with pytest.raises(Fenced):
        apply(first, [end("call-1", 7)])
    second.touch(NOW_US)  # which leaves the fence as it is
    with pytest.raises(Fenced):
        first.touch(NOW_US)
    first.recover()
    apply(first, [end("call-1", 7)])
    with pytest.raises(Fenced):
        second.touch(NOW_US)


def test_two_cannot_seal_at_once(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two sealers is refused, and what the other has sealed stays known, though neither moves an offset."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 3)
    events = some_calls(12)
    expected = fold_all(client, [events])
    client.flushall()
    first = open_shard(client, AT_ONCE)
    apply(first, events)
    first.seal(NOW_US)
    second = open_shard(client, AT_ONCE)
    second.seal(NOW_US)
    with pytest.raises(Fenced):
        first.seal(NOW_US)
    seal_all(second)
    assert unsealed_fields(client) == []
    assert read_state(client) == expected


def test_expiry_stays(client: Any) -> None:
    """Frames go with their block."""
    shard = open_shard(client, AT_ONCE)
    apply(shard, some_calls(20))
    before = {key: client.expiretime(key) for key in blocks(client)}
    seal_all(shard)
    assert {key: client.expiretime(key) for key in blocks(client)} == before
    assert min(before.values()) > 0


@pytest.mark.parametrize("per_frame", [7, 20])
def test_a_place_is_in_one_frame(per_frame: int, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever comes late: else a frame that is written later, for what it holds besides, would bring back what was."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", per_frame)
    shard = open_shard(client, AT_ONCE)
    for part in (some_calls(60), some_calls(40, 60), some_calls(40, 100)):
        apply(shard, part)
        seal_all(shard)
    for key, block in blocks(client).items():
        ranges = unpack_directory(block[DIRECTORY_FIELD]).ranges
        places = [place for one in ranges for place in unpack_frame(block[one.field])]
        assert len(ranges) > 1, key
        assert len(places) == len(set(places)), key


def test_frames_of_a_piece_at_hand_are_not_taken_in_again(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that has just been sealed holds nothing of what is left, though it is of the same slots and views."""
    monkeypatch.setattr(sealing, "CELLS_PER_FRAME", 7)
    unpacked: list[bytes] = []

    def noting(packed: bytes) -> Any:
        unpacked.append(packed)
        return unpack_frame(packed)

    monkeypatch.setattr(sealing, "unpack_frame", noting)
    shard = open_shard(client, AT_ONCE)
    apply(shard, some_calls(60, hours=1))
    seal_all(shard)
    assert unpacked == []
    apply(shard, some_calls(1, 60, hours=1))
    seal_all(shard)
    assert unpacked
