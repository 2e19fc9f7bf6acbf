"""Moving pages of postings out of Redis into objects, as call_moving.py does with records.

A day of a project is due when it has been over for a while, and nothing has come to its pages for a while. From when
its first page is read until its last one has moved, what comes late for it stays off its pages. Pages of many small
projects are put as one object, those of a large one as several, one after the other; each time a pointer takes the
place of the pages in one fenced step. Whatever ends this before leaves an object that nothing points into.
"""

from collections.abc import Callable
from typing import NamedTuple

from aggregator.layout.hash_pages import TABLE_FIELD, PageTable, unpack_table
from aggregator.layout.moved import POSTINGS_LETTER, MovedObject, pack_object
from aggregator.layout.moved_postings import MOVED_FIELD, MovedPages, pack_moved, sections_of, unpack_moved
from aggregator.layout.slots import ProjectDay, day_field, named_day
from aggregator.layout.write import ShardWrite
from aggregator.rollups.levels import Retention
from aggregator.segments.segment import SectionKey
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_US, SECOND_US
from aggregator.writing.changes import day_expiry
from aggregator.writing.due import NEVER_US
from aggregator.writing.objects_access import ObjectsAccess
from aggregator.writing.putting import OBJECT_BYTES_MAX, RETRY_US, Put, Putting

# A look-up reads a section, of some 600 bytes a page; the pointer to each takes ten bytes of Redis.
PAGES_PER_SECTION = 16
# An object has some 8 MiB of these.
SECTIONS_PER_OBJECT_MAX = 800
# Of a day that has moved before, what came late goes into another object once it is so much.
ENTRIES_AGAIN_MIN = 256
# How long after its day something may still come to pages, so that what is late goes into the same object.
LATE_MAX_US = 2 * DAY_US
# Small projects share an object.
DAYS_PER_OBJECT_MAX = 1_000

_BEGUN = b"begun"


class _Part(NamedTuple):
    """What of a day is in the object on its way: its table, what had moved before, these sections, and whether they
    are the last.
    """

    table: PageTable
    before: tuple[MovedPages, ...]
    sections: range
    is_last: bool


