"""What a shard's writer does beside folding, bit by bit: seals what is finished, moves it out of Redis, collects."""

from collections.abc import Callable, Iterable, Mapping

from aggregator.layout.slots import Block, ProjectDay, ProjectMinute, TouchedBlock
from aggregator.layout.write import ShardWrite
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.writing.call_moving import CallMoving
from aggregator.writing.call_sealing import CallSealing
from aggregator.writing.collecting import Collecting
from aggregator.writing.limits import ShardLimits
from aggregator.writing.minute_moving import MinuteMoving
from aggregator.writing.moving import Moving
from aggregator.writing.objects_access import ObjectsAccess
from aggregator.writing.posting_moving import PostingMoving
from aggregator.writing.posting_page_moving import PostingPageMoving
from aggregator.writing.sealing import Sealing
from aggregator.writing.unsealing import Read


class Upkeep:
    """Upkeep of one shard, as far as Redis holds it. Methods raise what the store raises; then make it anew.

    `next_number`: that of the next new record. `postings_moved` is told what is written where postings move,
    `minutes_moved` which busy minutes have; `are_open` says whether a block of minutes has open ones.
    """

    def __init__(
        self,
        store: ShardStore,
        retention: Retention,
        limits: ShardLimits,
        read: Read,
        objects: ObjectsAccess,
        next_number: int,
        postings_moved: Callable[[ShardWrite], None],
        minutes_moved: Callable[[Iterable[ProjectMinute]], None],
        are_open: Callable[[Block], bool],
    ) -> None:
        seal_after_s = limits.seal_after_s
        self._moving = Moving(store, objects, retention, seal_after_s or 0, limits.move_after_s)
        self._collecting = Collecting(store, objects, retention, limits.objects_grace_s, limits.collect_every_s)
        self._call_moving = CallMoving(store, objects, seal_after_s or 0, limits.move_after_s)
        self._page_moving = PostingPageMoving(store, objects, retention, seal_after_s or 0, limits.move_after_s)
        self._postings = PostingMoving(store, seal_after_s, next_number, retention, self._page_moving, postings_moved)
        self._minute_moving = MinuteMoving(store, objects, seal_after_s or 0, limits.move_after_s, minutes_moved)
        self._call_sealing = CallSealing(store, seal_after_s, objects.frames, self._call_moving)
        self._sealing = Sealing(store, seal_after_s, read, objects.frames, self._moving, are_open)

    def note(
        self,
        touched: Mapping[str, TouchedBlock],
        records: Iterable[int],
        posting_days: Iterable[ProjectDay],
        busy_minutes: Mapping[ProjectMinute, str | None],
        next_number: int,
        now_us: int,
        write: ShardWrite,
    ) -> None:
        """A batch changes these blocks, records of these numbers, which go up to `next_number`, the indexes of these
        days, and these busy minutes, which have come back from the objects named.
        """
        self._minute_moving.note(busy_minutes, now_us, write)
        self._postings.note(posting_days, write)
        self._moving.note_new(write)
        self._sealing.note(touched.values(), now_us, write)
        self._call_sealing.note(records, next_number, now_us, write)

    def step(
        self,
        now_us: int,
        clock_us: int,
        next_number: int,
        count_min: int,
        forget: Callable[[str, Iterable[int]], None],
    ) -> int:
        """Seal so many cells, and records, and move so many postings, or a step's more, if so many are due by `now_us`;
        move and collect some objects.

        `clock_us`: the time now, whatever has been read. `next_number`: that of the next new record. `forget` is told
        which cells have been sealed, of which block.
        """
        records = cells = 0
        while records < count_min and (more := self._call_sealing.step(now_us, clock_us)):
            records += more
        while cells < count_min and (step := self._sealing.step(now_us, clock_us)):
            for key, places in step.items():
                forget(key, places)
                cells += max(1, len(places))
        moved = self._moving.step(clock_us, self._sealing.is_waiting) + self._call_moving.step(clock_us)
        moved += self._postings.move(now_us, clock_us, next_number, count_min)
        moved += self._page_moving.step(clock_us, self._postings.is_waiting)
        moved += self._minute_moving.step(now_us, clock_us)
        movers = (self._moving, self._call_moving, self._page_moving, self._minute_moving)
        under_way = [one.under_way for one in movers if one.under_way is not None]
        return records + cells + moved + self._collecting.step(clock_us, under_way)
