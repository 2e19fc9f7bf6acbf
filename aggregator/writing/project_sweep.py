"""Looks through the list of projects now and then, and takes out those whose sets have expired: one worker for all."""

from aggregator.store.shard_store import ShardStore
from aggregator.time_units import MINUTE_US

# A hundred names a time: a list of ten thousand is gone through in less than two hours.
SWEEP_INTERVAL_US = MINUTE_US


class ProjectSweep:
    """Sweeps for one shard; the shard of a topic's first partition does it for all."""

    def __init__(self, store: ShardStore) -> None:
        self._store = store
        self._cursor = 0
        self._next_us = 0

    def look(self, now_us: int) -> None:
        """Look through some more names, if it is time to."""
        if self._store.shard.partition == 0 and now_us >= self._next_us:
            self._next_us = now_us + SWEEP_INTERVAL_US
            self._cursor = self._store.sweep_projects(self._cursor)
