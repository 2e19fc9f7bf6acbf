"""Calls that are counted and get other prices: what would change, and the change, chunk by chunk beside the workers."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial

import msgspec

from aggregator.calls.usage_vector import COSTS, PRICED_ROWS, Vector
from aggregator.layout.keys import CALLS_PER_CHUNK
from aggregator.layout.sealed_calls import calls_of_chunk
from aggregator.objects.frame_cache import FrameCache
from aggregator.prices.book import PriceBook
from aggregator.store.shard_store import ShardStore
from aggregator.writing.costing import repriced_usage
from aggregator.writing.shard import Shard
from callmeter.beside_workers import beside_workers


class CostChange(msgspec.Struct):
    """Calls of a model whose cost would change, and what they cost before and after, in pico-dollars; of these, how
    many had no price before, and have none after.
    """

    calls: int = 0
    before_pico: int = 0
    after_pico: int = 0
    unpriced_before: int = 0
    unpriced_after: int = 0

    def add(self, before: Vector, after: Vector) -> None:
        """Count one call."""
        self.calls += 1
        self.before_pico += sum(before[COSTS])
        self.after_pico += sum(after[COSTS])
        self.unpriced_before += not before[PRICED_ROWS]
        self.unpriced_after += not after[PRICED_ROWS]


CostChanges = defaultdict[tuple[str, str], CostChange]
"""By project and model."""


def chunks_of(store: ShardStore) -> range:
    """Return the chunks of call records that a shard keeps."""
    fields = store.shard_fields()
    return range(int(fields.get("chunks_dropped", 0)), -(-int(fields.get("calls_numbered", 0)) // CALLS_PER_CHUNK))


def look(
    store: ShardStore, prices: PriceBook, oldest_us: int, changes: CostChanges, frames: FrameCache
) -> Iterator[int]:
    """Add to `changes` what these prices would change of a shard's calls that began after `oldest_us`; yields the calls
    looked at, chunk by chunk. Raises CorruptFrame, and what the store and `frames` raise.
    """
    [projects] = store.read_hashes([store.keys.projects])
    names = {int(number): name.decode() for name, number in projects.items()}
    for chunk in chunks_of(store):
        key = store.keys.calls(chunk)
        [fields] = store.read_hashes([key])
        calls = calls_of_chunk(key, chunk * CALLS_PER_CHUNK, fields, frames)
        for call in calls.values():
            if (call.started_us or 0) <= oldest_us or call.project not in names:
                continue
            project_id = names[call.project]
            for model, after in repriced_usage(call, project_id, prices).items():
                if after != call.usage[model]:
                    changes[project_id, model].add(call.usage[model], after)
        yield len(calls)


def reprice(shard: Shard, now_us: int) -> Iterator[int]:
    """Give all calls of a shard their cost by its writer's prices; yields how many changed, chunk by chunk.

    What a killed run has done stays done. Raises Outrun where a worker writes without pause, and what the store raises.
    """
    for chunk in chunks_of(shard.store):
        numbers = range(chunk * CALLS_PER_CHUNK, (chunk + 1) * CALLS_PER_CHUNK)
        yield beside_workers(partial(shard.reprice, numbers, now_us), shard.recover)
