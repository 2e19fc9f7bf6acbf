"""Which pointers lead from a shard's blocks and chunks into an object."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aggregator.layout.first_calls import minute_field
from aggregator.layout.moved import (
    CALLS_LETTER,
    MINUTES_LETTER,
    POSTINGS_LETTER,
    MovedObject,
    drop_pointers,
    letter_of,
    level_of,
    unpack_objects,
)
from aggregator.layout.moved_minutes import unpack_place
from aggregator.layout.moved_postings import MOVED_FIELD, unpack_moved
from aggregator.layout.sealed import DIRECTORY_FIELD, Location, unpack_directory
from aggregator.layout.sealed_calls import CALL_FRAME_FIELD, unpack_pointer
from aggregator.layout.slots import MINUTES_PER_DAY, Block, ProjectDay
from aggregator.layout.write import Field, ShardWrite
from aggregator.store.shard_store import ShardStore


class Pointers(NamedTuple):
    """Where a block, a chunk, or a day of postings or busy minutes, points to in an object, by the number of frame or
    section.

    `exists`: it has some at all.
    """

    exists: bool
    frames: dict[int, Location]

    def __bool__(self) -> bool:
        return bool(self.frames)


def no_longer(store: ShardStore, names: Sequence[str], of: tuple[int, int], now_us: int, write: ShardWrite) -> None:
    """Note in `write` that a block, or a chunk, by project and number, points into these objects no more."""
    no_longer_of(store, {name: [of] for name in names}, now_us, write)


def no_longer_of(
    store: ShardStore, of: Mapping[str, Sequence[tuple[int, int]]], now_us: int, write: ShardWrite
) -> None:
    """Note in `write` what points into objects no more: blocks or days, by the names of the objects."""
    if of:
        [stored] = store.read_fields({store.keys.objects: list(of)}).values()
        present = {name.encode(): entry for name, entry in zip(of, stored, strict=True) if entry is not None}
        for name, entry in unpack_objects(present).items():
            drop_pointers(name, entry, of[name], store.keys, now_us, write)


def read_pointers(store: ShardStore, name: str, entry: MovedObject) -> dict[tuple[int, int], Pointers]:
    """The pointers into an object of each block that its entry names, by project and number."""
    return _OF_LETTERS.get(letter_of(name), _of_blocks)(store, name, entry)


def _of_blocks(store: ShardStore, name: str, entry: MovedObject) -> dict[tuple[int, int], Pointers]:
    level = level_of(name)
    keys = {store.keys.rollups(*Block(project, level, number)): (project, number) for project, number in entry.blocks}
    found = {}
    for key, [stored] in store.read_fields({key: [DIRECTORY_FIELD] for key in keys}).items():
        ranges = unpack_directory(stored).ranges
        frames = {one.number: one.location for one in ranges if one.location and one.location.name == name}
        found[keys[str(key)]] = Pointers(stored is not None, frames)
    return found


def _of_chunks(store: ShardStore, name: str, entry: MovedObject) -> dict[tuple[int, int], Pointers]:
    keys = {store.keys.calls(chunk): (project, chunk) for project, chunk in entry.blocks}
    found = {}
    for key, [stored] in store.read_fields({key: [CALL_FRAME_FIELD] for key in keys}).items():
        moved = unpack_pointer(stored)
        ours = moved is not None and moved.location.name == name
        found[keys[str(key)]] = Pointers(stored is not None, {0: moved.location} if moved and ours else {})
    return found


def _of_days(store: ShardStore, name: str, entry: MovedObject) -> dict[tuple[int, int], Pointers]:
    keys = {store.keys.posting_pages(*day): day for day in entry.blocks}
    found = {}
    for key, [stored] in store.read_fields({key: [MOVED_FIELD] for key in keys}).items():
        moved = [one for one in unpack_moved(stored) if one.name == name]
        frames = {section: one.location(section) for one in moved for section in one.sections}
        found[keys[str(key)]] = Pointers(stored is not None, frames)
    return found


def places_of_minutes(store: ShardStore, day: ProjectDay) -> dict[int, Location]:
    """Find where the minutes of a day lie that have moved into objects, by their number in the day."""
    first = day[1] * MINUTES_PER_DAY
    fields: list[Field] = [minute_field(first + at) for at in range(MINUTES_PER_DAY)]
    [stored] = store.read_fields({store.keys.busy_minutes(*day): fields}).values()
    places = ((at, unpack_place(one)) for at, one in enumerate(stored) if one is not None)
    return {at: place for at, place in places if place is not None}


def _of_minutes(store: ShardStore, name: str, entry: MovedObject) -> dict[tuple[int, int], Pointers]:
    """Minutes of a day may all have come back: nothing of the day points there then, until they move again."""
    found = {}
    for day in entry.blocks:
        places = {at: place for at, place in places_of_minutes(store, day).items() if place.name == name}
        found[day] = Pointers(bool(places), places)
    return found


_OF_LETTERS = {CALLS_LETTER: _of_chunks, POSTINGS_LETTER: _of_days, MINUTES_LETTER: _of_minutes}
