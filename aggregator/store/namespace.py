"""All that callmeter keeps in Redis under a namespace of the settings: of a generation, and beside all of them."""

from aggregator.layout.keys import ShardName, alert_keys
from aggregator.layout.namespace_keys import is_registry, shard_of_key
from aggregator.store.backup_state import lineage_key
from aggregator.store.generation import live_key, rebuild_key
from aggregator.store.key_store import access_key_hashes


class NamespaceKeys:
    """The keys of a namespace that are worth keeping, with the shards of one generation. Leases, and what is shown for
    a while, are none of them.
    """

    def __init__(self, namespace: str, generation: str) -> None:
        self.generation = generation
        # A generation's namespace begins with the namespace.
        self.prefixes = (namespace, f"{{{namespace}")
        _, *alerts, _ = alert_keys(namespace)
        self._beside = {
            name.encode()
            for name in (
                live_key(namespace),
                rebuild_key(namespace),
                lineage_key(namespace),
                *access_key_hashes(namespace),
                *alerts,
            )
        }

    def named(self, tag: str) -> ShardName:
        """The shard of a tag that `group` has given."""
        shard = self.shard(tag.encode())
        assert shard is not None
        return shard

    def shard(self, key: bytes) -> ShardName | None:
        """The shard that a key belongs to."""
        return shard_of_key(key, self.generation)

    def is_shared(self, key: bytes) -> bool:
        """Whether a key is one of those that are of no shard."""
        return key in self._beside or is_registry(key, self.generation)

    def group(self, key: bytes) -> str | None:
        """The tag of the shard that a key belongs to, nothing for one of no shard; None for keys of others."""
        shard = self.shard(key)
        return shard.tag if shard is not None else "" if self.is_shared(key) else None
