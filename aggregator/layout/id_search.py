"""Finding the records of ids beside a writer that moves them: commands to send, and what their replies say.

How many pages there are is guessed, and read in the same command as they: if it was another, the pages are others, and
are read again. Ids move from the hash to pages, never back, so the hash is read first.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from aggregator.layout.hash_pages import TABLE_FIELD, PageTable, unpack_table
from aggregator.layout.id_pages import Lookup
from aggregator.layout.keys import ShardKeys

# So few that no command is cut in two when many are sent at once.
IDS_PER_COMMAND = 500
# Pages become more by some at a time, between two batches.
READS_MAX = 10


class IdsInShard(NamedTuple):
    """Id fields to be found in a shard."""

    keys: ShardKeys
    fields: Sequence[bytes]


class IdSearch:
    """What of some shards is found so far.

    `tables`: how many pages each shard had last, by key; kept up to date. Send `commands`, in order, and `take` the
    replies, until there are none.
    """

    def __init__(self, wanted: Iterable[IdsInShard], tables: dict[str, PageTable]) -> None:
        self._tables = tables
        self._wanted = [
            (shard, IdsInShard(keys, fields[at : at + IDS_PER_COMMAND]))
            for shard, (keys, fields) in enumerate(wanted)
            for at in range(0, len(fields), IDS_PER_COMMAND)
        ]
        self._lookups: list[tuple[PageTable, Lookup]] = []
        # By shard, as they were wanted: numbers of records that have one of the ids, and of those that may have one.
        self.known: dict[int, set[int]] = {}
        self.possible: dict[int, set[int]] = {}

    def commands(self) -> list[tuple[Any, ...]]:
        """Return the commands to send next; none when all is found."""
        guessed = (self._tables.get(keys.id_pages, PageTable()) for _, (keys, _) in self._wanted)
        self._lookups = [
            (table, Lookup(table, fields)) for table, (_, (_, fields)) in zip(guessed, self._wanted, strict=True)
        ]
        return list(self._commands())

    def _commands(self) -> Iterator[tuple[Any, ...]]:
        for (_, (keys, fields)), (_, lookup) in zip(self._wanted, self._lookups, strict=True):
            yield ("HMGET", keys.ids, *fields)
            yield ("HMGET", keys.id_pages, TABLE_FIELD, *lookup.pages)

    def take(self, replies: Iterable[Any]) -> None:
        """Take in the replies to `commands`."""
        wanted, self._wanted = self._wanted, []
        each = iter(replies)
        for one, (table, lookup), in_hash, (stored, *pages) in zip(wanted, self._lookups, each, each, strict=True):
            shard, (keys, _) = one
            now = unpack_table(stored)
            if now.places_as(table):
                self.known.setdefault(shard, set()).update(int(number) for number in in_hash if number is not None)
                self.possible.setdefault(shard, set()).update(lookup.candidates(pages, in_hash))
            else:
                self._tables[keys.id_pages] = now
                self._wanted.append(one)
