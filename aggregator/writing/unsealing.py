"""Taking sealed cells out of their frames, for a batch that changes them."""

from collections.abc import Callable, Collection, Mapping

from aggregator.layout.sealed import DIRECTORY_FIELD, unpack_directory
from aggregator.layout.write import Field, Key
from aggregator.segments.frame import FullCell, unpack_frame

Stored = Mapping[tuple[Key, Field], bytes]
"""Values that were read, by key and field."""


def sealed_cells(
    wanted: Mapping[str, Collection[int]], stored: Stored, read: Callable[[dict[Key, list[Field]]], Stored]
) -> dict[tuple[str, int], FullCell]:
    """The sealed cells of these places, by key of the block; `stored` has the directories. Raises CorruptFrame."""
    ranges = {
        key: unpack_directory(stored.get((key, DIRECTORY_FIELD))).of_places(places) for key, places in wanted.items()
    }
    fields: dict[Key, list[Field]] = {key: [one.field for one in of_key] for key, of_key in ranges.items() if of_key}
    if not fields:
        return {}
    frames = read(fields)
    found: dict[tuple[str, int], FullCell] = {}
    for key, of_key in ranges.items():
        for one in of_key:  # the newest last
            packed = frames.get((key, one.field), b"")
            found.update(((key, place), cell) for place, cell in unpack_frame(packed, wanted[key]).items())
    return found
