"""The rollups and sketches a writer has at hand, and how a batch changes them."""

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import NamedTuple

import msgspec

from aggregator.levels import LEVELS, MINUTE_US, Level
from aggregator.packing import Packing
from aggregator.redis_layout import ShardKeys, day_of, model_field, slot_field, slot_of
from aggregator.rollup import ROLLUPS, USAGE_METRICS, CallTally, Increment, Rollup, add, join
from aggregator.shard_write import Field, Key, ShardWrite
from aggregator.sketch import Packed, Sketch

SKETCHES = Packing(list[Packed])


class RollupKey(NamedTuple):
    """What a rollup covers: a project's view, numbered on that UTC day, in one slot of a level."""

    project: int
    level: Level
    day: int
    view: int
    slot: int


class ViewMinute(NamedTuple):
    """A view of a project in one minute (since 1970)."""

    project: int
    minute: int
    view: int


class Cell(msgspec.Struct):
    """A rollup with its sketches: of latencies, and by model, metric by metric of USAGE_METRICS."""

    rollup: Rollup = msgspec.field(default_factory=Rollup)
    latency: Sketch = msgspec.field(default_factory=Sketch)
    models: dict[str, list[Sketch]] = msgspec.field(default_factory=dict)


def spread(tallies: Mapping[ViewMinute, CallTally]) -> dict[RollupKey, Increment]:
    """What each rollup of each level gains. What one minute brings is summed up once, however many rollups count it."""
    parts: dict[RollupKey, list[Increment]] = {}
    for (project, minute, view), tally in tallies.items():
        increment = tally.increment()
        time_us = minute * MINUTE_US
        day = day_of(time_us)
        for level in LEVELS:
            key = RollupKey(project, level, day, view, slot_of(time_us, level))
            parts.setdefault(key, []).append(increment)
    return {key: join(increments) for key, increments in parts.items()}


class Cells:
    """A bounded cache of cells. A cell's sketches of a model are loaded only when a batch first needs them."""

    def __init__(self, keys: ShardKeys) -> None:
        self._keys = keys
        self._cells: dict[RollupKey, Cell] = {}

    def missing(self, increments: Mapping[RollupKey, Increment]) -> dict[Key, list[Field]]:
        """The stored fields that must be read before `increments` can be added."""
        wanted: dict[Key, list[Field]] = {}
        for key, increment in increments.items():
            field = slot_field(key.slot)
            cell = self._cells.get(key)
            if cell is None:
                wanted.setdefault(self._keys.rollups(*key[:4]), []).append(field)
                sketched = [field, *(model_field(field, model) for model in increment.models)]
            else:
                known = cell.rollup.models
                sketched = [
                    model_field(field, model)
                    for model in increment.models
                    if model in known and model not in cell.models
                ]
            if sketched:
                wanted.setdefault(self._keys.sketches(*key[:4]), []).extend(sketched)
        return wanted

    def take(self, stored: Mapping[tuple[Key, Field], bytes], increments: Mapping[RollupKey, Increment]) -> None:
        """Take in what was read for `missing`."""
        for key, increment in increments.items():
            field, sketch_key = slot_field(key.slot), self._keys.sketches(*key[:4])
            cell = self._cells.get(key)
            if cell is None:
                cell = self._cells[key] = Cell()
                rollup = stored.get((self._keys.rollups(*key[:4]), field))
                if rollup is not None:
                    cell.rollup = ROLLUPS.unpack(rollup)
                latency = stored.get((sketch_key, field))
                if latency is not None:
                    (cell.latency,) = _unpack_sketches(latency)
            for model in increment.models:
                packed = stored.get((sketch_key, model_field(field, model)))
                if packed is not None:
                    cell.models[model] = _unpack_sketches(packed)

    def add(self, increments: Mapping[RollupKey, Increment], write: ShardWrite) -> None:
        """Count a batch, all its cells being here, and note what to store."""
        for key, increment in increments.items():
            cell = self._cells[key]
            add_to_cell(cell, increment)
            self._write(key, cell, increment, write)

    def _write(self, key: RollupKey, cell: Cell, increment: Increment, write: ShardWrite) -> None:
        field, sketch_key = slot_field(key.slot), self._keys.sketches(*key[:4])
        write.set(self._keys.rollups(*key[:4]), field, ROLLUPS.pack(cell.rollup))
        if increment.latencies_ms:
            write.set(sketch_key, field, SKETCHES.pack([cell.latency.pack()]))
        for model in increment.models:
            packed = SKETCHES.pack([sketch.pack() for sketch in cell.models[model]])
            write.set(sketch_key, model_field(field, model), packed)

    def trim(self, used: Iterable[RollupKey], cells_max: int) -> None:
        """Keep the cells used last, `cells_max` in all (more where `used` is more)."""
        for key in used:
            self._cells[key] = self._cells.pop(key)
        excess = len(self._cells) - cells_max
        if excess > 0:
            for key in list(islice(self._cells, excess)):
                del self._cells[key]


def _unpack_sketches(packed: bytes) -> list[Sketch]:
    return [Sketch.unpack(one) for one in SKETCHES.unpack(packed)]


def add_to_cell(cell: Cell, increment: Increment) -> None:
    """Count what a batch brings to this cell."""
    add(cell.rollup, increment)
    if increment.latencies_ms:
        cell.latency.add(increment.latencies_ms)
    for model, more in increment.models.items():
        sketches = cell.models.get(model)
        if sketches is None:
            sketches = cell.models[model] = [Sketch() for _ in USAGE_METRICS]
        for sketch, values in zip(sketches, more.values, strict=False):  # no cost values where nothing is priced
            sketch.add(values)
