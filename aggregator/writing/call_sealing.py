"""Sealing call records, a chunk at a time, each in one fenced transaction (see sealing.py for cells).

A chunk is due when all its numbers are given and nothing has touched its records for a while: its calls have ended by
then, or have run for as long. Its records, those of its own fields before those of the frame it had, become its frame,
if the shard is still as it was read.
"""

import logging
from collections.abc import Iterable

from aggregator.layout.keys import CALLS_PER_CHUNK
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, calls_of_chunk
from aggregator.layout.write import ShardWrite
from aggregator.objects.frame_cache import DamagedObject, FrameCache
from aggregator.objects.object_store import ObjectStoreAway
from aggregator.segments.call_frame import pack_calls
from aggregator.store.shard_store import ShardStore
from aggregator.writing.call_moving import CallMoving
from aggregator.writing.due import WaitingToSeal

log = logging.getLogger(__name__)


class CallSealing:
    """The chunks of a shard that wait to be sealed. `frames` reads those that have moved, `moving` is told of new ones.

    Methods raise what the store raises; after that nothing here is right any more.
    """

    def __init__(self, store: ShardStore, seal_after_s: int | None, frames: FrameCache, moving: CallMoving) -> None:
        self._store = store
        self._frames, self._moving = frames, moving
        [waiting] = store.read_hashes([store.keys.unsealed_calls])
        self._waiting = WaitingToSeal(map(int, waiting), lambda _: 0, seal_after_s)

    def note(self, changed: Iterable[int], next_number: int, now_us: int, write: ShardWrite) -> None:
        """Let the full chunks wait whose records a batch changes; new ones are added to what is written."""
        if self._waiting.is_off:
            return
        past_full = next_number // CALLS_PER_CHUNK
        for chunk in {number // CALLS_PER_CHUNK for number in changed}:
            if chunk < past_full and self._waiting.note(chunk, now_us):
                write.set(self._store.keys.unsealed_calls, chunk, b"")

    def step(self, now_us: int, clock_us: int) -> int:
        """Seal a chunk that is due; returns how many records that may have been, 0 where nothing is due.

        Where it would need a frame that cannot be read, it lets the chunk wait as long as at first.
        """
        chunk = self._waiting.next_due(now_us)
        if chunk is None:
            return 0
        key = self._store.keys.calls(chunk)
        [fields] = self._store.read_hashes([key])
        write = ShardWrite(deletions={self._store.keys.unsealed_calls: [chunk]})
        if fields.keys() - {CALL_FRAME_FIELD}:  # unless all of it is past its retention
            try:
                calls = calls_of_chunk(key, chunk * CALLS_PER_CHUNK, fields, self._frames)
            except (ObjectStoreAway, DamagedObject) as why:
                log.warning("sealing calls again waits: a frame cannot be read", extra={"chunk": key, "why": str(why)})
                self._waiting.note(chunk, now_us)
                return 0
            write.set(key, CALL_FRAME_FIELD, pack_calls(calls))
            self._moving.drop(fields.get(CALL_FRAME_FIELD), chunk, clock_us, write)
            self._moving.note(chunk, max(call.seen_us for call in calls.values()), clock_us, write)
            write.drops.append(key)  # all of it: a hash that only shrinks keeps its table, 16 bytes a record
        self._store.replace(write)
        self._waiting.forget(chunk)
        return CALLS_PER_CHUNK
