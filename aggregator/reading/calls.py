"""Reading call records: those of some minutes, those that indexes select, those with given ids."""

from collections.abc import Iterable, Sequence

import msgspec

from aggregator.calls.call import CALL_CODEC, Call
from aggregator.calls.packed_id import pack_id
from aggregator.layout import keys as layout
from aggregator.layout.keys import CALLS_PER_CHUNK
from aggregator.reading.rollups import TooMuchToRead
from aggregator.store.reader import Command, OpenedProject, ProjectShard, StoreReader

# About 1 KB of memory and 2 µs each; who needs more asks for rollups, or a shorter window.
CALLS_READ_MAX = 1_000_000
# Distinct refs that the prefixes of a filter stand for, over all days and shards; each is looked up by itself.
REFS_READ_MAX = 100_000

Selected = dict[ProjectShard, set[int]]
"""Record numbers by shard."""


class IndexValues(msgspec.Struct, frozen=True):
    """Values of one index, any of which a call must have. A ref that ends in `:*` stands for all that begin so."""

    index: str
    values: tuple[str, ...]


async def select_minutes(reader: StoreReader, project: OpenedProject, minutes: Iterable[int]) -> Selected:
    """The calls that started in these minutes (since 1970)."""
    by_day: dict[int, list[bytes]] = {}
    for minute in minutes:
        by_day.setdefault(layout.day_of(minute * 60_000_000), []).append(minute.to_bytes(4, "big"))
    return await _read_postings(
        reader,
        [(shard, layout.MINUTE, day, values) for shard in project.shards for day, values in by_day.items()],
    )


async def select_by_index(
    reader: StoreReader, project: OpenedProject, wanted: IndexValues, days: Sequence[int]
) -> Selected:
    """The calls of these days that have one of the values."""
    index = wanted.index
    encode = pack_id if index in (layout.TRACE, layout.PARENT) else str.encode
    is_ref = index in (layout.INPUT_REF, layout.OUTPUT_REF)
    prefixes = [value[:-1].encode() for value in wanted.values if is_ref and value.endswith(":*")]
    exact = [encode(value) for value in wanted.values if not (is_ref and value.endswith(":*"))]
    places = [(shard, day) for shard in project.shards for day in days]
    named = await reader.fetch(
        [
            (
                "ZRANGEBYLEX",
                shard.keys.refs(shard.project, index, day),
                b"[" + prefix,
                b"[" + prefix + b"\xff",
                "LIMIT",
                0,
                REFS_READ_MAX + 1,
            )
            for shard, day in places
            for prefix in prefixes
        ]
    )
    if sum(map(len, named)) > REFS_READ_MAX:
        raise TooMuchToRead(f"what the filter's refs begin with stands for more than {REFS_READ_MAX:,} refs")
    lookups = []
    for position, (shard, day) in enumerate(places):
        begun = named[position * len(prefixes) : (position + 1) * len(prefixes)]
        values = dict.fromkeys([*exact, *(name for names in begun for name in names)])
        if values:
            lookups.append((shard, index, day, list(values)))
    return await _read_postings(reader, lookups)


async def select_ids(
    reader: StoreReader, project: OpenedProject, call_ids: Sequence[str]
) -> dict[str, list[tuple[ProjectShard, int]]]:
    """Where records of these ids are; unknown ids are left out.

    One shard has the call; others may have a record of the same id because a call of another trace named it as parent.
    """
    packed = [pack_id(call_id) for call_id in call_ids]
    if not packed:
        return {}
    replies = await reader.fetch(
        [
            ("HMGET", shard.keys.ids, *(layout.id_field(shard.project, one) for one in packed))
            for shard in project.shards
        ]
    )
    places: dict[str, list[tuple[ProjectShard, int]]] = {}
    for shard, numbers in zip(project.shards, replies, strict=True):
        for call_id, number in zip(call_ids, numbers, strict=True):
            if number is not None:
                places.setdefault(call_id, []).append((shard, int(number)))
    return places


async def read_calls(reader: StoreReader, selected: Selected) -> dict[tuple[ProjectShard, int], Call]:
    """The records of these numbers; those past their retention are left out."""
    commands: list[Command] = []
    places: list[tuple[ProjectShard, list[int]]] = []
    for shard, numbers in selected.items():
        by_chunk: dict[int, list[int]] = {}
        for number in sorted(numbers):
            by_chunk.setdefault(number // CALLS_PER_CHUNK, []).append(number)
        for chunk, within in by_chunk.items():
            commands.append(("HMGET", shard.keys.calls(chunk), *(number % CALLS_PER_CHUNK for number in within)))
            places.append((shard, within))
    return {
        (shard, number): CALL_CODEC.unpack(packed)
        for values, (shard, numbers) in zip(await reader.fetch(commands), places, strict=True)
        for packed, number in zip(values, numbers, strict=True)
        if packed is not None
    }


async def _read_postings(reader: StoreReader, lookups: list[tuple[ProjectShard, str, int, list[bytes]]]) -> Selected:
    replies = await reader.fetch(
        [("HMGET", shard.keys.postings(shard.project, index, day), *values) for shard, index, day, values in lookups]
    )
    selected: Selected = {}
    blocks: list[Command] = []
    block_shards: list[ProjectShard] = []
    read = 0
    for kept, (shard, index, day, values) in zip(replies, lookups, strict=True):
        for postings, value in zip(kept, values, strict=True):
            if postings is None:
                continue
            selected.setdefault(shard, set()).update(layout.posted(postings[4:]))
            full = int.from_bytes(postings[:4], "big")
            # A block is taken for full, so that nothing of it need be read to know.
            read += (full * layout.POSTING_BLOCK_BYTES + len(postings) - 4) // layout.POSTING_BYTES
            if read > CALLS_READ_MAX:
                raise TooMuchToRead(f"the filter selects more than {CALLS_READ_MAX:,} calls")
            if full:
                key = shard.keys.posting_blocks(shard.project, index, day)
                blocks.append(("HMGET", key, *(b"%d:%b" % (block, value) for block in range(full))))
                block_shards.append(shard)
    for found, shard in zip(await reader.fetch(blocks), block_shards, strict=True):
        for block in found:
            selected[shard].update(layout.posted(block or b""))
    return selected
