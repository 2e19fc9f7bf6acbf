"""Counting single calls as columns, some at a time: what answers exactly where no views tell.

The postings of minutes say in which chunks calls of a project are; where a shard has few chunks for so many minutes,
all of them are looked through instead. A chunk is read whole, its frame opened as columns, and what the question asks
for is picked out and counted at once, off the event loop.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

import numpy as np

from aggregator.calls.call import CALL_CODEC
from aggregator.layout.keys import CALLS_PER_CHUNK
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, unpack_pointer
from aggregator.objects.frame_cache import DamagedObject
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.reading.calls import select_shard_minutes
from aggregator.reading.records import DamagedCalls
from aggregator.reading.rollups import TooMuchToRead
from aggregator.rollups.call_columns import CallColumns
from aggregator.segments.call_selection import CallSelection, WantedCalls
from aggregator.segments.compression import CorruptFrame
from aggregator.store.reader import ProjectShard, StoreReader
from aggregator.time_units import MINUTE_US

# Of one answer, whether they pass its filter or not: a month at 10 calls a second. Some 20 to 60 s of one processor, in
# portions, and each call is read from Redis or an object; who asks for more asks for a shorter window.
CALLS_LOOKED_AT_MAX = 30_000_000
# Chunks of one portion, each of 512 calls: 300 KB of frames, or 2 MB of what is not sealed, some 10 ms off the loop.
CHUNKS_PER_PORTION = 20
# Calls whose numbers are at hand at once, some 100 bytes each; chunks at their edges are read twice.
NUMBERS_AT_ONCE = 50_000
# Minutes whose postings are looked up at once.
MINUTES_AT_ONCE, MINUTES_AT_ONCE_MAX = 60, 1_440
# To look up the postings of so many minutes, once they are in objects, takes twice as long as to look through a chunk,
# some 0.5 ms: a shard of 690,000 calls is looked through whole for a month, however many projects it has.
MINUTES_PER_CHUNK = 32

GiveWay = Callable[[], Awaitable[None]]
"""Lets others have their turn, before each portion."""


class CallBudget:
    """How many calls an answer may still look at."""

    def __init__(self, calls_max: int = CALLS_LOOKED_AT_MAX) -> None:
        self._calls_max = calls_max
        self.looked_at = 0

    def take(self, calls: int) -> None:
        """Count calls. Raises TooMuchToRead."""
        self.looked_at += calls
        if self.looked_at > self._calls_max:
            raise TooMuchToRead(
                f"the project has more values than are kept apart, and more than {self._calls_max:,} calls to look "
                "through instead"
            )


async def count_facts(
    reader: StoreReader,
    shard: ProjectShard,
    windows: Sequence[tuple[int, int]],
    wanted: WantedCalls,
    count: Callable[[CallColumns], None],
    budget: CallBudget,
    give_way: GiveWay,
) -> None:
    """Give `count`, in a thread, those of the wanted calls of a shard that began in these windows, each call once.

    Windows are of whole minutes (microseconds since 1970), in order, and do not meet; what `wanted` says of time is
    left aside. What lies between them may be given too. Raises TooMuchToRead, StateLost, and DamagedCalls.
    """
    if not windows:
        return
    minutes = sum(-(-end_us // MINUTE_US) - start_us // MINUTE_US for start_us, end_us in windows)
    chunks = await _kept_chunks(reader, shard)
    if len(chunks) * MINUTES_PER_CHUNK > minutes:
        async for found, start_us, end_us in _chunks_by_minutes(reader, shard, windows, budget):
            some = wanted._replace(start_us=start_us, end_us=end_us)
            await _count_chunks(reader, shard, found, some, count, give_way)
        return
    budget.take(len(chunks) * CALLS_PER_CHUNK)
    all_windows = wanted._replace(start_us=windows[0][0], end_us=windows[-1][1])
    left = list(chunks)
    try:
        while left:
            await _count_chunks(reader, shard, left[:CHUNKS_PER_PORTION], all_windows, count, give_way)
            del left[:CHUNKS_PER_PORTION]
    except DamagedCalls:  # which may be none of these windows
        needed: set[int] = set()
        async for found, _, _ in _chunks_by_minutes(reader, shard, windows, budget):
            needed.update(found)
        some_left = [chunk for chunk in left if chunk in needed]
        await _count_chunks(reader, shard, some_left, all_windows, count, give_way)


async def _kept_chunks(reader: StoreReader, shard: ProjectShard) -> range:
    """The chunks that a shard may have."""
    [(dropped, numbered)] = await reader.fetch([("HMGET", shard.keys.shard, "chunks_dropped", "calls_numbered")])
    return range(int(dropped or 0), -(-int(numbered or 0) // CALLS_PER_CHUNK))


async def _chunks_by_minutes(
    reader: StoreReader, shard: ProjectShard, windows: Sequence[tuple[int, int]], budget: CallBudget
) -> AsyncIterator[tuple[list[int], int, int]]:
    """Yield the chunks that have calls of the project which began in some minutes of these windows, and these minutes,
    from when until when.
    """
    for start_us, end_us in windows:
        at, end = start_us // MINUTE_US, -(-end_us // MINUTE_US)
        minutes_at_once = MINUTES_AT_ONCE
        while at < end:
            until = min(end, at + minutes_at_once)
            try:
                numbers = (await select_shard_minutes(reader, [(shard, minute) for minute in range(at, until)])).get(
                    shard, set()
                )
            except TooMuchToRead:
                if until - at == 1:
                    raise
                minutes_at_once = (until - at) // 2
                continue
            budget.take(len(numbers))
            yield _chunks(numbers), at * MINUTE_US, until * MINUTE_US
            fitting = minutes_at_once * NUMBERS_AT_ONCE // max(1, len(numbers))
            minutes_at_once = min(max(1, fitting), 4 * minutes_at_once, MINUTES_AT_ONCE_MAX)
            at = until


def _chunks(numbers: set[int]) -> list[int]:
    found: list[int] = np.unique(np.fromiter(numbers, np.int64, len(numbers)) // CALLS_PER_CHUNK).tolist()
    return found


async def _count_chunks(
    reader: StoreReader,
    shard: ProjectShard,
    chunks: Sequence[int],
    wanted: WantedCalls,
    count: Callable[[CallColumns], None],
    give_way: GiveWay,
) -> None:
    for at in range(0, len(chunks), CHUNKS_PER_PORTION):
        await give_way()
        some = chunks[at : at + CHUNKS_PER_PORTION]
        keys = [shard.keys.calls(chunk) for chunk in some]
        # The frame and what lies beside it in one command, so that no record is sealed in between.
        stored = await reader.fetch([("HGETALL", key) for key in keys])
        moved = [unpack_pointer(fields.get(CALL_FRAME_FIELD)) for fields in stored]
        places = [
            None if one is None or one.newest_us < wanted.start_us else one.location.located(key)
            for key, one in zip(keys, moved, strict=True)
        ]
        try:
            read = await reader.frames.read_aside([place for place in places if place is not None])
        except (ObjectStoreAway, DamagedObject) as why:
            raise DamagedCalls(str(why)) from why
        in_redis = [None if one else fields.get(CALL_FRAME_FIELD) for one, fields in zip(moved, stored, strict=True)]
        frames = [frame if place is None else read[place] for frame, place in zip(in_redis, places, strict=True)]
        for fields in stored:
            fields.pop(CALL_FRAME_FIELD, None)
        await asyncio.to_thread(_count_portion, list(zip(keys, some, stored, frames, strict=True)), wanted, count)


_Chunk = tuple[str, int, Mapping[bytes, bytes], bytes | None]
"""A chunk: its key and number, the records that have a field of their own, and its frame."""


def _count_portion(portion: Sequence[_Chunk], wanted: WantedCalls, count: Callable[[CallColumns], None]) -> None:
    selection = CallSelection(wanted)
    for key, chunk, fields, frame in portion:
        first = chunk * CALLS_PER_CHUNK
        own = {first + int(place): packed for place, packed in fields.items()}
        selection.add_calls(map(CALL_CODEC.unpack, own.values()))
        if frame is not None:
            try:
                selection.add_frame(frame, own)
            except CorruptFrame as why:
                raise DamagedCalls(f"the sealed records of {key} are damaged: {why}") from why
    columns = selection.columns()
    if columns.size:
        count(columns)
