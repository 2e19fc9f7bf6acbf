"""A shard's writer: takes batches of events, folds them with what Redis holds, and applies them with their next offset.

The order of a batch: load what it touches, fold in memory, apply in one atomic step. After any doubt (an apply
refused or cut off) `recover` drops everything in memory and starts again from what Redis holds.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from aggregator.calls.event import Event
from aggregator.layout.write import ShardWrite
from aggregator.prices.book import PriceBook
from aggregator.rollups.levels import Retention
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import MINUTE_US, SECOND_US
from aggregator.writing.batch_changes import Applied
from aggregator.writing.changes import KnownNumbers, count
from aggregator.writing.fold import Fold
from aggregator.writing.fold_batch import Batch, FoldBatch, fold_batch
from aggregator.writing.limits import ShardLimits
from aggregator.writing.loading import load_records
from aggregator.writing.objects_access import NO_OBJECTS, ObjectsAccess
from aggregator.writing.repricing import reprice_calls
from aggregator.writing.shard_state import ShardState
from aggregator.writing.waiting import WaitingEnds

# A shard is behind when what it has folded is older than that: a second passes between two looks at where its log ends.
BEHIND_MIN_US = 3 * SECOND_US
# What is further behind is a backlog.
BACKLOG_MIN_US = 10 * MINUTE_US
# Sealing what comes takes half as long again as folding it; so it takes a fifteenth as long.
CATCHING_UP_SEALS_LESS = 8
# Events, of a shard, beside which less was sealed; some 300 MB of Redis.
PUT_OFF_MAX = 1_000_000


class Shard:
    """The one writer of a shard. Not thread-safe. Methods raise what the store raises; then call `recover`."""

    def __init__(
        self,
        store: ShardStore,
        prices: PriceBook,
        retention: Retention,
        limits: ShardLimits = ShardLimits(),  # noqa: B008  frozen
        objects: ObjectsAccess = NO_OBJECTS,
    ) -> None:
        self._store = store
        self._objects = objects
        self._keys = store.keys
        self._prices = prices
        self._retention = retention
        self._limits = limits
        self.recover()

    def recover(self) -> None:
        """Forget everything but what Redis holds."""
        self._store.check_policy()
        # Before the rest: the store then refuses what is read of any other state.
        self._next_offset = self._sent_offset = self._store.next_offset()
        self._under_way: Callable[[], None] | None = None
        self._put_off = 0
        self._state = ShardState(self._store, self._prices, self._retention, self._limits, self._objects)

    @property
    def next_offset(self) -> int | None:
        """The first offset not yet applied, as this writer knows it; None for a new shard."""
        return self._next_offset

    @property
    def sent_offset(self) -> int | None:
        """The first offset that is neither applied nor under way to Redis."""
        return self._sent_offset

    @property
    def dropped_before_us(self) -> int:
        """Calls from before this instant may have no record any more: whether they were counted is not known."""
        return self._state.expired.dropped_before_us

    @property
    def next_element(self) -> int:
        """How many elements of the message at the next offset, which is a batch, are applied already."""
        return self._store.next_element

    @property
    def store(self) -> ShardStore:
        """Return the store of the shard."""
        return self._store

    @property
    def log(self) -> Mapping[str, str]:
        """Return which log has been folded: `topic_id`, and `leader_epoch` of the message before the next offset."""
        return self._state.log.notes

    def note_log(self, name: str, value: str) -> None:
        """Say which log is folded; stored with the next step."""
        self._state.log.note(name, value)

    def apply(
        self, events: Sequence[Event], next_offset: int, as_of_us: int | None, now_us: int, counters: Mapping[str, int]
    ) -> Applied:
        """Fold the events of all messages from the stored next offset up to `next_offset`, and store both.

        `as_of_us`: all that was in the log before this instant is among them or was applied before; None: not known.
        What the shard is as of never goes back. `now_us` decides what is past its retention. `counters`: more to add
        to the shard's counters, which count since the shard began.
        """
        applied = self.begin(events, next_offset, as_of_us, now_us, counters)
        self.finish()
        return applied

    def take_in(self, events: Sequence[Event], now_us: int) -> None:
        """Fold events that another shard's log holds, where nobody else writes: the next offset stays as it is."""
        self.begin(events, self._next_offset, None, now_us, {}, self._store.next_element)
        self.finish()

    def begin(
        self,
        events: Sequence[Event],
        next_offset: int | None,
        as_of_us: int | None,
        now_us: int,
        counters: Mapping[str, int],
        next_element: int = 0,
        fold: FoldBatch = fold_batch,
    ) -> Applied:
        """Do what `apply` does, up to where Redis has been sent everything; `finish`, or the next step, sees it stored.

        `next_element`: of the message at `next_offset`, a batch, the elements before this one are among the events.
        `fold`: what finds out what the events change.
        """
        self.finish()
        state = self._state
        state.note_as_of(as_of_us)
        self._seal(now_us, self._may_seal(now_us, len(events)))
        folded = fold(Batch(events, now_us, counters), state)
        if folded.kept_longer:
            self._store.register(folded.kept_longer)
        self._under_way = self._store.send(self._next_offset, next_offset, folded.write, next_element)
        self._sent_offset = next_offset
        state.forget_excess(folded.write, folded.changed, folded.dropped)
        return folded.applied

    def reprice(self, numbers: range, now_us: int) -> int:
        """Give the calls of these record numbers, unless they are about to go, the cost that they have by the prices of
        this writer; returns how many cost otherwise than before.
        """
        self.finish()
        state, write = self._state, ShardWrite()
        known = KnownNumbers(state.records.next_number, state.records.projects_numbered)
        fold = Fold(state.records, self._prices)
        oldest_us = now_us - self._retention.calls_s * SECOND_US
        repriced = reprice_calls(fold, numbers, oldest_us, state.records, self._store, state.frames)
        changes = fold.finish()
        if repriced:
            state.write_changes(changes, known, min(now_us, state.as_of_us), now_us, write)
            count(changes.counters, state.records.next_number, state.as_of_us, self._keys, write)
            self._store.replace(write)
        state.forget_excess(write, changes.records, ())
        return repriced

    def seal(self, now_us: int) -> int:
        """Seal or move some of what is due, while nothing else is to be done; returns how much, 0 where nothing is."""
        self.finish()
        return self._seal(now_us, 1)

    def _may_seal(self, now_us: int, events: int) -> int:
        """How much may be sealed beside so many events: less while folding is a little behind, so that what comes
        shows soon. A long backlog shows late anyway, and is more than Redis could hold unsealed.
        """
        behind_us = now_us - self._state.as_of_us
        if not BEHIND_MIN_US <= behind_us < BACKLOG_MIN_US or self._put_off >= PUT_OFF_MAX:
            self._put_off = max(0, self._put_off - events // 2)  # an event is about half a call
            return events
        self._put_off += events - events // CATCHING_UP_SEALS_LESS
        return events // CATCHING_UP_SEALS_LESS

    def _seal(self, now_us: int, count_min: int) -> int:
        """Seal as many cells, records, postings and ids as a batch of so many events may have finished."""
        if self._next_offset is None:  # filled from other shards' logs, without a fence yet
            return 0
        state = self._state
        until_us = min(now_us, state.as_of_us)
        if closed := state.close(until_us, now_us):  # before it is sealed
            return closed
        numbers = range(state.expired.first_number, state.records.next_number)
        sealed = state.upkeep.step(until_us, now_us, numbers.stop, count_min, state.cells.forget)
        return sealed + state.ids.move(until_us, numbers, count_min)

    def finish(self) -> None:
        """Return when what was begun is stored."""
        if self._under_way is not None:
            wait, self._under_way = self._under_way, None
            wait()
            self._next_offset = self._sent_offset

    def touch(self, as_of_us: int) -> None:
        """Everything has been applied as of this instant, without a new message."""
        self.note_end(self._next_offset, as_of_us)

    def note_end(self, next_offset: int | None, as_of_us: int | None) -> None:
        """Everything there is has been applied, without a new message: as of `as_of_us`, if that is known.

        `next_offset`: where the log ends; what lies before it and was not read holds no message, and is counted as
        `offsets_skipped`.
        """
        self.finish()
        state, write = self._state, ShardWrite()
        state.note_as_of(as_of_us)
        if state.as_of_us:
            write.set(self._keys.shard, "as_of_us", state.as_of_us)
        if next_offset is not None and self._next_offset is not None and next_offset > self._next_offset:
            write.increments["offsets_skipped"] = next_offset - self._next_offset
            self.note_log("leader_epoch", "-1")
        state.log.write(self._keys, write)
        state.let_go(state.as_of_us, frozenset(), write)
        state.projects.sweep(state.as_of_us)
        element = self._store.next_element if next_offset == self._next_offset else 0
        self._store.send(self._next_offset, next_offset, write, element)()
        self._next_offset = self._sent_offset = next_offset
        if as_of_us is not None:
            self._seal(as_of_us, 1)

    @property
    def partition(self) -> int:
        """The partition that it belongs to."""
        return self._store.shard.partition

    @property
    def waiting(self) -> WaitingEnds:
        """The ends whose starts have not come."""
        return self._state.waiting

    def forget_waiting(self, fields: Iterable[bytes]) -> None:
        """Let these ends wait no more: another shard has them."""
        self.finish()
        write = self._state.waiting.forget(fields)
        self._store.send(self._next_offset, self._next_offset, write, self._store.next_element)()

    def have_started(self, events: Sequence[Event]) -> list[bool]:
        """Return for each event whether this shard holds the start of its call."""
        state, records = self._state, self._state.records
        known = [event for event in events if event.project_id in records.projects]
        loaded = load_records(known, records, state.ids, self._store, state.frames)
        fields = dict(zip(map(id, known), loaded, strict=True))
        found = (records.numbers.get(fields.get(id(event), b"")) for event in events)
        return [number is not None and records.calls[number].is_started for number in found]

    def skip_lost(self, next_offset: int) -> None:
        """Go on at `next_offset`: what lies before it is gone from the log unread, and is counted as `offsets_lost`."""
        self.finish()
        assert self._next_offset is not None
        write = ShardWrite(increments={"offsets_lost": next_offset - self._next_offset})
        self._store.apply(self._next_offset, next_offset, write)
        self._next_offset = self._sent_offset = next_offset
