"""Bringing the records that a batch touches, and all their ancestors, into the writer's cache."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from aggregator.calls.call import CALL_CODEC, Call
from aggregator.calls.event import Event
from aggregator.calls.packed_id import pack_id
from aggregator.layout.keys import CALLS_PER_CHUNK, id_field
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, read_call_frames, sealed_calls
from aggregator.layout.write import Field, Key
from aggregator.objects.frame_cache import FrameCache
from aggregator.store.shard_store import ShardStore
from aggregator.writing.ids import Ids
from aggregator.writing.records import Records

# A chain of ancestors that is deeper is loaded by chunks: a round trip for each of 100,000 took 18 s.
GENERATIONS_SINGLY = 8


def load_records(
    events: Sequence[Event], records: Records, ids: Ids, store: ShardStore, frames: FrameCache
) -> list[bytes]:
    """Load the records that `events` name, by id, then their ancestors, generation by generation.

    Returns the id field of each event's call. New projects get their numbers.
    """
    fields, of_parents = _named(events, records)
    named = dict.fromkeys(chain(fields, of_parents))
    numbers = records.numbers
    unknown = [field for field in named if field not in numbers]
    if unknown:
        found = [number for number in ids.find(unknown) if number not in records.calls]
        _load_numbers(found, records, store, frames)  # of any other call too, each then known by its own id
    _load_ancestors([number for number in map(numbers.get, named) if number is not None], records, store, frames)
    return fields


def load_numbered(wanted: range, records: Records, store: ShardStore, frames: FrameCache) -> list[int]:
    """Load the records of these numbers, and their ancestors; returns the numbers of those that there are."""
    calls = records.calls
    _load_numbers([number for number in wanted if number not in calls], records, store, frames)
    found = [number for number in wanted if number in calls]
    _load_ancestors(found, records, store, frames)
    return found


def load_numbers(wanted: Iterable[int], records: Records, store: ShardStore, frames: FrameCache) -> None:
    """Load those of these records that are not at hand, without their ancestors."""
    _load_numbers([number for number in wanted if number not in records.calls], records, store, frames)


def _load_ancestors(lowest: list[int], records: Records, store: ShardStore, frames: FrameCache) -> None:
    """Load the ancestors of these calls, generation by generation."""
    calls = records.calls
    seen: set[int] = set()
    generations = 0
    while lowest:
        orphans = _orphans(lowest, calls, seen)
        parents = {parent for number in orphans if (parent := calls[number].parent_number) is not None}
        generations += 1
        _load_numbers(
            parents if generations <= GENERATIONS_SINGLY else _neighbours(parents, calls), records, store, frames
        )
        lowest = []
        for number in orphans:
            parent = calls[number].parent_number
            if parent in calls:
                lowest.append(parent)
            else:
                calls[number].parent_number = None  # dropped: past its retention, or none


def _neighbours(numbers: Iterable[int], calls: Mapping[int, Call]) -> set[int]:
    """Return the numbers stored beside these that are not here: the links of a chain come one after another."""
    chunks = {number // CALLS_PER_CHUNK for number in numbers}
    return {
        number
        for chunk in chunks
        for number in range(chunk * CALLS_PER_CHUNK, (chunk + 1) * CALLS_PER_CHUNK)
        if number not in calls
    }


def _orphans(numbers: Iterable[int], calls: Mapping[int, Call], seen: set[int]) -> list[int]:
    """Return those of these calls and their ancestors that are not `seen` yet and whose parents are not here."""
    orphans = []
    for number in numbers:
        above: int | None = number
        while above is not None and above not in seen:
            seen.add(above)
            parent = calls[above].parent_number
            if parent is not None and parent not in calls:
                orphans.append(above)
                break
            above = parent
    return orphans


def _named(events: Sequence[Event], records: Records) -> tuple[list[bytes], list[bytes]]:
    """The id fields of the calls of `events`, one for each, and those of the parents they name."""
    prefixes = {  # by first event, so that no new project gets its number by chance
        project_id: id_field(records.project(project_id), b"")
        for project_id in dict.fromkeys(event.project_id for event in events)
    }
    fields, of_parents = [], []
    for event in events:
        prefix, start = prefixes[event.project_id], event.start
        fields.append(prefix + pack_id(event.call_id))
        if start is not None and start.parent_id is not None:
            of_parents.append(prefix + pack_id(start.parent_id))
    return fields, of_parents


def _load_numbers(numbers: Iterable[int], records: Records, store: ShardStore, frames: FrameCache) -> None:
    by_chunk: dict[int, list[Field]] = {}
    for number in numbers:
        by_chunk.setdefault(number // CALLS_PER_CHUNK, []).append(number % CALLS_PER_CHUNK)
    wanted: dict[Key, list[Field]] = {store.keys.calls(chunk): fields for chunk, fields in by_chunk.items()}
    found = store.read_fields(wanted)
    sealed: dict[int, set[int]] = {}
    for chunk, places in by_chunk.items():
        for place, packed in zip(places, found[store.keys.calls(chunk)], strict=True):
            number = chunk * CALLS_PER_CHUNK + int(place)
            if packed is not None:
                records.put(number, CALL_CODEC.unpack(packed))
            else:
                sealed.setdefault(chunk, set()).add(number)
    _load_sealed(sealed, records, store, frames)


def _load_sealed(wanted: Mapping[int, set[int]], records: Records, store: ShardStore, frames: FrameCache) -> None:
    """Load those of these numbers, by chunk, that are in the frame of their chunk. Raises CorruptFrame and what
    FrameCache raises.
    """
    found = store.read_fields({store.keys.calls(chunk): [CALL_FRAME_FIELD] for chunk in wanted})
    opened = read_call_frames({str(key): frame for key, [frame] in found.items()}, frames)
    for chunk, numbers in wanted.items():
        frame = opened[store.keys.calls(chunk)]
        if frame is not None:
            for number, call in sealed_calls(store.keys.calls(chunk), frame, numbers).items():
                records.put(number, call)
