"""Which models' calls have no cost, as series of a bounded number: the first models by name, the others as one."""

from collections import Counter
from collections.abc import Iterable, Mapping

import redis

from aggregator.layout.unpriced import read_unpriced
from callmeter.stored_offsets import stores

OTHER = "other"
# Each is a series for every partition of the worker; whoever has more such models fixes prices, not panels.
MODELS_TOLD_MAX = 20
# Names come from producers and may be long; `callmeter prices` has them whole.
MODEL_CHARACTERS_MAX = 128

PartitionName = tuple[str, int]
"""A topic and the number of one of its partitions."""


def unpriced_calls(client: redis.Redis, namespace: str) -> dict[PartitionName, Counter[str]]:
    """Return how many calls of each model have no cost, by partition; "" stands for models that are not kept apart.

    Raises one of StoreAway.
    """
    found: dict[PartitionName, Counter[str]] = {}
    for store in stores(client, namespace):
        [stored] = store.read_hashes([store.keys.unpriced])
        calls = found.setdefault((store.shard.topic, store.shard.partition), Counter())
        for unpriced, counted in read_unpriced(stored).items():
            calls[unpriced.model] += counted
    return found


class ModelsTold:
    """Which models have series of their own: those that came first keep theirs, since a counter must not go back."""

    def __init__(self, models_max: int = MODELS_TOLD_MAX) -> None:
        self._models_max = models_max
        self._told: set[str] = set()

    def bounded(self, calls: Mapping[PartitionName, Mapping[str, int]]) -> dict[PartitionName, Counter[str]]:
        """Return the calls by model, those of models without a series of their own together as OTHER."""
        self._admit(model for of_partition in calls.values() for model in of_partition)
        told: dict[PartitionName, Counter[str]] = {}
        for partition, of_partition in calls.items():
            counted: Counter[str] = Counter()
            for model, count in of_partition.items():
                counted[model[:MODEL_CHARACTERS_MAX] if model in self._told else OTHER] += count
            told[partition] = counted
        return told

    def _admit(self, models: Iterable[str]) -> None:
        new = sorted({model for model in models if model} - self._told)
        self._told.update(new[: self._models_max - len(self._told)])
