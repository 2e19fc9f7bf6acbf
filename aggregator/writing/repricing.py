"""Calls that cost otherwise by the prices of now, found among records that are kept."""

from aggregator.objects.frame_cache import FrameCache
from aggregator.store.shard_store import ShardStore
from aggregator.writing.fold import Fold
from aggregator.writing.loading import load_numbered
from aggregator.writing.records import Records


def reprice_calls(
    fold: Fold, numbers: range, oldest_us: int, records: Records, store: ShardStore, frames: FrameCache
) -> int:
    """Give the calls of these record numbers that began after `oldest_us` their cost by the prices of the fold.

    Returns how many cost otherwise than before. Raises what the store raises.
    """
    found = load_numbered(numbers, records, store, frames)
    return sum(fold.reprice(number) for number in found if (records.calls[number].started_us or 0) > oldest_us)
