"""How much Redis a load takes: call records, their indexes, rollups of each level, and directories of views."""

from dataclasses import dataclass

from aggregator.layout.sealed import piece_s
from aggregator.rollups.levels import LEVELS, Level
from aggregator.time_units import DAY_S
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

    @property
    def total_bytes(self) -> float:
        return (
            self.records_bytes
            + self.indexes_bytes
            + self.directories_bytes
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
    return Memory(one.records_bytes * times, one.indexes_bytes * times, levels, one.directories_bytes * times)


def project_memory(calls_per_s: float, load: Load, figures: Figures) -> Memory:
    """Return the memory of a project in one shard."""
    kept_s = load.retention.calls_s
    indexes_s = kept_s + DAY_S  # they go by the day
    return Memory(
        calls_per_s * kept_s * figures.record_bytes_per_call * sealed_part(load, figures, "records", kept_s, 0),
        calls_per_s * indexes_s * figures.index_bytes_per_call * sealed_part(load, figures, "indexes", indexes_s, 0),
        {level.letter: _level_memory(calls_per_s, level, load, figures) for level in LEVELS},
        directory_bytes(calls_per_s, load.mix, load.retention, figures),
    )


def _level_memory(calls_per_s: float, level: Level, load: Load, figures: Figures) -> LevelBytes:
    kept_s = load.retention.level_s(level) + level.block_s
    part = sealed_part(load, figures, level.letter, kept_s, piece_s(level))
    return LevelBytes(*(part * size for size in level_bytes(calls_per_s, level, load.mix, load.retention, figures)))


def sealed_part(load: Load, figures: Figures, what: str, kept_s: float, open_s: float) -> float:
    """Return the part that sealing leaves of the bytes of what is kept so long. `open_s`: what is sealed together takes
    so long to be over.
    """
    if load.seal_after_s is None:
        return 1.0
    hot = min(1.0, (load.seal_after_s + open_s) / kept_s)
    return hot + (1 - hot) * figures.sealed_share.get(what, 1.0)
