"""What a folded batch changes, as fields and keys of the shard."""

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import NamedTuple

from aggregator.calls.call import CALL_CODEC
from aggregator.calls.packed_id import unpack_id
from aggregator.layout import keys as layout
from aggregator.layout.keys import CALLS_PER_CHUNK, LAYOUT_VERSION, SHORT_ROLLUP, ShardKeys
from aggregator.layout.open_calls import pack_open_call
from aggregator.layout.slots import TouchedBlock
from aggregator.layout.write import ShardWrite
from aggregator.rollups.levels import Retention
from aggregator.time_units import DAY_S
from aggregator.writing.batch_changes import BatchChanges
from aggregator.writing.records import Records


class KnownNumbers(NamedTuple):
    """What Redis knew before the batch: numbers below these."""

    records: int
    projects: int


def write_changes(
    changes: BatchChanges,
    records: Records,
    known: KnownNumbers,
    keys: ShardKeys,
    retention: Retention,
    write: ShardWrite,
) -> None:
    """Records, ids, projects, refs and open calls."""
    calls, pack = records.calls, CALL_CODEC.pack
    for chunk, numbers in groupby(sorted(changes.records), lambda number: number // CALLS_PER_CHUNK):
        write.fields[keys.calls(chunk)] = {number % CALLS_PER_CHUNK: pack(calls[number]) for number in numbers}
    new = {
        layout.id_field(call.project, call.packed_id): number
        for number in range(known.records, records.next_number)
        if (call := calls.get(number)) is not None
    }
    if new:
        write.fields[keys.ids] = new  # type: ignore[assignment]  # a dict of fewer kinds of values
    if records.projects_numbered > known.projects:
        write.set(keys.shard, "projects_numbered", records.projects_numbered)
        for project_id, project in records.projects.items():
            if project > known.projects:
                write.set(keys.projects, project_id, project)
    if (short := changes.short_rollup) is not None:
        write.set(keys.shard, SHORT_ROLLUP, f"{records.project_id(short.project)} {unpack_id(short.packed_id)}")
    _write_refs(changes, keys, retention, write)
    _write_open_calls(changes, records, keys, retention, write)


def _write_refs(changes: BatchChanges, keys: ShardKeys, retention: Retention, write: ShardWrite) -> None:
    for (project, day), indexes in changes.postings.items():
        for index in (layout.INPUT_REF, layout.OUTPUT_REF):
            if values := indexes.get(index):
                refs = keys.refs(project, index, day)
                write.names[refs] = list(values)
                write.expiries[refs] = day_expiry(day, retention.calls_s)


def _write_open_calls(
    changes: BatchChanges, records: Records, keys: ShardKeys, retention: Retention, write: ShardWrite
) -> None:
    for (project, trace), entries in changes.open_calls.items():
        key = keys.open_calls(project, trace)
        for number, entry in entries.items():
            if entry is None:
                write.deletions.setdefault(key, []).append(number)
            else:
                write.set(key, number, pack_open_call(entry))
                day = layout.day_of(records.calls[number].seen_us)
                write.expiries[key] = max(write.expiries.get(key, 0), day_expiry(day, retention.calls_s))


def note_blocks(touched: Mapping[str, TouchedBlock], keys: ShardKeys, retention: Retention, write: ShardWrite) -> None:
    """New versions for the slots that gain, and when their blocks expire.

    Each block goes when its level's retention has passed since its end, a day's views with the last of them.
    """
    for key, ((project, level, number), slots) in touched.items():
        versions = keys.versions(project, level, number)
        write.new_versions[versions] = slots
        end_s = (number + 1) * level.block_s
        write.expiries[key] = write.expiries[versions] = end_s + retention.level_s(level)
        day = (end_s - 1) // DAY_S
        views = keys.views(project, day)
        write.expiries[views] = max(day_expiry(day, retention.level_s(level)), write.expiries.get(views, 0))


def count(counters: Counter[str], next_number: int, as_of_us: int, keys: ShardKeys, write: ShardWrite) -> None:
    """The shard's own fields."""
    write.set(keys.shard, "layout", LAYOUT_VERSION)
    write.set(keys.shard, "calls_numbered", next_number)
    if as_of_us:
        write.set(keys.shard, "as_of_us", as_of_us)
    write.increments = {name: number for name, number in counters.items() if number}


def day_expiry(day: int, retention_s: int) -> int:
    """Return when what is kept of a UTC day goes (Unix s)."""
    return (day + 1) * DAY_S + retention_s
