"""Moving postings to pages some time after they came, some values at a time (see aggregator/layout/posting_pages.py).

A step takes values of one index from their hash, and puts them on the pages of their day, in one fenced transaction:
each posting is always in one of both. What is due is looked through from time to time, all of it; values with postings
that came since the time before stay for the next. Values with full blocks stay until their day is over; then their
blocks go to pages, some at a time, and at last what has come since the last full one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from aggregator.layout.hash_pages import TABLE_FIELD, PageTable, new_table, unpack_table
from aggregator.layout.keys import INDEXES
from aggregator.layout.moved_postings import MOVED_FIELD, unpack_moved
from aggregator.layout.posting_pages import (
    Entry,
    block_index,
    entries_of,
    hash_of,
    pages_to_rewrite,
    rewrite,
)
from aggregator.layout.postings import block_field, latest_of_blocks, unpack_block, unpack_latest
from aggregator.layout.slots import ProjectDay, day_field, named_day
from aggregator.layout.write import Field, ShardWrite
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_US
from aggregator.writing.changes import day_expiry
from aggregator.writing.due import NEVER_US, wait_us
from aggregator.writing.posting_page_moving import PostingPageMoving

# What a step looks at: some 10 ms of a worker.
VALUES_PER_STEP = 500
# Full blocks that a step moves, of 200 bytes or more each: as much.
BLOCKS_PER_STEP = 500
# On average. More take fewer bytes, but a page is read and written whole.
ENTRIES_PER_PAGE = 64


class _Large(NamedTuple):
    """A value with full blocks: those from this one on are to be moved."""

    value: bytes
    first_block: int


class _Pass(NamedTuple):
    """A look through all days: postings of records below this number are due from this instant on."""

    number: int
    due_us: int


class PostingMoving:
    """Which days of projects have postings that are to be moved, and how far the pass at hand is.

    `seal_after_s`: how long postings stay where they came; None: for ever. `next_number`: that of the next new record.
    `pages` is told what has pages that may go on into objects, `moved` what has been written.
    Methods raise what the store raises; after that nothing here is right.
    """

    def __init__(
        self,
        store: ShardStore,
        seal_after_s: int | None,
        next_number: int,
        retention: Retention,
        pages: PostingPageMoving,
        moved: Callable[[ShardWrite], None],
    ) -> None:
        self._store, self._retention = store, retention
        self._pages, self._moved = pages, moved
        self._seal_after_us = wait_us(seal_after_s)
        [waiting] = store.read_hashes([store.keys.unsealed_postings])
        self._days = set(map(named_day, waiting))
        self._came_since: set[ProjectDay] = set()
        self._half_moved: set[ProjectDay] = set()
        # What came before this writer began does not wait.
        self._pass = _Pass(next_number, 0) if self._days else None
        self._left: list[tuple[ProjectDay, str]] | None = None
        self._cursor = 0
        self._large: list[_Large] = []  # of the day and index at hand

    def note(self, days: Iterable[ProjectDay], write: ShardWrite) -> None:
        """A batch brings postings of these days."""
        if self._seal_after_us == NEVER_US:
            return
        for day in days:
            self._came_since.add(day)
            if day not in self._days:
                self._days.add(day)
                write.set(self._store.keys.unsealed_postings, day_field(day), b"")

    def is_waiting(self, day: ProjectDay) -> bool:
        """Whether postings of a day are to be moved to its pages."""
        return day in self._days

    def move(self, now_us: int, clock_us: int, next_number: int, values_min: int) -> int:
        """Look at so many values, or a step's more, if so many are to be looked at by `now_us`; returns how many.

        `clock_us`: the time now, whatever has been read.
        """
        looked_at = 0
        while looked_at < values_min and (some := self._step(now_us, clock_us, next_number)):
            looked_at += some
        return looked_at

    def _step(self, now_us: int, clock_us: int, next_number: int) -> int:
        if self._pass is None:
            self._begin_pass(now_us, next_number)
        if self._pass is None or now_us < self._pass.due_us:
            return 0
        if self._left is None:
            self._came_since |= {day for day in self._days if self._must_wait(day)}
            days = sorted((day for day in self._days if not self._must_wait(day)), reverse=True)
            self._left = [(day, index) for day in days for index in INDEXES]
        if not self._left:
            self._end_pass()
            self._begin_pass(now_us, next_number)
            return 0
        day, index = self._left[-1]
        if self._must_wait(day):
            self._wait_for(day)
            return 1
        looked_at = self._move_blocks(day, index, clock_us) if self._large else self._look(day, index, now_us, clock_us)
        if not self._cursor and not self._large and self._left and self._left[-1] == (day, index):
            self._left.pop()
        return looked_at

    def _look(self, day: ProjectDay, index: str, now_us: int, clock_us: int) -> int:
        """Look at some values of an index; move those that are due, but note those with full blocks."""
        assert self._pass is not None
        key = self._store.keys.postings(*_key_parts(day, index))
        self._cursor, found = self._store.scan_fields(key, self._cursor, VALUES_PER_STEP)
        due: dict[bytes, Sequence[int]] = {}
        large: list[_Large] = []
        for value, stored in found.items():
            latest = unpack_latest(stored)
            if max(latest.numbers, default=self._pass.number) >= self._pass.number:
                continue
            if latest.full_blocks:
                large.append(_Large(value, 0))
            else:
                due[value] = latest.numbers
        if now_us >= (day[1] + 1) * DAY_US + self._seal_after_us:
            self._large = large
        elif large:
            self._came_since.add(day)  # so that it is looked at again
        if due:
            self._move_values(day, index, due, clock_us)
        return max(1, len(found))

    def _begin_pass(self, now_us: int, next_number: int) -> None:
        """Let what has come by now wait from now on, if there is anything."""
        if self._days:
            self._pass = _Pass(next_number, now_us + self._seal_after_us)
            self._came_since.clear()

    def _end_pass(self) -> None:
        """Let the days wait no more to which nothing has come since the pass began."""
        done = self._days - self._came_since
        if done:
            fields: list[Field] = list(map(day_field, done))
            self._store.replace(ShardWrite(deletions={self._store.keys.unsealed_postings: fields}))
        self._days -= done
        self._pages.look_again()
        self._pass = self._left = None

    def _must_wait(self, day: ProjectDay) -> bool:
        """Whether nothing may come to the pages of a day, some of which are in objects."""
        return day in self._half_moved or self._pages.is_under_way(day)

    @staticmethod
    def _are_half_moved(table: PageTable, moved: bytes | None) -> bool:
        """Whether some pages of a table are in objects."""
        return any(one.is_of(table) for one in unpack_moved(moved))

    def _wait_for(self, day: ProjectDay) -> None:
        """Leave what there is of a day whose pages are being moved for the next pass."""
        assert self._left is not None
        self._came_since.add(day)
        self._left = [one for one in self._left if one[0] != day]
        self._cursor, self._large = 0, []

    def _move_values(self, day: ProjectDay, index: str, due: Mapping[bytes, Sequence[int]], clock_us: int) -> None:
        """Move these values, with all their numbers, to their pages."""
        table = self._table_to_change(day)
        if table is None:
            return
        added: list[Entry] = []
        for value, numbers in due.items():
            added += entries_of(hash_of(table.hash_key, index, value), numbers)
        write = ShardWrite(deletions={self._store.keys.postings(*_key_parts(day, index)): list(due)})
        self._rewrite(day, table, added, write, clock_us)

    def _move_blocks(self, day: ProjectDay, index: str, clock_us: int) -> int:
        """Move some full blocks of values that have such, and of those of which all are moved what came since the last
        one; returns how many.
        """
        table = self._table_to_change(day)
        if table is None:
            return 1
        assert self._pass is not None
        parts, keys = _key_parts(day, index), self._store.keys
        key, blocks_key = keys.postings(*parts), keys.posting_blocks(*parts)
        values: list[Field] = [one.value for one in self._large[-BLOCKS_PER_STEP:]]
        [found] = self._store.read_fields({key: values}).values()
        latest_of = {value: unpack_latest(stored) for value, stored in zip(values, found, strict=True) if stored}
        fields: list[bytes] = []
        added: list[Entry] = []
        write = ShardWrite()
        for _ in values:
            value, first = self._large.pop()
            latest = latest_of.get(value)
            if latest is None or max(latest.numbers, default=0) >= self._pass.number:
                continue  # it has gone, or something has come for it since
            end = min(latest.full_blocks, first + BLOCKS_PER_STEP - len(fields))
            fields += [block_field(block, value) for block in range(first, end)]
            if end < latest.full_blocks:
                self._large.append(_Large(value, end))
                break
            added += entries_of(hash_of(table.hash_key, index, value), latest.numbers)
            write.set(key, value, latest_of_blocks(latest.full_blocks))
        if not fields:
            return 1
        [stored_blocks] = self._store.read_fields({blocks_key: [*fields]}).values()
        in_redis = {field: block for field, block in zip(fields, stored_blocks, strict=True) if block is not None}
        for field, block in in_redis.items():
            added += entries_of(hash_of(table.hash_key, block_index(index), field), unpack_block(block))
        if in_redis:
            write.deletions[blocks_key] = [*in_redis]
        if write.fields:
            write.expiries[key] = day_expiry(day[1], self._retention.calls_s)
        if added:
            self._rewrite(day, table, added, write, clock_us)
        return len(fields)

    def _table_to_change(self, day: ProjectDay) -> PageTable | None:
        """Return the table of a day's pages; None if some are in objects already: then nothing may come to them."""
        [[stored, moved]] = self._store.read_fields(
            {self._store.keys.posting_pages(*day): [TABLE_FIELD, MOVED_FIELD]}
        ).values()
        table = unpack_table(stored) if stored else new_table()
        if self._are_half_moved(table, moved):  # and no object store is set now
            self._half_moved.add(day)
            self._wait_for(day)
            return None
        return table

    def _rewrite(
        self, day: ProjectDay, table: PageTable, added: Sequence[Entry], write: ShardWrite, clock_us: int
    ) -> None:
        """Put entries on their pages, with what else is to be written in the same step."""
        key = self._store.keys.posting_pages(*day)
        pages = max(table.pages, -(-(table.entries + len(added)) // ENTRIES_PER_PAGE))
        changed = sorted(pages_to_rewrite(table, pages, added))
        found = self._store.read_fields({key: changed}).get(key, [])
        rewritten = rewrite(table, pages, dict(zip(changed, found, strict=True)), added)
        rewritten.note(key, write)
        write.expiries[key] = day_expiry(day[1], self._retention.calls_s)
        self._pages.note(day, clock_us, write)
        self._store.replace(write)
        self._moved(write)


def _key_parts(day: ProjectDay, index: str) -> tuple[int, str, int]:
    return day[0], index, day[1]
