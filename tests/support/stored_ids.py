"""The ids of a shard as if none had moved to pages; each must be found in exactly one of both."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from aggregator.calls.call import Call
from aggregator.calls.packed_id import unpack_id
from aggregator.layout import keys
from aggregator.layout.hash_pages import TABLE_FIELD, unpack_table
from aggregator.layout.id_hashes import hashes
from aggregator.layout.id_pages import RECORDS_PER_ENTRY, Lookup
from aggregator.layout.keys import id_field, named_by
from aggregator.layout.sealed_calls import calls_of_chunk
from aggregator.objects.frame_cache import FrameCache


def stored_ids(
    in_hash: Mapping[bytes, bytes], pages: Mapping[bytes, bytes], calls: Mapping[int, Call]
) -> dict[bytes, int]:
    """The number of each id field. `calls`: all records by number."""
    found = {field: int(number) for field, number in in_hash.items()}
    table = unpack_table(pages.get(TABLE_FIELD))
    wanted: Counter[tuple[int, int]] = Counter()  # by hash and eighth of the number: how many entries there must be
    stood: dict[tuple[int, int], int] = {}
    for number, call in calls.items():
        field = id_field(call.project, call.packed_id)
        lookup = Lookup(table, [field])
        stored = [pages.get(b"%d" % page) for page in lookup.pages]
        [hashed] = hashes(table.hash_key, [field])
        entry = hashed, number // RECORDS_PER_ENTRY
        stood[entry] = lookup.candidates(stored, [None]).count(number)
        wanted[entry] += found.get(field) != number
        found[field] = number
    for (hashed, group), count in stood.items():
        # Beside those of records that are dropped, no entry is too many.
        are_all_kept = group * RECORDS_PER_ENTRY >= min(calls)
        expected = wanted[hashed, group]
        assert count == expected if are_all_kept else count >= expected, f"{count} entries of {group}, not {expected}"
    assert wanted.total() <= table.entries
    assert len(pages) <= table.pages + 1
    return found


def _ids_by_number(tag: str, kept: Mapping[str, Any], frames: FrameCache) -> dict[int, tuple[int, bytes]]:
    """The project and the packed id of each record, of all keys of a shard without its tag, which `tag` is."""
    calls: dict[int, Call] = {}
    for name, fields in kept.items():
        if name.startswith("calls:"):
            first = int(name.removeprefix("calls:")) * keys.CALLS_PER_CHUNK
            calls |= calls_of_chunk(tag, first, fields, frames)
    found = stored_ids(kept.get("ids", {}), kept.get("idp", {}), calls)
    return {number: named_by(field) for field, number in found.items()}


def named_calls(
    tag: str, kept: Mapping[str, Any], project_ids: Mapping[int, str], frames: FrameCache
) -> dict[int, tuple[str, str]]:
    """The project id and the id of each record."""
    found = _ids_by_number(tag, kept, frames)
    return {number: (project_ids[project], unpack_id(packed)) for number, (project, packed) in found.items()}
