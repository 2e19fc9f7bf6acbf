"""Reading call records: those of some minutes, those that indexes select, those with given ids."""

from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec

from aggregator.calls.call import Call
from aggregator.calls.packed_id import pack_id
from aggregator.layout import keys as layout
from aggregator.reading.ids import find_numbers
from aggregator.reading.postings import Lookup, read_postings
from aggregator.reading.records import read_records
from aggregator.reading.rollups import TooMuchToRead
from aggregator.store.reader import OpenedProject, ProjectShard, StoreReader
from aggregator.time_units import MINUTE_US

# Values of a filter, each looked up for each day and partition: some microseconds of Redis, and as many here.
LOOKUPS_MAX = 500_000
# What is read between two looks at what else there is to do: some milliseconds each.
LOOKUPS_AT_ONCE_MAX = 1_000
CALLS_AT_ONCE_MAX = 1_000
# Who asks for so few may soon ask for the same again.
CALLS_KEPT_MAX = 1_000
PREFIXES_AT_ONCE_MAX = 20
REFS_AT_ONCE_MAX = 500
# Distinct refs that the prefixes of a filter stand for, over all days and shards; each is looked up by itself.
REFS_READ_MAX = 100_000


Selected = dict[ProjectShard, set[int]]
"""Record numbers by shard."""


class IndexValues(msgspec.Struct, frozen=True):
    """Values of one index, any of which a call must have. A ref that ends in `:*` stands for all that begin so."""

    index: str
    values: tuple[str, ...]


async def select_minutes(reader: StoreReader, project: OpenedProject, minutes: Iterable[int]) -> Selected:
    """The calls that started in these minutes (since 1970). Raises TooMuchToRead."""
    return await select_shard_minutes(reader, [(shard, minute) for minute in minutes for shard in project.shards])


async def select_shard_minutes(reader: StoreReader, wanted: Iterable[tuple[ProjectShard, int]]) -> Selected:
    """The calls of these shards that started in these minutes (since 1970). Raises TooMuchToRead."""
    by_day: dict[tuple[ProjectShard, int], list[bytes]] = {}
    for shard, minute in wanted:
        by_day.setdefault((shard, layout.day_of(minute * MINUTE_US)), []).append(minute.to_bytes(4, "big"))
    return await read_postings(
        reader,
        [Lookup(shard, layout.MINUTE, day, values) for (shard, day), values in by_day.items()],
    )


async def select_by_index(
    reader: StoreReader, project: OpenedProject, wanted: IndexValues, days: Sequence[int]
) -> Selected:
    """The calls of these days that have one of the values."""
    index = wanted.index
    encode = pack_id if index in (layout.TRACE, layout.PARENT) else str.encode
    is_ref = index in (layout.INPUT_REF, layout.OUTPUT_REF)
    prefixes = [value[:-1].encode() for value in wanted.values if is_ref and value.endswith(":*")]
    exact = [encode(value) for value in wanted.values if not (is_ref and value.endswith(":*"))]
    places = [(shard, day) for shard in project.shards for day in days]
    if len(places) * len(wanted.values) > LOOKUPS_MAX:
        raise TooMuchToRead(
            f"{len(wanted.values):,} values on {len(days):,} days in {len(project.shards):,} partitions are more than "
            f"{LOOKUPS_MAX:,} lookups"
        )
    selected: Selected = {}
    refs_read = 0
    at_once = max(1, LOOKUPS_AT_ONCE_MAX // len(wanted.values))
    for at in range(0, len(places), at_once):
        lookups = []
        for shard, day in places[at : at + at_once]:
            names = await _named(reader, shard.keys.refs(shard.project, index, day), prefixes) if prefixes else []
            refs_read += len(names)
            if refs_read > REFS_READ_MAX:
                raise TooMuchToRead(f"what the filter's refs begin with stands for more than {REFS_READ_MAX:,} refs")
            if values := list(dict.fromkeys([*exact, *names])):
                lookups.append(Lookup(shard, index, day, values))
        for shard, numbers in (await read_postings(reader, lookups, _count(selected))).items():
            selected.setdefault(shard, set()).update(numbers)
    return selected


async def _named(reader: StoreReader, key: str, prefixes: Sequence[bytes]) -> list[bytes]:
    """The refs of a day that begin with one of these, up to one more than may be read."""
    found: list[bytes] = []
    left = [(b"[" + prefix, b"[" + prefix + b"\xff") for prefix in prefixes]
    while left and len(found) <= REFS_READ_MAX:
        asked, left = left[:PREFIXES_AT_ONCE_MAX], left[PREFIXES_AT_ONCE_MAX:]
        replies = await reader.fetch(
            [("ZRANGEBYLEX", key, first, last, "LIMIT", 0, REFS_AT_ONCE_MAX) for first, last in asked]
        )
        for names, (_, last) in zip(replies, asked, strict=True):
            found += names
            if len(names) == REFS_AT_ONCE_MAX:
                left.append((b"(" + names[-1], last))
    return found


def _count(selected: Selected) -> int:
    return sum(map(len, selected.values()))


async def select_ids(reader: StoreReader, project: OpenedProject, call_ids: Sequence[str]) -> Selected:
    """Find the records of these ids.

    One shard has the call; others may have a record of the same id because a call of another trace named it as parent.
    """
    packed = set(map(pack_id, call_ids))
    selected, possible = await find_numbers(reader, project, list(packed))
    async for some in calls_in_pieces(reader, possible):
        for (shard, number), call in some.items():
            if call.packed_id in packed and call.project == shard.project:
                selected.setdefault(shard, set()).add(number)
    return selected


async def read_by_ids(
    reader: StoreReader, project: OpenedProject, call_ids: Sequence[str]
) -> dict[str, dict[tuple[ProjectShard, int], Call]]:
    """The records of these ids, each with where it is; without those that are unknown or past their retention."""
    packed = {pack_id(call_id): call_id for call_id in call_ids}
    selected, possible = await find_numbers(reader, project, list(packed))
    for shard, numbers in possible.items():
        selected.setdefault(shard, set()).update(numbers)
    found: dict[str, dict[tuple[ProjectShard, int], Call]] = {}
    for place, call in (await read_calls(reader, selected)).items():
        call_id = packed.get(call.packed_id)
        if call_id is not None and call.project == place[0].project:
            found.setdefault(call_id, {})[place] = call
    return found


async def read_calls(reader: StoreReader, selected: Selected) -> dict[tuple[ProjectShard, int], Call]:
    """The records of these numbers; those past their retention are left out."""
    found: dict[tuple[ProjectShard, int], Call] = {}
    async for some in calls_in_pieces(reader, selected):
        found.update(some)
    return found


async def calls_in_pieces(
    reader: StoreReader, selected: Selected
) -> AsyncIterator[dict[tuple[ProjectShard, int], Call]]:
    """Yield the calls some at a time, so that others get their turn between, and few are in memory."""
    keep = _count(selected) <= CALLS_KEPT_MAX
    for shard, numbers in selected.items():
        ordered = sorted(numbers)
        for at in range(0, len(ordered), CALLS_AT_ONCE_MAX):
            found = await read_records(reader, shard, ordered[at : at + CALLS_AT_ONCE_MAX], keep)
            yield {(shard, number): call for number, call in found.items()}
