"""Moving what is kept of busy minutes out of Redis into objects, as posting_page_moving.py does with pages.

A day of a project is due when it has been over for a while, and nothing has changed of its busy minutes for a while.
Its minutes are gathered, some at a time, until they fill an object or the days that are due have no more; that is put
beside the folding, and then, in one fenced step, pointers take the place of what the minutes had. A minute that changes
meanwhile is left as it is, and its day waits again. Whatever ends this before that step leaves an object that nothing
points into, and the day's minutes are looked at anew.
"""

import logging
from collections.abc import Callable, Iterable, Mapping

from aggregator.layout.first_calls import minute_field, viewed
from aggregator.layout.minute_calls import in_order, pack_minute_calls, piece_field, unpack_minute_calls
from aggregator.layout.moved import MINUTES_LETTER, MovedObject, pack_object
from aggregator.layout.moved_minutes import MINUTE_BYTES, MovedMinute, pack_minute, pack_place, unpack_place
from aggregator.layout.sealed import Location
from aggregator.layout.slots import MINUTES_PER_DAY, ProjectDay, ProjectMinute, day_field, day_of_minute, named_day
from aggregator.layout.write import Field, ShardWrite
from aggregator.segments.compression import CorruptFrame
from aggregator.segments.segment import SectionKey
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import DAY_US, SECOND_US
from aggregator.writing.due import NEVER_US
from aggregator.writing.objects_access import ObjectsAccess
from aggregator.writing.pointers import no_longer_of, places_of_minutes
from aggregator.writing.putting import OBJECT_BYTES_MAX, RETRY_US, Put, Putting

log = logging.getLogger(__name__)

# Gathered in one step: some 10 ms of a worker where each has 6,000 calls.
MINUTES_PER_STEP = 10
# Small projects share an object; the names of the fields of their day are read at once.
DAYS_AT_ONCE_MAX = 20

_Gathered = dict[ProjectMinute, list[Field]]
"""Minutes that go into an object, and their fields that go from Redis."""


