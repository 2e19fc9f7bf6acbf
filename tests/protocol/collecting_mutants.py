"""Putting and collecting objects with one of their rules taken out. `ObjectsProtocol` must notice each."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from aggregator.layout.moved import OWNER
from aggregator.objects.object_store import ObjectMissing, ObjectStoreAway
from aggregator.store.shard_store import ShardStore
from aggregator.writing.collecting import Collecting, Findings, Listing
from aggregator.writing.shard import Shard
from tests.protocol.memory_objects import MemoryObjects
from tests.protocol.worker_process import Parts


class RememberingCollecting(Collecting):
    """What was retired once is deleted a grace later, though Redis has fallen back to when something pointed there."""

    def find(self, listing: Listing, now_us: int, under_way: Sequence[str] = ()) -> Findings:
        found = super().find(listing, now_us, under_way)
        retired_us = _first_times(self._store, "retired_us", _retired(self._store), now_us)
        due = [name for name in listing.names if retired_us.get(name, now_us) <= now_us - self._grace_us]
        return found._replace(due=due)


class CreationCollecting(Collecting):
    """The grace begins when an object is put, not when nothing points into it any more."""

    def find(self, listing: Listing, now_us: int, under_way: Sequence[str] = ()) -> Findings:
        found = super().find(listing, now_us, under_way)
        put_us = _first_times(self._store, "put_us", listing.names, now_us)
        due = [name for name in _retired(self._store) if put_us.get(name, now_us) <= now_us - self._grace_us]
        return found._replace(due=due)


class UnheardObjects(MemoryObjects):
    """A store that cannot be reached is taken for one that has what was put."""

    def put(self, name: str, content: bytes) -> None:
        with suppress(ObjectStoreAway):
            super().put(name, content)

    def read_whole(self, name: str) -> bytes:
        try:
            return super().read_whole(name)
        except ObjectMissing:
            raise
        except ObjectStoreAway:
            if name.endswith(OWNER):  # asked before each put
                return b""
            raise


def _retired(store: ShardStore) -> list[str]:
    [stored] = store.read_hashes([store.keys.retired])
    return [name.decode() for name in stored]


def _first_times(store: Any, kind: str, names: Iterable[str], now_us: int) -> Mapping[str, int]:
    """Return when each name was seen first by this process, whatever Redis has forgotten since."""
    known: dict[str, int] = store.__dict__.setdefault(kind, {})
    for name in names:
        known.setdefault(name, now_us)
    return known


def collecting_by(collecting: type[Collecting]) -> type[Shard]:
    """A shard whose writer collects like this."""

    class CollectingShard(Shard):
        """A shard whose writer collects otherwise."""

        def recover(self) -> None:
            super().recover()
            self._state.upkeep._collecting.__class__ = collecting

    return CollectingShard


OBJECT_MUTANTS = {
    "pointed though not put": Parts(objects=UnheardObjects),
    "deleted while falling back": Parts(shard=collecting_by(RememberingCollecting)),
    "kept since it was put": Parts(shard=collecting_by(CreationCollecting)),
}
