"""Open minutes: those whose calls the coarser levels lack, or lack in part. Readers add them up themselves.

While calls come for a minute, they are counted in its own cells alone; once it is over, it is *closed*: added to its
five-minute slot and its hour, five-minute slot by five-minute slot and view by view, in one or several steps. From then
on all levels have what comes for it. What a minute's own cells say is whole at any time.

The open minutes of a project's day stand in the hashes of both blocks of coarser levels, in the field `o`, so that who
reads a cell there reads in the same command what it lacks; and, for who writes, in a hash of the shard, by project and
day. They are MessagePack, a list: of each five-minute slot of the day that has open minutes its number, which of its
five minutes are open, in bits, and the first view that the coarser levels lack. For example, of 10:00, 10:01 and 10:02,
of which the coarser levels have nothing: `91 93 78 07 00`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from aggregator.layout.slots import MINUTES_PER_DAY
from aggregator.rollups.cell import VIEW_MASK, first_place, packed_place
from aggregator.rollups.levels import FIVE_MINUTES, HOURS, MINUTES, Level
from aggregator.time_units import MINUTE_S

OPEN_FIELD = b"o"
COARSER_LEVELS = (FIVE_MINUTES, HOURS)

MINUTES_PER_SLOT = FIVE_MINUTES.slot_s // MINUTE_S
SLOTS_PER_HOUR = HOURS.slot_s // FIVE_MINUTES.slot_s


class OpenSlot(NamedTuple):
    """A five-minute slot of a day with open minutes: which, in bits, and the first view that coarser levels lack."""

    number: int
    minutes: int
    first_view: int

    def minutes_of(self, day: int) -> list[int]:
        """Return its open minutes, since 1970."""
        first = day * MINUTES_PER_DAY + self.number * MINUTES_PER_SLOT
        return [first + at for at in range(MINUTES_PER_SLOT) if self.minutes >> at & 1]


_decode = msgspec.msgpack.Decoder(list[OpenSlot]).decode
pack_open_slots = msgspec.msgpack.Encoder().encode


def unpack_open_slots(stored: bytes | None) -> list[OpenSlot]:
    """The slots of a day that have open minutes."""
    return _decode(stored) if stored else []


def day_and_slot(minute: int) -> tuple[int, int]:
    """The day (since 1970) of a minute (since 1970), and its five-minute slot of that day."""
    day, of_day = divmod(minute, MINUTES_PER_DAY)
    return day, of_day // MINUTES_PER_SLOT


def bit_of(minute: int) -> int:
    """The bit of a minute (since 1970) in its five-minute slot."""
    return 1 << minute % MINUTES_PER_SLOT


def lacking(
    key: str, stored: bytes | None, places: Sequence[bytes], buckets: Sequence[int]
) -> Iterator[tuple[str, list[bytes], list[int]]]:
    """Yield what is to be read for places of a coarser block besides their cells: by key of a block of minutes, the
    places there, each with its bucket.

    `stored`: of the field `o`, as it was when the cells were read.
    """
    if not stored:
        return
    block, letter, number = key.rsplit(":", 2)
    by_slot = _by_coarser_slot(
        int(number), unpack_open_slots(stored), HOURS if letter == HOURS.letter else FIVE_MINUTES
    )
    found: dict[int, tuple[list[bytes], list[int]]] = {}
    for packed, bucket in zip(places, buckets, strict=True):
        place = int.from_bytes(packed, "big")
        view = place & VIEW_MASK
        for first_view, hour, first in by_slot.get(place - view, ()):
            if view >= first_view:
                of_hour = found.setdefault(hour, ([], []))
                of_hour[0].append(packed_place(first + view))
                of_hour[1].append(bucket)
    for hour, (of_hour_places, of_hour_buckets) in found.items():
        yield f"{block}:{MINUTES.letter}:{hour}", of_hour_places, of_hour_buckets


def _by_coarser_slot(day: int, slots: Sequence[OpenSlot], level: Level) -> Mapping[int, list[tuple[int, int, int]]]:
    """The open minutes of each coarser slot, by its first place: first view that is lacking, block and first place."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    for slot in slots:
        coarser = slot.number if level is FIVE_MINUTES else slot.number // SLOTS_PER_HOUR
        of_slot = found.setdefault(first_place(coarser), [])
        for minute in slot.minutes_of(day):
            hour, within = MINUTES.block_and_slot(minute)
            of_slot.append((slot.first_view, hour, first_place(within)))
    return found


def open_minutes_of(day: int, stored: bytes | None) -> dict[int, int]:
    """The open minutes of a day (since 1970) with the first view that coarser levels lack of each."""
    return {minute: slot.first_view for slot in unpack_open_slots(stored) for minute in slot.minutes_of(day)}
