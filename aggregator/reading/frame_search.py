"""Finding cells in frames: those of many blocks are unpacked together, which takes about as long as one of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import NamedTuple

import numpy as np

from aggregator.reading.batches import in_batches
from aggregator.segments.columns import Integers
from aggregator.segments.compression import CorruptFrame
from aggregator.segments.unpacked_frame import Frames
from aggregator.store.reader import UnknownLayout

# What frames that are unpacked together come to, at least one block's. Of more, what each frame takes by itself is
# little beside what its cells take, and what they become would not stay in a processor's cache.
TOGETHER_BYTES_MAX = 64 * 2**10


class DamagedCells(UnknownLayout):
    """Sealed cells cannot be read: the message says which."""


class BlockFrame(NamedTuple):
    """A frame, its number, and of what block it is: its key, and its directory as it is stored."""

    key: str
    directory: bytes | None
    number: int
    packed: bytes


class Search(NamedTuple):
    """Places that are looked for in the frames of a block, the newest last, each with the bucket it belongs to."""

    frames: list[BlockFrame]
    places: list[int]
    buckets: list[int]


class FoundFrames(NamedTuple):
    """Cells that were found in frames: their positions there, none of them twice, each with its bucket."""

    frames: Frames
    of: list[BlockFrame]
    positions: Integers
    buckets: Integers


def found_in_frames(searches: Sequence[Search]) -> Iterator[FoundFrames]:
    """Yield what is found: of a place that several frames hold, what the newest says. Raises DamagedCells."""
    sizes = [sum(len(frame.packed) for frame in one.frames) for one in searches]
    for some in in_batches(searches, sizes, TOGETHER_BYTES_MAX):
        of = list(chain.from_iterable(one.frames for one in some))
        with named_damage(of):
            frames = Frames([one.packed for one in of])
        positions, buckets = _search(frames, some)
        while len(positions):  # mostly once: a cell is of several buckets where its view is of several values
            _, first = np.unique(positions, return_index=True)
            yield FoundFrames(frames, of, positions[first], buckets[first])
            positions, buckets = np.delete(positions, first), np.delete(buckets, first)


def _search(frames: Frames, searches: Sequence[Search]) -> tuple[Integers, Integers]:
    """Return the positions of what is found, and the buckets they belong to."""
    places = np.array(list(chain.from_iterable(one.places for one in searches)), dtype=np.int64)
    buckets = np.array(list(chain.from_iterable(one.buckets for one in searches)), dtype=np.int64)
    found = np.full(len(places), -1, dtype=np.int64)
    newest = begin = 0
    turns: list[list[tuple[int, int, int]]] = []
    for one in searches:
        end = begin + len(one.places)
        for age, frame in enumerate(range(newest, newest + len(one.frames))):
            turns += [[]] if age == len(turns) else []
            turns[age].append((frame, begin, end))
        newest, begin = newest + len(one.frames), end
    for turn in turns:  # the oldest frames of all blocks first, so that newer ones take their place
        wanted = np.concatenate([np.arange(first, last) for _, first, last in turn])
        of_frames = np.repeat([frame for frame, _, _ in turn], [last - first for _, first, last in turn])
        at = frames.find(of_frames, places[wanted])
        found[wanted[at >= 0]] = at[at >= 0]
    is_found = found >= 0
    return found[is_found], buckets[is_found]


@contextmanager
def named_damage(of: Sequence[BlockFrame]) -> Iterator[None]:
    """Raise DamagedCells, which says which of these frames it is, where unpacking them raises CorruptFrame."""
    try:
        yield
    except CorruptFrame as why:
        for one in of:
            try:
                alone = Frames([one.packed])
                alone.full_cells(range(len(alone.places)))
            except CorruptFrame as of_one:
                raise DamagedCells(f"frame {one.number} of {one.key} is damaged: {of_one}") from why
        raise DamagedCells(f"frames of {', '.join({one.key for one in of})} are damaged: {why}") from why
