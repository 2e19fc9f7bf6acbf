"""The count of calls without a cost, by project and model: bounded, and written with the batch that changes it."""

from collections import Counter
from collections.abc import Collection, Mapping

from aggregator.layout.keys import ShardKeys
from aggregator.layout.unpriced import MODELS_KEPT_MAX, OTHERS, Unpriced, read_unpriced, unpriced_field
from aggregator.layout.write import ShardWrite


class UnpricedCounts:
    """Counts since the shard began; `stored` is what Redis holds of them."""

    def __init__(self, stored: Mapping[bytes, bytes], models_max: int = MODELS_KEPT_MAX) -> None:
        self._calls = read_unpriced(stored)
        self._models_max = models_max

    def forget_projects(self, projects: Collection[int], keys: ShardKeys, write: ShardWrite) -> None:
        """Nothing of these is kept any more."""
        for unpriced in [one for one in self._calls if one.project in projects]:
            del self._calls[unpriced]
            write.deletions.setdefault(keys.unpriced, []).append(unpriced_field(unpriced))

    def add(self, more: Counter[Unpriced], keys: ShardKeys, write: ShardWrite) -> None:
        """Count more, or fewer where what a call counts has changed, and write what changed."""
        for unpriced, calls in more.items():
            if not calls:
                continue
            kept = unpriced if unpriced in self._calls or len(self._calls) < self._models_max else OTHERS
            self._calls[kept] = self._calls.get(kept, 0) + calls
            if self._calls[kept]:
                write.set(keys.unpriced, unpriced_field(kept), self._calls[kept])
            else:
                del self._calls[kept]
                write.deletions.setdefault(keys.unpriced, []).append(unpriced_field(kept))
