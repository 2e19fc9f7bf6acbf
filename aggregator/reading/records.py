"""Reading call records by number, sealed or not, wherever their frames are."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from aggregator.calls.call import Call
from aggregator.layout.keys import CALLS_PER_CHUNK
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, calls_among, located, sealed_calls
from aggregator.objects.frame_cache import DamagedObject, Located
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.segments.compression import CorruptFrame
from aggregator.store.reader import ProjectShard, StoreReader, UnknownLayout

# Read between two looks at what else there is to do: some milliseconds.
FRAMES_AT_ONCE_MAX = 10


class DamagedCalls(UnknownLayout):
    """Sealed call records cannot be read: the message says which."""


class _Sealed(NamedTuple):
    """Records of a chunk that are in its frame, if anywhere: the chunk's key, their numbers, and what the frame's field
    holds, or where it leads.
    """

    key: str
    numbers: list[int]
    field: bytes
    place: Located | None


async def read_records(reader: StoreReader, shard: ProjectShard, numbers: Sequence[int], keep: bool) -> dict[int, Call]:
    """The records of these numbers, but for those past their retention. Raises DamagedCalls.

    `keep`: those of objects are kept, and are to be left as they are; who asks for many does not want that.
    """
    calls, all_sealed = await _read_chunks(reader, shard, numbers)
    to_read: list[_Sealed] = []
    for sealed in all_sealed:
        known = reader.recent_records.find(sealed.place, sealed.numbers) if keep and sealed.place is not None else None
        if known is None:
            to_read.append(sealed)
        else:
            calls |= known
    try:
        frames = await reader.frames.read_aside([one.place for one in to_read if one.place is not None])
        for at, (key, wanted, field, place) in enumerate(to_read, 1):
            if at % FRAMES_AT_ONCE_MAX == 0:
                await asyncio.sleep(0)
            found = sealed_calls(key, field if place is None else frames[place], set(wanted))
            if keep and place is not None:
                reader.recent_records.keep(place, found)
            calls |= found
    except (ObjectStoreAway, DamagedObject, CorruptFrame) as why:
        raise DamagedCalls(str(why)) from why
    return calls


async def _read_chunks(
    reader: StoreReader, shard: ProjectShard, numbers: Sequence[int]
) -> tuple[dict[int, Call], list[_Sealed]]:
    """The records that are not sealed, and where those of each chunk are that may be."""
    by_chunk: dict[int, list[int]] = {}
    for number in numbers:
        by_chunk.setdefault(number // CALLS_PER_CHUNK, []).append(number)
    replies = await reader.fetch(
        [  # frame and fields in one command, so that no record is sealed in between
            ("HMGET", shard.keys.calls(chunk), CALL_FRAME_FIELD, *(number % CALLS_PER_CHUNK for number in within))
            for chunk, within in by_chunk.items()
        ]
    )
    calls: dict[int, Call] = {}
    all_sealed: list[_Sealed] = []
    for (field, *stored), (chunk, within) in zip(replies, by_chunk.items(), strict=True):
        key = shard.keys.calls(chunk)
        calls |= calls_among(key, within, stored, None)
        sealed = [number for number, record in zip(within, stored, strict=True) if record is None]
        if field is not None and sealed:
            all_sealed.append(_Sealed(key, sealed, field, located(key, field)))
    return calls, all_sealed