class MinuteMoving:
    """The days of projects whose busy minutes are to be moved, and what is on its way. Methods raise what the store
    raises; after that nothing here is right any more.

    `after_day_s`, `wait_s`: how long minutes are left after their day, and after one of them changed. `moved` is told
    of minutes of which Redis has nothing but a pointer any more.
    """

    def __init__(
        self,
        store: ShardStore,
        objects: ObjectsAccess,
        after_day_s: int,
        wait_s: int,
        moved: Callable[[Iterable[ProjectMinute]], None],
    ) -> None:
        self._store, self._moved = store, moved
        self._putting: Putting[_Gathered] = Putting(store, objects, "what is kept of busy minutes")
        self._after_day_us, self._wait_us = after_day_s * SECOND_US, wait_s * SECOND_US
        [unmoved] = store.read_hashes([store.keys.unmoved_minutes])
        self._noted_us = {named_day(field): 0 for field in unmoved}
        # Objects that minutes of a day have come back from.
        self._left = {named_day(field): set(names.decode().split()) for field, names in unmoved.items()}
        self._not_before_us = 0
        # What is being gathered: minutes that are still to be looked at, and what has been found of others.
        self._queue: dict[ProjectMinute, list[bytes]] = {}
        self._contents: dict[ProjectMinute, bytes] = {}
        self._gathered: _Gathered = {}
        # Days of which nothing will be left in Redis once what is queued, gathered and put has moved.
        self._whole: set[ProjectDay] = set()

    def note(self, minutes: Mapping[ProjectMinute, str | None], now_us: int, write: ShardWrite) -> None:
        """Take note that these busy minutes change, and have come back from the objects named; also where no object
        store is set, for when one is.
        """
        for minute, name in minutes.items():
            day = day_of_minute(minute)
            for minutes_of in (self._queue, self._contents, self._gathered, self._putting.of or {}):
                minutes_of.pop(minute, None)
            self._whole.discard(day)
            left = self._left.setdefault(day, set())
            if day not in self._noted_us or (name is not None and name not in left):
                left.update(() if name is None else (name,))
                write.set(self._store.keys.unmoved_minutes, day_field(day), " ".join(sorted(left)))
            self._noted_us[day] = now_us
            self._not_before_us = min(self._not_before_us, self._due_us(day))

    @property
    def under_way(self) -> str | None:
        """An object that has been begun, and that nothing points into yet."""
        return self._putting.under_way

    def step(self, now_us: int, clock_us: int) -> int:
        """Do the next thing that is due by `now_us`, and quick; returns 0 where there is none.

        `clock_us`: the time now, whatever has been read: since then what is retired is kept for long enough.
        """
        if self._putting.is_off or self._putting.is_busy:
            return 0
        if self._putting.under_way is not None:
            return self._finish(now_us, clock_us)
        if not self._queue and not self._gathered and not self._look(now_us):
            return 0
        self._gather()
        if self._queue and sum(map(len, self._contents.values())) < OBJECT_BYTES_MAX:
            return 1
        if self._gathered:
            self._begin()
        else:
            write = ShardWrite()
            self._leave_whole(clock_us, write)
            self._store.replace(write)
        return 1

    def _due_us(self, day: ProjectDay) -> int:
        return max((day[1] + 1) * DAY_US + self._after_day_us, self._noted_us[day] + self._wait_us)

    def _look(self, now_us: int) -> bool:
        """Queue the minutes of the oldest day that is due, of some projects; False where none is."""
        if now_us < self._not_before_us:
            return False
        due = [day for day in self._noted_us if self._due_us(day) <= now_us]
        if not due:
            self._not_before_us = min(map(self._due_us, self._noted_us), default=NEVER_US)
            return False
        oldest = min(day for _, day in due)
        for day in sorted(day for day in due if day[1] == oldest)[:DAYS_AT_ONCE_MAX]:
            fields: dict[bytes, list[bytes]] = {}
            for name in self._store.field_names(self._store.keys.busy_minutes(*day)):
                fields.setdefault(name[:MINUTE_BYTES], []).append(name)
            self._queue |= {(day[0], int.from_bytes(minute, "big")): fields[minute] for minute in sorted(fields)}
            self._whole.add(day)
        return True

    def _gather(self) -> None:
        """Make sections of some minutes that are queued, and are not in objects."""
        for minute in list(self._queue)[:MINUTES_PER_STEP]:
            fields = self._queue.pop(minute)
            key, head = self._store.keys.busy_minutes(*day_of_minute(minute)), minute_field(minute[1])
            [values] = self._store.read_fields({key: [*fields]}).values()
            found = {field: value for field, value in zip(fields, values, strict=True) if value is not None}
            if head not in found or unpack_place(found[head]) is not None:
                continue
            try:
                self._contents[minute] = pack_minute(_whole_minute(minute[1], found))
            except CorruptFrame as why:
                log.warning("a busy minute stays in Redis: a piece is damaged", extra={"key": key, "why": str(why)})
                continue
            self._gathered[minute] = [field for field in found if field != head]

    def _begin(self) -> None:
        contents = {
            SectionKey(minute[0], MINUTES_LETTER, day_of_minute(minute)[1], minute[1] % MINUTES_PER_DAY): section
            for minute, section in self._contents.items()
        }
        day = day_of_minute(next(iter(self._gathered)))[1]
        self._putting.begin(day, MINUTES_LETTER, contents, self._gathered)
        self._contents, self._gathered = {}, {}

    def _finish(self, now_us: int, clock_us: int) -> int:
        """Let minutes point into what has been put."""
        put = self._putting.take()
        if put is None:
            self._queue.clear()
            self._whole.clear()
            self._not_before_us = now_us + RETRY_US
            return 0
        self._point(put, clock_us)
        return len(put.sections)

    def _point(self, put: Put[_Gathered], clock_us: int) -> None:
        """Let minutes point into an object, but for those that have changed meanwhile."""
        write, keys = ShardWrite(), self._store.keys
        for section in put.sections:
            minute = section.key.project, section.key.block * MINUTES_PER_DAY + section.key.number
            if minute in put.of:
                key = keys.busy_minutes(*day_of_minute(minute))
                place = Location(put.name, section.offset, section.length, section.checksum)
                write.set(key, minute_field(minute[1]), pack_place(place))
                write.deletions.setdefault(key, []).extend(put.of[minute])
        if put.of:
            pointing = tuple(sorted(set(map(day_of_minute, put.of))))
            write.set(keys.objects, put.name, pack_object(MovedObject(put.size_bytes, pointing)))
        else:
            write.set(keys.retired, put.name, clock_us)
        if not self._queue:
            self._leave_whole(clock_us, write)
        self._store.replace(write)
        self._moved(put.of)

    def _leave_whole(self, clock_us: int, write: ShardWrite) -> None:
        """Let days of which nothing is left in Redis wait no more, nor point to where their minutes came back from."""
        gone: dict[str, list[tuple[int, int]]] = {}
        for day in self._whole:
            del self._noted_us[day]
            write.deletions.setdefault(self._store.keys.unmoved_minutes, []).append(day_field(day))
            left = self._left.pop(day, set())
            still = {place.name for place in places_of_minutes(self._store, day).values()} if left else set()
            for name in left - still:
                gone.setdefault(name, []).append(day)
        self._whole.clear()
        no_longer_of(self._store, gone, clock_us, write)


def _whole_minute(minute: int, found: Mapping[bytes, bytes]) -> MovedMinute:
    """Make one of all fields of a minute, with its calls as one piece. Raises CorruptFrame."""
    pieces = [found[piece_field(minute, at)] for at in range(int(found[minute_field(minute)]))]
    views = [(viewed(field), first) for field, first in found.items()]
    calls = pack_minute_calls(in_order(unpack_minute_calls(pieces)))
    return MovedMinute(calls, {view: first for view, first in views if view is not None})
