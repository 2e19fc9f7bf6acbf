"""The ids of a shard's records: looked up, and moved to pages some time after they came, some at a time.

Ids that came lately are fields of one hash, a hundred bytes each; pages (aggregator/layout/id_pages.py) hold the others
in some five. A step moves some in one fenced transaction, which adds them to pages and takes them from the hash: an id
is always in one of both, or, where the step is cut off, still in the hash.
"""

from collections.abc import Sequence
from typing import NamedTuple

from aggregator.layout.hash_pages import TABLE_FIELD, PageTable, new_table, unpack_table
from aggregator.layout.id_hashes import hashes
from aggregator.layout.id_pages import Lookup, pages_to_rewrite, rewrite
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.store.shard_store import ShardStore
from aggregator.writing.due import NEVER_US, wait_us

# What a step looks at: some 15 ms of a worker. Of 1,000 each would mean a page of its own among a hundred thousand ids,
# and take nearly twice as long to move.
IDS_PER_STEP = 3_000
# On average. More take fewer bytes, 4.8 with 96 and 4.7 with 128 instead of 5.1 (of 26 million ids), but a page is read
# and written whole: moving an id to one takes 7.4 and 8.5 µs instead of 5.9.
ENTRIES_PER_PAGE = 64
# How many pages may come, or go, or be rid of dropped records in a step.
PAGES_CHANGED_MAX = 64
# Pages are rid of dropped records when they are rewritten anyhow; beyond this share of them for its own sake.
DROPPED_PART_MAX = 0.2


class _Mark(NamedTuple):
    """Records below this number were there at this instant."""

    number: int
    at_us: int


class Ids:
    """Which records have which ids. Methods raise what the store raises; after that nothing here is right any more.

    `seal_after_s`: how long ids stay in the hash; None: for ever. `next_number`: that of the next new record.
    """

    def __init__(self, store: ShardStore, seal_after_s: int | None, next_number: int) -> None:
        self._store = store
        self._keys = store.keys
        self._seal_after_us = wait_us(seal_after_s)
        [[stored]] = store.read_fields({self._keys.id_pages: [TABLE_FIELD]}).values()
        self._table = unpack_table(stored)
        # What came before this writer began does not wait.
        self._mark = _Mark(next_number, 0) if next_number else None
        self._moved_below = 0
        self._cursor: int | None = None
        self._swept_pages = 0

    def find(self, fields: Sequence[bytes]) -> list[int]:
        """The numbers of all records that have one of these id fields, and of a few others: the records tell."""
        lookup = Lookup(self._table, fields)
        wanted: dict[Key, Sequence[Field]] = {self._keys.ids: fields}
        if lookup.pages:
            wanted[self._keys.id_pages] = lookup.pages
        found = self._store.read_fields(wanted)
        in_hash = found.get(self._keys.ids, [])
        numbers = [int(number) for number in in_hash if number is not None]
        return numbers + lookup.candidates(found.get(self._keys.id_pages, []), in_hash)

    def move(self, now_us: int, numbers: range, ids_min: int) -> int:
        """Move ids that are due, step by step, until so many are looked at; returns how many were, 0 where none is due.

        `numbers`: of the first record that is not dropped, to that of the next new one.
        """
        looked_at = 0
        while looked_at < ids_min:
            some = self._step(now_us, numbers)
            if not some:
                break
            looked_at += some
        return looked_at

    def _step(self, now_us: int, numbers: range) -> int:
        if self._seal_after_us == NEVER_US:
            return 0
        if self._mark is None and numbers.stop > self._moved_below:
            self._mark = _Mark(numbers.stop, now_us)
        if self._mark is None or now_us < self._mark.at_us + self._seal_after_us:
            return self._sweep(numbers)
        cursor, found = self._store.scan_fields(self._keys.ids, self._cursor or 0, IDS_PER_STEP)
        due = {field: number for field, stored in found.items() if (number := int(stored)) < self._mark.number}
        if due:
            self._rewrite(due, (), numbers)
        self._cursor = cursor
        if not cursor:
            self._moved_below, self._mark = self._mark.number, None
        return max(1, len(found))

    def _sweep(self, numbers: range) -> int:
        """Rid some pages of dropped records, where these are many; returns how many entries the pages had, about."""
        table = self._table
        if table.entries * (1 - DROPPED_PART_MAX) <= len(numbers):
            return 0
        begin = self._swept_pages if self._swept_pages < table.pages else 0
        pages = range(begin, min(begin + PAGES_CHANGED_MAX, table.pages))
        self._swept_pages = pages.stop
        self._rewrite({}, pages, numbers)
        return len(pages) * ENTRIES_PER_PAGE

    def _rewrite(self, due: dict[bytes, int], more: Sequence[int], numbers: range) -> None:
        """Move these ids to their pages, and rewrite those pages and `more`, without what is dropped by now."""
        table = self._table if self._table.hash_key else new_table()
        hashed = hashes(table.hash_key, list(due))
        pages = _wanted_pages(table, min(table.entries + len(due), len(numbers)))
        changed = sorted(pages_to_rewrite(table, pages, hashed).union(more))
        key = self._keys.id_pages
        found = self._store.read_fields({key: changed}).get(key, [])
        stored = dict(zip(changed, found, strict=True))
        rewritten = rewrite(table, pages, stored, list(zip(hashed, due.values(), strict=True)), numbers.start)
        write = ShardWrite()
        rewritten.note(key, write)
        if due:
            write.deletions[self._keys.ids] = list(due)
        self._store.replace(write)
        self._table = rewritten.table


def _wanted_pages(table: PageTable, entries: int) -> int:
    """How many pages a table is to have for so many entries, with few changes at once."""
    pages = max(1, -(-entries // ENTRIES_PER_PAGE))
    if pages >= table.pages // 2:  # with room for entries that come again
        return max(table.pages, min(pages, table.pages + PAGES_CHANGED_MAX))
    return max(pages, table.pages - PAGES_CHANGED_MAX)
