"""The latest postings of the values that batches append to: known, they are written without being looked at before."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from aggregator.layout.keys import ShardKeys
from aggregator.layout.postings import append_postings, block_field
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.rollups.levels import Retention
from aggregator.writing.batch_changes import BatchChanges
from aggregator.writing.changes import day_expiry
from aggregator.writing.unsealing import Stored

# What a tail takes beside its bytes and those of its name, roughly: two objects, and its part of the dictionary.
ENTRY_BYTES = 200


class PostingTails:
    """A bounded cache of latest postings, as they stand in Redis once all that was given to be written is stored.

    After any doubt whether it is, nothing here is right any more.
    """

    def __init__(self, keys: ShardKeys) -> None:
        self._keys = keys
        self._tails: dict[bytes, bytes] = {}  # by key and value; those used last are last
        self.bytes_kept = 0
        """About how much memory they take."""

    def absent(self, changes: BatchChanges) -> dict[Key, list[Field]]:
        """Return the values, by key, that a batch appends to and that are not here: to be read for `append`."""
        tails = self._tails
        wanted: dict[Key, list[Field]] = {}
        for key, _, _, values in self._appended_to(changes):
            prefix = key.encode()
            absent: list[Field] = [value for value in values if prefix + value not in tails]
            if absent:
                wanted[key] = absent
        return wanted

    def append(self, changes: BatchChanges, stored: Stored, retention: Retention, write: ShardWrite) -> None:
        """Append what a batch brings; `stored`: of the values that were absent, those that there are."""
        tails = self._tails
        for key, blocks, day, values in self._appended_to(changes):
            prefix = key.encode()
            latest = write.fields.setdefault(key, {})
            full: dict[Field, bytes | str | int] = {}
            for value, numbers in values.items():
                name = prefix + value
                known = tails.pop(name, None)
                before = stored.get((key, value)) if known is None else known
                after, filled = append_postings(before, b"".join(numbers))
                latest[value] = tails[name] = after
                self.bytes_kept += len(after) + (ENTRY_BYTES + len(name) if known is None else -len(known))
                for block, packed in filled:
                    full[block_field(block, value)] = packed
            write.expiries[key] = day_expiry(day, retention.calls_s)
            if full:
                write.fields[blocks] = full
                write.expiries[blocks] = write.expiries[key]

    def forget_moved(self, write: ShardWrite) -> None:
        """Forget the tails that `write` has taken from their keys, or cut short."""
        for key, values in (*write.deletions.items(), *write.fields.items()):
            prefix = key.encode() if isinstance(key, str) else key
            for value in values:
                if isinstance(value, bytes) and (tail := self._tails.pop(prefix + value, None)) is not None:
                    self.bytes_kept -= ENTRY_BYTES + len(prefix) + len(value) + len(tail)

    def latest(self, key: str, value: bytes) -> bytes | None:
        """The latest postings of a value, if they are here, as they are of what a batch has just appended to."""
        return self._tails.get(key.encode() + value)

    def _appended_to(self, changes: BatchChanges) -> Iterator[tuple[str, str, int, Mapping[bytes, Sequence[bytes]]]]:
        """The keys of postings and of their full blocks, the day, and the numbers that come to each value."""
        for (project, day), indexes in changes.postings.items():
            for index, values in indexes.items():
                yield (
                    self._keys.postings(project, index, day),
                    self._keys.posting_blocks(project, index, day),
                    day,
                    values,
                )

    def trim(self, bytes_max: int) -> None:
        """Forget those that were not used for longest, beyond so many bytes of memory."""
        while self.bytes_kept > bytes_max:
            # Many at once: the dictionary is looked through from its beginning each time.
            for name in list(islice(self._tails, 1 + len(self._tails) // 16)):
                self.bytes_kept -= ENTRY_BYTES + len(name) + len(self._tails.pop(name))
