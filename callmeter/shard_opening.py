"""Opens shards as the settings say: prices, retention, limits, and how many partitions a topic has."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import click
import redis

from aggregator.layout.keys import ShardName
from aggregator.objects.object_store import ObjectStore
from aggregator.prices.book import PriceBook
from aggregator.prices.catalogue import PriceCatalogue
from aggregator.prices.file import PriceFileError, load_price_file
from aggregator.store.elsewhere import Elsewhere
from aggregator.store.persistence import keeps_on_disk
from aggregator.store.shard_store import ShardStore
from aggregator.writing.limits import ShardLimits
from aggregator.writing.objects_access import objects_access
from aggregator.writing.shard import Shard
from callmeter.object_store import opened_store
from callmeter.settings import Settings
from ingest.assignment import Assignment
from ingest.kafka.partition import Partition
from ingest.kafka.watermarks import partition_count

log = logging.getLogger(__name__)


def price_book(settings: Settings) -> PriceBook:
    """Return the operator's prices, before the catalogue's. Raises click.ClickException where the file is wrong."""
    try:
        file = load_price_file(settings.prices_file) if settings.prices_file else None
    except PriceFileError as wrong:
        raise click.ClickException(f"CALLMETER_PRICES_FILE: {wrong}") from None
    return PriceBook(file, PriceCatalogue())


class ShardOpener:
    """Gives writers of shards; `counted` makes of the object store the one that they use.

    Raises click.ClickException where the price file or the object store is wrong.
    """

    def __init__(
        self,
        settings: Settings,
        client: redis.Redis,
        counted: Callable[[ObjectStore | None], ObjectStore | None] = lambda store: store,
    ) -> None:
        self._kafka = settings.kafka
        self._client = client
        self._prices = price_book(settings)
        self._retention = settings.retention.kept()
        self._limits = ShardLimits(
            calls_cached_max=settings.limits.calls_cached,
            cells_cached_max=settings.limits.cells_cached,
            views_max=settings.limits.views,
            seal_after_s=settings.segments.seal_after if settings.segments.seal else None,
            error_bytes_max=settings.keep.error_text,
        )
        self._store = counted(opened_store(settings))
        self._aside = ThreadPoolExecutor(1, "segments") if self._store is not None else None
        # Of calls that other shards have moved; the writer of each shard has its own.
        self.frames = objects_access(self._store, None).frames
        self._partitions: dict[str, int] = {}
        self._is_persistence_known = False

    def elsewhere(self, assignment: Assignment) -> Elsewhere:
        """Return what the other shards of an assignment's topic know."""
        return Elsewhere(self._client, assignment.shard.store.shard, self._retention.calls_s, self.frames)

    def open(self, namespace: str, partition: Partition) -> Shard:
        """The writer of a place in a generation, with what Redis holds. Raises what the store raises."""
        if partition.number >= self._partitions.get(partition.topic, 0):
            counted = partition_count(self._kafka.bootstrap_servers, partition.topic, self._kafka.extra)
            self._partitions[partition.topic] = max(counted, partition.number + 1)
        self._warn_where_nothing_is_kept()
        store = ShardStore(self._client, ShardName(namespace, *partition), self._partitions[partition.topic])
        objects = objects_access(self._store, self._aside)
        return Shard(store, self._prices, self._retention, self._limits, objects)

    def _warn_where_nothing_is_kept(self) -> None:
        """Say once where a restart of Redis would lose what cannot come back from Kafka."""
        if not self._is_persistence_known and keeps_on_disk(self._client) is False:
            log.warning(
                "Redis keeps nothing on disk: a restart loses access keys, and calls that Kafka no longer holds",
                extra={"remedy": "set `appendonly yes` in Redis, and state access keys in CALLMETER_KEYS_FILE"},
            )
        self._is_persistence_known = True
