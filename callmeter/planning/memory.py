"""How much Redis a load takes: call records, their indexes, rollups of each level, directories of views,
and what is kept of busy minutes.
"""

from dataclasses import dataclass
from typing import NamedTuple

from aggregator.layout.keys import CALLS_PER_CHUNK
from aggregator.layout.sealed import piece_s
from aggregator.rollups.levels import LEVELS
from aggregator.time_units import DAY_S, MINUTE_S
from aggregator.writing.call_moving import CHUNKS_PER_FULL_OBJECT
from aggregator.writing.limits import ShardLimits
from callmeter.durations import format_duration
from callmeter.planning.figures import Figures
from callmeter.planning.load import Load
from callmeter.planning.rollup_memory import LevelBytes, directory_bytes, level_bytes


@dataclass(frozen=True)
class Memory:
    """Bytes of Redis, of everything that is kept."""

    records_bytes: float
    indexes_bytes: float
    levels: dict[str, LevelBytes]
    directories_bytes: float
    busy_minutes_bytes: float = 0.0
    objects_bytes: float = 0.0  # beside Redis

    @property
    def total_bytes(self) -> float:
        return (
            self.records_bytes
            + self.indexes_bytes
            + self.directories_bytes
            + self.busy_minutes_bytes
            + sum(one.total_bytes for one in self.levels.values())
        )

    @property
    def largest(self) -> str:
        """Return what takes most, in words."""
        parts = {"Call records": self.records_bytes, "Indexes of calls": self.indexes_bytes}
        parts |= {f"Rollups by {format_duration(one.slot_s)}": self.levels[one.letter].total_bytes for one in LEVELS}
        return max(parts, key=lambda name: parts[name])


def needed_memory(load: Load, key: str, partitions: int, figures: Figures) -> Memory:
    """Return the memory of all shards together. Keyed by trace every shard holds a part of every project, with cells of
    its own.
    """
    shards = partitions if key == "trace" else 1
    one = project_memory(load.calls_per_s / load.projects / shards, load, figures)
    times = load.projects * shards
    levels = {letter: LevelBytes(*(times * size for size in sizes)) for letter, sizes in one.levels.items()}
    beside = (one.directories_bytes * times, one.busy_minutes_bytes * times, one.objects_bytes * times)
    return Memory(one.records_bytes * times, one.indexes_bytes * times, levels, *beside)


def project_memory(calls_per_s: float, load: Load, figures: Figures) -> Memory:
    """Return the memory of a project in one shard."""
    kept_s = load.retention.calls_s
    indexes_s = kept_s + DAY_S  # they go by the day
    records_bytes = calls_per_s * kept_s * figures.record_bytes_per_call
    fills_object_s = CHUNKS_PER_FULL_OBJECT * CALLS_PER_CHUNK / calls_per_s
    records = parts_left(load, figures, "records", kept_s, 0, fills_object_s)
    indexes_bytes = calls_per_s * indexes_s * figures.index_bytes_per_call
    # They are looked through once in so long as they are left where they came.
    indexes = parts_left(load, figures, "indexes", indexes_s, load.seal_after_s or 0)
    busy_bytes = calls_per_s * indexes_s * figures.busy_bytes_per_call if is_busy(calls_per_s) else 0.0
    busy = parts_left(load, figures, "busy", indexes_s, 0)
    levels: dict[str, LevelBytes] = {}
    objects_bytes = records_bytes * records.in_objects + indexes_bytes * indexes.in_objects
    objects_bytes += busy_bytes * busy.in_objects
    for level in LEVELS:
        level_kept_s = load.retention.level_s(level) + level.block_s
        of_level = parts_left(load, figures, level.letter, level_kept_s, piece_s(level))
        unsealed = level_bytes(calls_per_s, level, load.mix, load.retention, figures)
        levels[level.letter] = LevelBytes(*(of_level.in_redis * size for size in unsealed))
        objects_bytes += of_level.in_objects * unsealed.total_bytes
    return Memory(
        records_bytes * records.in_redis,
        indexes_bytes * indexes.in_redis,
        levels,
        directory_bytes(calls_per_s, load.mix, load.retention, figures),
        busy_bytes * busy.in_redis,
        objects_bytes,
    )


def is_busy(calls_per_s: float) -> bool:
    """Return whether minutes of a project in a shard are busy at this rate."""
    return calls_per_s * MINUTE_S >= ShardLimits().busy_calls_min


class PartsLeft(NamedTuple):
    """Parts of the bytes that something would take if it were not sealed: what is in Redis, and what is in objects."""

    in_redis: float
    in_objects: float


def parts_left(
    load: Load, figures: Figures, what: str, kept_s: float, open_s: float, fills_object_s: float = DAY_S
) -> PartsLeft:
    """Return what sealing and moving leave of what is kept so long. `open_s`: what is sealed together takes so long to
    be over; `fills_object_s`: what is moved together takes so long to come, if not a day.
    """
    if load.seal_after_s is None:
        return PartsLeft(1.0, 0.0)
    hot = min(1.0, (load.seal_after_s + open_s) / kept_s)
    moved = 0.0
    if load.moves and what in figures.moved_share:
        # What is of the first second of a day, or of an object, waits longest.
        waits_s = load.seal_after_s + min(fills_object_s, DAY_S) + ShardLimits().move_after_s
        moved = max(0.0, 1 - waits_s / kept_s)
    in_redis = (
        hot + (1 - hot - moved) * figures.sealed_share.get(what, 1.0) + moved * figures.moved_share.get(what, 1.0)
    )
    return PartsLeft(in_redis, moved * figures.object_share.get(what, 0.0))
