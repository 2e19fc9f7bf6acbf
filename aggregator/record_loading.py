"""Bringing the records that a batch touches, and all their ancestors, into the writer's cache."""

from collections.abc import Iterable

from aggregator.call import CALLS
from aggregator.event import Event
from aggregator.packed_id import pack_id
from aggregator.records import Records
from aggregator.redis_layout import CALLS_PER_CHUNK, id_field
from aggregator.shard_store import ShardStore
from aggregator.shard_write import Field, Key


def load_records(events: Iterable[Event], records: Records, store: ShardStore) -> None:
    """Load the records that `events` name, by id, then their ancestors, generation by generation."""
    named = _named(events, records)
    unknown = [field for field in named if field not in records.numbers]
    if unknown:
        found = store.read_fields({store.keys.ids: unknown})[store.keys.ids]
        _load_numbers([int(number) for number in found if number is not None], records, store)
    generation = {number for field in named if (number := records.numbers.get(field)) is not None}
    seen = set(generation)
    while generation:
        parents = {
            call.parent_number for number in generation if (call := records.calls[number]).parent_number is not None
        }
        _load_numbers([number for number in parents if number not in records.calls], records, store)
        for number in generation:
            if records.calls[number].parent_number not in records.calls:
                records.calls[number].parent_number = None  # dropped: past its retention, or none
        generation = {number for number in parents if number in records.calls} - seen
        seen |= generation


def _named(events: Iterable[Event], records: Records) -> list[bytes]:
    """The id fields of the calls and parents of `events`, each once, in projects that the shard knows."""
    named: dict[bytes, None] = {}
    for event in events:
        project = records.projects.get(event.project_id)
        if project is None:
            continue
        named[id_field(project, pack_id(event.call_id))] = None
        if event.start is not None and event.start.parent_id is not None:
            named[id_field(project, pack_id(event.start.parent_id))] = None
    return list(named)


def _load_numbers(numbers: Iterable[int], records: Records, store: ShardStore) -> None:
    by_chunk: dict[int, list[Field]] = {}
    for number in numbers:
        by_chunk.setdefault(number // CALLS_PER_CHUNK, []).append(number % CALLS_PER_CHUNK)
    wanted: dict[Key, list[Field]] = {store.keys.calls(chunk): fields for chunk, fields in by_chunk.items()}
    found = store.read_fields(wanted)
    for chunk, places in by_chunk.items():
        for place, packed in zip(places, found[store.keys.calls(chunk)], strict=True):
            if packed is not None:
                records.put(chunk * CALLS_PER_CHUNK + int(place), CALLS.unpack(packed))
