"""Reading the open calls of traces: what is unfinished below a call, and which traces have calls in several shards."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from aggregator.layout.open_calls import OpenCall, unpack_open_calls
from aggregator.reading.rollups import TooMuchToRead
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader

# Unfinished calls, with their ancestors, in the traces that are asked for: 3 µs and 100 bytes of an answer each.
OPEN_CALLS_READ_MAX = 200_000

TraceOfShard = tuple[ProjectShard, bytes]
"""What a shard holds of a trace, by the trace's packed id."""


async def read_open_calls(reader: StoreReader, traces: Sequence[TraceOfShard]) -> list[dict[int, OpenCall]]:
    """The open calls of each trace, by record number. Raises TooMuchToRead."""
    keys = [shard.keys.open_calls(shard.project, trace) for shard, trace in traces]
    if sum(await reader.fetch([("HLEN", key) for key in keys])) > OPEN_CALLS_READ_MAX:
        raise TooMuchToRead(f"the traces of these calls have more than {OPEN_CALLS_READ_MAX:,} unfinished calls")
    return [unpack_open_calls(stored) for stored in await reader.fetch([("HGETALL", key) for key in keys])]


async def traces_elsewhere(
    reader: StoreReader, project: OpenedProject, traces: Iterable[TraceOfShard]
) -> set[TraceOfShard]:
    """Return those of the traces of which another shard of the project holds something that belongs below calls it
    lacks.

    Whatever a shard holds of a trace without its root waits there for a parent, or is unfinished.
    """
    elsewhere = [(one, other) for one in traces for other in project.shards if other != one[0]]
    there = await reader.fetch([("EXISTS", other.keys.open_calls(other.project, one[1])) for one, other in elsewhere])
    return {one for (one, _), is_there in zip(elsewhere, there, strict=True) if is_there}


def unfinished_below(open_calls: Mapping[int, OpenCall], roots: Collection[int]) -> list[bytes]:
    """Packed ids of the unfinished calls among `roots` and their descendants, each once."""
    children: dict[int | None, list[int]] = {}
    for number, (parent, _) in open_calls.items():
        children.setdefault(parent, []).append(number)
    found = []
    to_visit, seen = [number for number in roots if number in open_calls], set(roots)
    while to_visit:
        number = to_visit.pop()
        packed_id = open_calls[number].unfinished_id
        if packed_id is not None:
            found.append(packed_id)
        below = [child for child in children.get(number, ()) if child not in seen]
        seen.update(below)
        to_visit.extend(below)
    return found
