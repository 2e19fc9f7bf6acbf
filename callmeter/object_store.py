"""Opens the object store of sealed rollups, as the settings say."""

import click

from aggregator.objects.bucket_store import BucketsNotInstalled
from aggregator.objects.cached_store import CachedStore
from aggregator.objects.object_store import ObjectStore
from aggregator.objects.opening import open_store
from callmeter.settings import Settings


def opened_store(settings: Settings) -> ObjectStore | None:
    """The store; None where none is set. Raises click.ClickException where it cannot be used at all."""
    try:
        return open_store(settings.segments.url)
    except (BucketsNotInstalled, ValueError) as wrong:
        raise click.ClickException(f"CALLMETER_SEGMENTS__URL={settings.segments.url}: {wrong}") from None


def kept_on_disk(store: ObjectStore | None, settings: Settings) -> ObjectStore | None:
    """The store, with what the api reads of it kept on disk where the settings say so."""
    directory, bytes_max = settings.api.disk_cache, settings.api.disk_cache_bytes_max
    return (
        store if store is None or directory is None else CachedStore(store, settings.segments.url, directory, bytes_max)
    )
