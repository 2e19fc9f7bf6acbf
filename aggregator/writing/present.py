"""Fields of hashes that are there, as caches load them."""

from collections.abc import Mapping, Sequence

from aggregator.layout.write import Field, Key
from aggregator.store.shard_store import ShardStore


def read_present(store: ShardStore, wanted: Mapping[Key, Sequence[Field]]) -> dict[tuple[Key, Field], bytes]:
    """The values of those of the fields that are there."""
    return {
        (key, field): value
        for key, values in store.read_fields(wanted).items()
        for field, value in zip(wanted[key], values, strict=True)
        if value is not None
    }
