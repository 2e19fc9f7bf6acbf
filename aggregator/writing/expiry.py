"""Call records past their retention: dropped chunk by chunk, together with their ids, in the step that applies a batch.

Chunks hold consecutive records, so the oldest chunk expires first but for late events; it waits for its newest call.
Rollups, views, postings and open calls need none of this: their keys hold one day, or trace, each and expire by
themselves.
"""

from collections.abc import Iterator, Mapping

from aggregator.calls.call import Call
from aggregator.layout.keys import CALLS_PER_CHUNK, id_field
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, calls_of_chunk, unpack_pointer
from aggregator.layout.write import ShardWrite
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US

# 8,192 records a batch: more than a batch can bring, so dropping keeps up, and a few milliseconds of work at most.
CHUNKS_PER_BATCH_MAX = 32


class ExpiredChunks:
    """Which chunks of a shard's records are still there, and when the oldest may go."""

    def __init__(self, store: ShardStore, retention: Retention, first_chunk: int, dropped_before_us: int) -> None:
        self._store = store
        self._retention_us = retention.calls_s * SECOND_US
        self._first_chunk = first_chunk
        self._not_before_us = 0
        self.dropped_before_us = dropped_before_us

    @property
    def first_number(self) -> int:
        """The number of the first record that is not dropped."""
        return self._first_chunk * CALLS_PER_CHUNK

    def drop(self, until_us: int, stored_numbers: int, in_hand: Mapping[int, Call], write: ShardWrite) -> Iterator[int]:
        """Add to `write` what drops the chunks whose calls are all past retention; yields the numbers dropped.

        `until_us`: how far time has come for this shard. `stored_numbers`: records below this number are in Redis,
        those of the batch are not yet. `in_hand`: records as the batch leaves them, which wins over what is stored.
        """
        for _ in range(CHUNKS_PER_BATCH_MAX):
            past_end = (self._first_chunk + 1) * CALLS_PER_CHUNK
            if past_end > stored_numbers or until_us < self._not_before_us:
                return
            key = self._store.keys.calls(self._first_chunk)
            [fields] = self._store.read_hashes([key])
            first = past_end - CALLS_PER_CHUNK
            # Of a frame in an object no more need be known; the ids of its calls have long been on pages.
            moved = unpack_pointer(fields.get(CALL_FRAME_FIELD))
            if moved is not None:
                del fields[CALL_FRAME_FIELD]
            calls = [in_hand.get(number, call) for number, call in calls_of_chunk(key, first, fields).items()]
            newest_us = max((call.seen_us for call in calls), default=0)
            if moved is not None:
                newest_us = max(newest_us, moved.newest_us)
            if newest_us + self._retention_us > until_us:
                self._not_before_us = newest_us + self._retention_us
                return
            self._drop_first(key, [id_field(call.project, call.packed_id) for call in calls], write)
            self.dropped_before_us = max(self.dropped_before_us, until_us - self._retention_us + 1)
            write.set(self._store.keys.shard, "dropped_before_us", self.dropped_before_us)
            yield from range(first, past_end)

    def _drop_first(self, key: str, ids: list[bytes], write: ShardWrite) -> None:
        if ids:
            write.deletions.setdefault(self._store.keys.ids, []).extend(ids)
        write.fields.pop(key, None)
        write.deletions.setdefault(self._store.keys.unmoved_calls, []).append(self._first_chunk)
        write.drops.append(key)
        self._first_chunk += 1
        write.set(self._store.keys.shard, "chunks_dropped", self._first_chunk)
