"""Cells: which rollups count a batch, what must be read before, and what is written after."""

from collections.abc import Mapping

from aggregator.cells import SKETCHES, Cells, RollupKey, ViewMinute, spread
from aggregator.levels import FIVE_MINUTES, HOURS, MINUTES
from aggregator.redis_layout import ShardKeys, model_field, slot_field
from aggregator.rollup import ROLLUPS, CallTally, Increment, ModelRollup, Rollup
from aggregator.shard_write import Field, Key, ShardWrite
from tests.folding import SHARD

KEYS = ShardKeys(SHARD)
DAY = 20_515
MIDNIGHT = DAY * 1440
KEY = RollupKey(1, HOURS, DAY, 0, 3)
R, Q = KEYS.rollups(1, HOURS, DAY, 0), KEYS.sketches(1, HOURS, DAY, 0)
SLOT = slot_field(3)


def tally(*latencies_ms: int, **rows: tuple[int, ...]) -> CallTally:
    """One call for each latency; each keyword is a model with one row."""
    made = CallTally()
    made.calls = len(latencies_ms)
    made.latencies_ms = list(latencies_ms)
    made.rows = {model: [row] for model, row in rows.items()}
    return made


def increment(*latencies_ms: int, **rows: tuple[int, ...]) -> Increment:
    return tally(*latencies_ms, **rows).increment()


def stored(write: ShardWrite) -> Mapping[tuple[Key, Field], bytes]:
    """What Redis would then hold."""
    found = {}
    for key, fields in write.fields.items():
        for field, value in fields.items():
            assert isinstance(value, bytes)
            found[key, field] = value
    return found


def test_spread_over_levels() -> None:
    """14:59 and 15:00 are in two slots of every level, 15:00 and 15:04 in one of five minutes; each view is apart."""
    minutes = {14 * 60 + 59: 0, 15 * 60: 0, 15 * 60 + 4: 0, 15 * 60 + 1: 7}
    spread_out = spread({ViewMinute(1, MIDNIGHT + at, view): tally(at) for at, view in minutes.items()})
    calls = {(key.level.letter, key.slot, key.view): one.calls for key, one in spread_out.items()}
    assert calls == {
        ("m", 899, 0): 1,
        ("m", 900, 0): 1,
        ("m", 904, 0): 1,
        ("m", 901, 7): 1,
        ("f", 179, 0): 1,
        ("f", 180, 0): 2,
        ("f", 180, 7): 1,
        ("h", 14, 0): 1,
        ("h", 15, 0): 2,
        ("h", 15, 7): 1,
    }
    assert {key.day for key in spread_out} == {DAY}
    assert spread_out[RollupKey(1, HOURS, DAY, 0, 15)].latency == [1804, 900, 904, 0, 0]


def test_spread_over_midnight() -> None:
    """The last minute of a day and the first of the next are in slots of their own days."""
    spread_out = spread({ViewMinute(1, MIDNIGHT + at, 0): tally(1) for at in (-1, 0)})
    assert {(key.level, key.day, key.slot) for key in spread_out} == {
        *((MINUTES, DAY - 1, 1439), (FIVE_MINUTES, DAY - 1, 287), (HOURS, DAY - 1, 23)),
        *((MINUTES, DAY, 0), (FIVE_MINUTES, DAY, 0), (HOURS, DAY, 0)),
    }


def test_nothing_is_read_twice() -> None:
    """An unknown cell is read with its latencies and the models at hand; then only models that are new to the cache."""
    cells = Cells(KEYS)
    first = {KEY: increment(5, a=(1,) * 5)}
    assert cells.missing(first) == {R: [SLOT], Q: [SLOT, model_field(SLOT, "a")]}
    stored_before: dict[tuple[Key, Field], bytes] = {
        (R, SLOT): ROLLUPS.pack(Rollup(models={"b": ModelRollup(1, 0, [0] * 25)}))
    }
    cells.take(stored_before, first)
    cells.add(first, ShardWrite())
    assert cells.missing(first) == {}
    assert cells.missing({KEY: increment(b=(1,) * 5)}) == {Q: [model_field(SLOT, "b")]}
    assert cells.missing({KEY: increment(c=(1,) * 5)}) == {}


def test_what_is_written_is_read_again() -> None:
    """Two batches through Redis are the same as two in memory: totals, and every value in the sketches."""
    batches = [increment(5, 7, a=(1, 2, 3, 4, 5)), increment(0, a=(6, 6, 6, 6, 6, 7, 8, 9), b=(1,) * 5)]
    writes = []
    for forget in (False, True):
        cells = Cells(KEYS)
        kept: dict[tuple[Key, Field], bytes] = {}
        for one in batches:
            write = ShardWrite()
            cells.missing({KEY: one})
            cells.take(kept, {KEY: one})
            cells.add({KEY: one}, write)
            kept |= stored(write)
            if forget:
                cells.trim([], 0)
        writes.append(kept)
    in_memory, through_redis = writes
    assert in_memory == through_redis
    rollup = ROLLUPS.unpack(in_memory[R, SLOT])
    assert (rollup.calls, rollup.finished, rollup.latency) == (3, 3, [12, 0, 7, 0, 1])
    assert (rollup.models["a"].rows, rollup.models["a"].priced, rollup.models["b"].rows) == (2, 1, 1)
    assert SKETCHES.unpack(in_memory[Q, SLOT]) == [[5, 7, 0]]
    assert SKETCHES.unpack(in_memory[Q, model_field(SLOT, "a")]) == [
        *([1, 6], [2, 6], [3, 6], [4, 6], [5, 6]),
        *([7], [8], [9]),
    ]


def test_only_what_changed_is_written() -> None:
    """A batch of starts writes no sketch, one of another model not the first one's."""
    cells = Cells(KEYS)
    write = ShardWrite()
    started = CallTally()
    started.calls = 1
    for one in (increment(5, a=(1,) * 5), started.increment(), increment(6, b=(1,) * 5)):
        cells.take({}, {KEY: one})
        write = ShardWrite()
        cells.add({KEY: one}, write)
        if not one.latencies_ms:
            assert list(write.fields) == [R]
    assert set(write.fields[Q]) == {SLOT, model_field(SLOT, "b")}


def test_the_model_without_a_name() -> None:
    """Its sketches are apart from the latencies'."""
    cells = Cells(KEYS)
    write = ShardWrite()
    one = increment(5, **{"": (1, 2, 3, 4, 5)})
    cells.take({}, {KEY: one})
    cells.add({KEY: one}, write)
    kept = stored(write)
    assert SKETCHES.unpack(kept[Q, SLOT]) == [[5]]
    assert SKETCHES.unpack(kept[Q, model_field(SLOT, "")])[:5] == [[1], [2], [3], [4], [5]]


def test_trim_keeps_what_was_used_last() -> None:
    """Of three cells the two used last."""
    cells = Cells(KEYS)
    keys = [KEY._replace(slot=slot) for slot in range(3)]
    batch = {key: increment(1) for key in keys}
    cells.take({}, batch)
    cells.trim([keys[0]], 2)
    assert [key.slot for key in keys if KEYS.rollups(*key[:4]) in cells.missing({key: batch[key]})] == [1]
