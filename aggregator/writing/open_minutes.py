"""The open minutes of a shard: which minutes of a batch are counted in their own cells alone, and which are due to be
closed (aggregator/layout/open_minutes.py says what that is).

A minute is opened by the batch that brings its first calls, if it is recent; one of which anything has been counted
before, open or not, is never opened again. So what a minute is follows from what is stored, and the batch.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from aggregator.layout.keys import ShardKeys, day_of
from aggregator.layout.open_minutes import (
    COARSER_LEVELS,
    OPEN_FIELD,
    SLOTS_PER_HOUR,
    OpenSlot,
    bit_of,
    day_and_slot,
    pack_open_slots,
    unpack_open_slots,
)
from aggregator.layout.slots import Block, ProjectDay, ProjectMinute, TouchedBlock, day_field, named_day
from aggregator.layout.write import Field, Key, ShardWrite
from aggregator.rollups.cell import VIEW_MASK, first_place, places_among
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Retention
from aggregator.rollups.views import ALL_CALLS
from aggregator.time_units import DAY_S, MINUTE_US, SECOND_US
from aggregator.writing.due import NEVER_US
from aggregator.writing.limits import ShardLimits
from aggregator.writing.slot_gains import Gains
from aggregator.writing.unsealing import Read

# Clocks of producers may be ahead; a minute that has not begun by then is counted in all levels.
AHEAD_MAX_US = MINUTE_US
# Where it is not known, or no more said, what the shard is as of: no minute is opened that late.
GIVEN_UP_US = 5 * MINUTE_US
# Minutes that are known to have been counted before; one that is forgotten is looked for once more.
COUNTED_MAX = 10_000

_NO_SLOTS: Mapping[int, OpenSlot] = {}


class SlotOfDay(NamedTuple):
    """A five-minute slot of a project: its day, and its number in it."""

    day: ProjectDay
    number: int

    @property
    def end_us(self) -> int:
        """Return when it is over (microseconds since 1970)."""
        return self.day[1] * DAY_S * SECOND_US + (self.number + 1) * FIVE_MINUTES.slot_us

    @property
    def minutes_block(self) -> Block:
        """Return the block that its minutes are in."""
        return Block(self.day[0], MINUTES, self.day[1] * HOURS.block_slots + self.number // SLOTS_PER_HOUR)


class OpenMinutes:
    """The open minutes of a shard, `stored` in its hash of them.

    `read` gives what is there of fields by key, `names` all fields of a key. After any doubt whether what was noted is
    stored, nothing here is right any more.
    """

    def __init__(
        self,
        keys: ShardKeys,
        limits: ShardLimits,
        read: Read,
        names: Callable[[Key], list[bytes]],
        stored: Mapping[bytes, bytes],
    ) -> None:
        self._keys, self._limits = keys, limits
        self._read, self._names = read, names
        self._days = {
            named_day(field): {slot.number: slot for slot in unpack_open_slots(packed)}
            for field, packed in stored.items()
        }
        # Of minutes that this writer has opened; of others it is read which views they have.
        self._views: dict[ProjectMinute, set[int]] = {}
        self._counted: set[ProjectMinute] = set()
        self._earliest_end_us: int | None = None  # not known
        self._slots = sum(map(len, self._days.values()))

    def take_in(
        self, gained: Mapping[ProjectMinute, Gains], now_us: int, write: ShardWrite
    ) -> dict[ProjectMinute, int]:
        """Open those of a batch's minutes that are to be; returns which of them are open, with the first view of each
        that coarser levels lack.
        """
        changed = set()
        for minute in self._to_open(gained, now_us):
            self._open(minute)
            changed.add((minute[0], day_and_slot(minute[1])[0]))
        self._note(changed, write)
        found = {}
        for minute, gains in gained.items():
            first_view = self._first_view(minute)
            if first_view is not None:
                found[minute] = first_view
                if minute in self._views:
                    self._views[minute].update(gains)
        return found

    def _open(self, minute: ProjectMinute) -> None:
        project, number = minute
        day, of_day = day_and_slot(number)
        slots = self._days.setdefault((project, day), {})
        if of_day not in slots:
            slots[of_day] = OpenSlot(of_day, 0, 0)
            self._slots += 1
        slots[of_day] = slots[of_day]._replace(minutes=slots[of_day].minutes | bit_of(number))
        self._views[minute] = set()
        self._earliest_end_us = None

    def _first_view(self, minute: ProjectMinute) -> int | None:
        """The first view of a minute that coarser levels lack; None where it is not open."""
        day, of_day = day_and_slot(minute[1])
        slot = self._days.get((minute[0], day), _NO_SLOTS).get(of_day)
        return slot.first_view if slot is not None and slot.minutes & bit_of(minute[1]) else None

    def _to_open(self, gained: Mapping[ProjectMinute, Gains], now_us: int) -> list[ProjectMinute]:
        """The minutes that are recent, of which nothing has been counted, of projects that bring enough."""
        oldest_us, newest_us = now_us - self._limits.open_within_s * SECOND_US, now_us + AHEAD_MAX_US
        recent = [
            minute
            for minute in gained
            if oldest_us < (minute[1] + 1) * MINUTE_US and minute[1] * MINUTE_US <= newest_us
            if minute not in self._counted and self._first_view(minute) is None
        ]
        if not recent:
            return []
        calls = Counter[int]()
        for (project, _), gains in gained.items():
            calls[project] += gains[ALL_CALLS].calls if ALL_CALLS in gains else 0
        found: list[ProjectMinute] = []
        slots_left, more = self._limits.open_slots_max - self._slots, Counter[int]()
        for minute in self._new(minute for minute in recent if calls[minute[0]] >= self._limits.open_calls_min):
            room = self._limits.open_minutes_max - self._open_near(minute) - more[minute[0]]
            if room > 0 and len(found) < slots_left:
                more[minute[0]] += 1
                found.append(minute)
        return found

    def _open_near(self, minute: ProjectMinute) -> int:
        """How many minutes of its project are open, of its day and the day before."""
        day, _ = day_and_slot(minute[1])
        days = [self._days.get((minute[0], one), _NO_SLOTS) for one in (day - 1, day)]
        return sum(slot.minutes.bit_count() for slots in days for slot in slots.values())

    def _new(self, minutes: Iterable[ProjectMinute]) -> Iterator[ProjectMinute]:
        """Yield those of these minutes of which nothing is stored: a minute that counts anything has a version."""
        places: dict[ProjectMinute, tuple[Key, Field]] = {}
        wanted: dict[Key, list[Field]] = {}
        for minute in minutes:
            block, slot = MINUTES.block_and_slot(minute[1])
            places[minute] = self._keys.versions(minute[0], MINUTES, block), slot
            wanted.setdefault(places[minute][0], []).append(slot)
        stored = self._read(wanted) if wanted else {}
        for minute, place in places.items():
            if place not in stored:
                yield minute
            elif len(self._counted) >= COUNTED_MAX:
                self._counted.clear()
            else:
                self._counted.add(minute)

    def _note(self, days: Iterable[ProjectDay], write: ShardWrite) -> None:
        """Note what is open of these days, for readers and for the next writer."""
        for day in days:
            slots = list(self._days.get(day, _NO_SLOTS).values())
            fields: list[tuple[Key, Field]] = [(self._keys.open_minutes, day_field(day))]
            fields += [(self._keys.rollups(day[0], level, day[1]), OPEN_FIELD) for level in COARSER_LEVELS]
            for key, field in fields:
                if slots:
                    write.set(key, field, pack_open_slots(slots))
                else:
                    _unset(key, field, write)  # of another slot that this step closes
                    write.deletions.setdefault(key, []).append(field)

    def touched_too(
        self, touched: Mapping[str, TouchedBlock], minutes: Iterable[ProjectMinute]
    ) -> dict[str, TouchedBlock]:
        """The blocks that a batch changes, with the coarser slots of these open minutes: what they say changes too."""
        all_touched = {key: TouchedBlock(block, {*slots}) for key, (block, slots) in touched.items()}
        for project, minute in minutes:
            for level in COARSER_LEVELS:
                number, slot = level.block_and_slot(minute)
                key = self._keys.rollups(project, level, number)
                all_touched.setdefault(key, TouchedBlock(Block(project, level, number), set())).slots.add(slot)
        return all_touched

    def keep_longer(self, touched: Iterable[TouchedBlock], retention: Retention, write: ShardWrite) -> None:
        """Let blocks of minutes that have open ones expire no sooner than what they are to be added to: however long no
        worker comes, nothing is lost.
        """
        for block, _ in touched:
            if block.level is MINUTES and self.are_open(block):
                day = day_of(block.number * block.level.block_s * SECOND_US)
                for key in self._keys_of(block):
                    write.expiries[key] = max((day + 1) * DAY_S + retention.level_s(HOURS), write.expiries.get(key, 0))

    def expire(self, slot: SlotOfDay, retention: Retention, write: ShardWrite) -> list[str]:
        """Let the block of minutes of a slot expire as others do, where it has no open ones any more; the keys."""
        block = slot.minutes_block
        if self.are_open(block):
            return []
        keys = self._keys_of(block)
        for key in keys:
            write.expiries[key] = (block.number + 1) * MINUTES.block_s + retention.level_s(MINUTES)
        return keys

    def are_open(self, block: Block) -> bool:
        """Whether a block of minutes, which is an hour, has open ones."""
        day, hour = divmod(block.number, HOURS.block_slots)
        slots = self._days.get((block.project, day), _NO_SLOTS)
        return any(number // SLOTS_PER_HOUR == hour for number in slots)

    def due(self, until_us: int, now_us: int) -> list[SlotOfDay]:
        """The slots that are to be closed, the oldest first. `until_us`: how far time has come for this shard."""
        seal_after_s = self._limits.seal_after_s
        wait_s = self._limits.close_after_s if seal_after_s is None else min(seal_after_s, self._limits.close_after_s)
        over_us = max(until_us - wait_s * SECOND_US, now_us - self._limits.open_within_s * SECOND_US - GIVEN_UP_US)
        if self._earliest_end_us is None:
            self._earliest_end_us = min((slot.end_us for slot in self._all()), default=NEVER_US)
        if self._earliest_end_us > over_us:
            return []
        return sorted((slot for slot in self._all() if slot.end_us <= over_us), key=lambda slot: (slot.end_us, slot))

    def _all(self) -> Iterator[SlotOfDay]:
        return (SlotOfDay(day, number) for day, slots in self._days.items() for number in slots)

    def lacking(self, slot: SlotOfDay) -> dict[int, list[int]]:
        """The views that the coarser levels lack of a slot, in order, each with the minutes that have them."""
        one = self._days[slot.day][slot.number]
        found: dict[int, list[int]] = {}
        for number in one.minutes_of(slot.day[1]):
            minute = slot.day[0], number
            if minute not in self._views:
                self._find_views(slot.minutes_block)
            for view in self._views[minute]:
                if view >= one.first_view:
                    found.setdefault(view, []).append(number)
        return {view: found[view] for view in sorted(found)}

    def _find_views(self, block: Block) -> None:
        """Read which views the open minutes of a block have: nothing of them is sealed."""
        places = places_among(self._names(self._keys.rollups(*block)))
        for within in range(MINUTES.block_slots):
            minute = block.project, block.number * MINUTES.block_slots + within
            if minute not in self._views and self._first_view(minute) is not None:
                ours = places[(places >= first_place(within)) & (places < first_place(within + 1))]
                self._views[minute] = set((ours & VIEW_MASK).tolist())

    def close(self, slot: SlotOfDay, first_view: int | None, write: ShardWrite) -> None:
        """Note that the views below `first_view` of a slot (None: all) have been added to the coarser levels."""
        slots = self._days[slot.day]
        if first_view is not None:
            slots[slot.number] = slots[slot.number]._replace(first_view=first_view)
        else:
            for number in slots.pop(slot.number).minutes_of(slot.day[1]):
                self._views.pop((slot.day[0], number), None)
            if not slots:
                del self._days[slot.day]
            self._slots -= 1
            self._earliest_end_us = None
        self._note([slot.day], write)

    def _keys_of(self, block: Block) -> list[str]:
        return [self._keys.rollups(*block), self._keys.versions(*block)]


def _unset(key: Key, field: Field, write: ShardWrite) -> None:
    fields = write.fields.get(key, {})
    fields.pop(field, None)
    if not fields:
        write.fields.pop(key, None)