class PostingPageMoving:
    """The days of projects whose pages are to be moved, and those on their way. Methods raise what the store raises.

    `wait_s`, `after_day_s`: how long pages are left after something came to them, and after their day.
    """

    def __init__(
        self, store: ShardStore, objects: ObjectsAccess, retention: Retention, after_day_s: int, wait_s: int
    ) -> None:
        self._store, self._retention = store, retention
        self._is_moved = objects.store is not None
        self._putting: Putting[dict[ProjectDay, _Part]] = Putting(store, objects, "indexes of calls")
        self._after_day_us, self._wait_us = after_day_s * SECOND_US, wait_s * SECOND_US
        self._noted_us: dict[ProjectDay, int] = {}
        self._begun: set[ProjectDay] = set()
        self._not_before_us = 0
        self._has_waiting = False
        if self._is_moved:
            [unmoved] = store.read_hashes([store.keys.unmoved_postings])
            self._noted_us = {named_day(field): 0 for field in unmoved}
            self._begun = {named_day(field) for field, state in unmoved.items() if state == _BEGUN}

    def note(self, day: ProjectDay, now_us: int, write: ShardWrite) -> None:
        """Something comes to pages; noted also where no object store is set, for when one is."""
        write.set(self._store.keys.unmoved_postings, day_field(day), b"")
        if self._is_moved:
            self._noted_us[day] = now_us
            self._not_before_us = min(self._not_before_us, self._due_us(day))

    def look_again(self) -> None:
        """Look again what is due, if some days waited for something: nothing more is to come to them, maybe."""
        if self._has_waiting:
            self._not_before_us, self._has_waiting = 0, False

    def is_under_way(self, day: ProjectDay) -> bool:
        """Whether nothing may come to the pages of a day now: they are being moved."""
        return day in self._begun or day in (self._putting.of or ())

    @property
    def under_way(self) -> str | None:
        """An object that has been begun, and that nothing points into yet."""
        return self._putting.under_way

    def step(self, now_us: int, is_waiting: Callable[[ProjectDay], bool]) -> int:
        """Do the next thing that is due, and quick; returns 0 where there is none.

        `is_waiting`: whether more is to come to the pages of a day.
        """
        if self._putting.is_off or self._putting.is_busy:
            return 0
        if self._putting.under_way is not None:
            return self._finish(now_us)
        if now_us < self._not_before_us:
            return 0
        days = self._next_due(now_us, is_waiting)
        if days:
            self._begin(days)
        return len(days)

    def _due_us(self, day: ProjectDay) -> int:
        return max((day[1] + 1) * DAY_US + self._after_day_us, self._noted_us[day] + self._wait_us)

    def _next_due(self, now_us: int, is_waiting: Callable[[ProjectDay], bool]) -> list[ProjectDay]:
        """Projects that are due of the oldest day, what has been begun first."""
        due = []
        self._not_before_us = NEVER_US
        for day in self._noted_us:
            due_us = self._due_us(day)
            may_wait = day not in self._begun and now_us < (day[1] + 1) * DAY_US + LATE_MAX_US
            if due_us > now_us:
                self._not_before_us = min(self._not_before_us, due_us)
            elif may_wait and is_waiting(day):
                self._has_waiting = True
            else:
                due.append(day)
        if not due:
            return []
        self._not_before_us = now_us
        oldest = min(day for _, day in due)
        ordered = sorted((day for day in due if day[1] == oldest), key=lambda day: (day not in self._begun, day))
        return ordered[:DAYS_PER_OBJECT_MAX]

    def _begin(self, days: list[ProjectDay]) -> None:
        keys, contents, parts, nothing = self._store.keys, {}, {}, []
        size_bytes = 0
        for day in days:
            if size_bytes >= OBJECT_BYTES_MAX:
                break
            part = self._part(day)
            if part is None:
                nothing.append(day)
                continue
            numbers = range(part.sections.start * PAGES_PER_SECTION, part.sections.stop * PAGES_PER_SECTION)
            key = keys.posting_pages(*day)
            found = self._store.read_fields({key: [*numbers]})[key]
            of_day = sections_of(dict(zip(numbers, found, strict=True)), part.sections, PAGES_PER_SECTION)
            for section, content in zip(part.sections, of_day, strict=True):
                contents[SectionKey(day[0], POSTINGS_LETTER, day[1], section)] = content
            size_bytes += sum(map(len, of_day))
            parts[day] = part
        if nothing:
            self._store.replace(ShardWrite(deletions={keys.unmoved_postings: list(map(day_field, nothing))}))
            for day in nothing:
                self._forget(day)
        if parts:
            self._putting.begin(days[0][1], POSTINGS_LETTER, contents, parts)

    def _part(self, day: ProjectDay) -> _Part | None:
        """Return what of a day is next to be moved; None where there is nothing, or too little."""
        key = self._store.keys.posting_pages(*day)
        [[stored, moved]] = self._store.read_fields({key: [TABLE_FIELD, MOVED_FIELD]}).values()
        table, before = unpack_table(stored), unpack_moved(moved)
        of_table = [one for one in before if one.is_of(table)]
        if not table.pages or (before and not of_table and table.entries < ENTRIES_AGAIN_MIN):
            return None
        first = max((one.sections.stop for one in of_table), default=0)
        end = -(-table.pages // PAGES_PER_SECTION)
        last = min(end, first + SECTIONS_PER_OBJECT_MAX)
        return _Part(table, before, range(first, last), last == end)

    def _finish(self, now_us: int) -> int:
        """Let days point into what has been put."""
        put = self._putting.take()
        if put is None:
            self._not_before_us = now_us + RETRY_US
            return 0
        self._point(put)
        return len(put.sections)

    def _point(self, put: Put[dict[ProjectDay, _Part]]) -> None:
        """Let days point into an object; their pages are as they were read, since nothing may come to them."""
        write, keys = ShardWrite(), self._store.keys
        for day, part in put.of.items():
            mine = [one for one in put.sections if (one.key.project, one.key.block) == day]
            moved = MovedPages(
                put.name,
                part.table.hash_key,
                part.table.pages,
                PAGES_PER_SECTION,
                part.sections.start,
                mine[0].offset,
                tuple(one.length for one in mine),
                tuple(one.checksum for one in mine),
            )
            key = keys.posting_pages(*day)
            write.set(key, MOVED_FIELD, pack_moved([*part.before, moved]))
            write.expiries[key] = day_expiry(day[1], self._retention.calls_s)
            pages = range(part.sections.start * PAGES_PER_SECTION, part.sections.stop * PAGES_PER_SECTION)
            write.deletions[key] = [*pages, TABLE_FIELD] if part.is_last else [*pages]
            if part.is_last:
                write.deletions.setdefault(keys.unmoved_postings, []).append(day_field(day))
            else:
                write.set(keys.unmoved_postings, day_field(day), _BEGUN)
        write.set(keys.objects, put.name, pack_object(MovedObject(put.size_bytes, tuple(put.of))))
        self._store.replace(write)
        for day, part in put.of.items():
            if part.is_last:
                self._forget(day)
            else:
                self._begun.add(day)

    def _forget(self, day: ProjectDay) -> None:
        self._noted_us.pop(day, None)
        self._begun.discard(day)
