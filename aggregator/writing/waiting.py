"""Ends that wait for their starts, kept as text beside their records: so that they can be counted, and be sent on to
the shard that gets the start.
"""

from collections.abc import Collection, Iterable, Sequence

from aggregator.calls.event import Event
from aggregator.layout.event_text import decode_event, encode_event
from aggregator.layout.keys import ShardKeys, named_by
from aggregator.layout.write import ShardWrite
from aggregator.store.shard_store import ShardStore
from aggregator.writing.records import Records

# Some 300 bytes each. More wait in their records all the same, but are not looked for in other shards.
WAITING_MAX = 100_000


class WaitingEnds:
    """The waiting ends of one shard, by the id fields of their calls."""

    def __init__(self, store: ShardStore) -> None:
        self._store = store
        self._keys: ShardKeys = store.keys
        [stored] = store.read_hashes([self._keys.waiting])
        self.fields: set[bytes] = set(stored)

    def note(self, events: Sequence[Event], fields: Sequence[bytes], records: Records, write: ShardWrite) -> None:
        """Add to `write` the ends of a batch whose starts have not come, and take from it those that wait no more."""
        before, numbers, calls = len(self.fields), records.numbers, records.calls
        for event, field in zip(events, fields, strict=True):
            if event.start is not None:
                if field in self.fields:
                    self._forget([field], write)
            else:
                number = numbers.get(field)
                if number is None or calls[number].started_us is not None:
                    continue
                if field not in self.fields and len(self.fields) < WAITING_MAX:
                    self.fields.add(field)
                    write.set(self._keys.waiting, field, encode_event(event))
        if len(self.fields) != before:
            write.set(self._keys.shard, "ends_waiting", len(self.fields))

    def read(self, fields: Sequence[bytes]) -> dict[bytes, Event]:
        """The ends that wait by these fields."""
        found = self._store.read_fields({self._keys.waiting: list(fields)})[self._keys.waiting]
        return {field: decode_event(text) for field, text in zip(fields, found, strict=True) if text is not None}

    def forget(self, fields: Iterable[bytes]) -> ShardWrite:
        """Return the write that takes these away."""
        write = ShardWrite()
        self._forget(fields, write)
        write.set(self._keys.shard, "ends_waiting", len(self.fields))
        return write

    def forget_projects(self, projects: Collection[int], write: ShardWrite) -> None:
        """Nothing of these is kept any more: their starts will not come."""
        fields = [field for field in self.fields if named_by(field)[0] in projects]
        if fields:
            self._forget(fields, write)
            write.set(self._keys.shard, "ends_waiting", len(self.fields))

    def _forget(self, fields: Iterable[bytes], write: ShardWrite) -> None:
        for field in fields:
            self.fields.discard(field)
            write.fields.get(self._keys.waiting, {}).pop(field, None)
            write.deletions.setdefault(self._keys.waiting, []).append(field)
        if not write.fields.get(self._keys.waiting, {1: 1}):
            del write.fields[self._keys.waiting]
