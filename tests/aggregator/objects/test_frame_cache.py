"""Sections of objects are checked once, kept within a bound, and read from the store no more often than needed."""

import asyncio
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from aggregator.objects.directory_store import DirectoryStore
from aggregator.objects.frame_cache import DamagedObject, FrameCache, Located, NoObjectStore
from aggregator.objects.object_store import ObjectMissing, Span

CONTENT = bytes(range(256)) * 4


class CountingStore(DirectoryStore):
    """Knows what was read of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: list[tuple[str, Sequence[Span]]] = []

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        self.reads.append((name, list(spans)))
        return super().read(name, spans)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    """A store with two objects of 1,024 bytes."""
    found = CountingStore(tmp_path)
    for name in ("a", "b"):
        found.put(name, CONTENT)
    return found


def located(name: str, at: int, length: int = 100) -> Located:
    """A section of an object."""
    return Located(name, Span(at, length), zlib.crc32(CONTENT[at : at + length]))


def test_read_once_a_name(store: CountingStore) -> None:
    """All that is wanted of an object takes one read, and nothing is read that is at hand."""
    cache = FrameCache(store)
    wanted = [located("a", 0), located("b", 0), located("a", 100)]
    expected = {one: CONTENT[one.span.offset : one.span.offset + 100] for one in wanted}
    assert cache.read(wanted) == expected
    assert asyncio.run(cache.read_aside(wanted)) == expected
    assert store.reads == [("a", [Span(0, 100), Span(100, 100)]), ("b", [Span(0, 100)])]


def test_bounded(store: CountingStore) -> None:
    """The frames that were used last stay; a frame larger than the bound is read all the same."""
    cache = FrameCache(store, bytes_max=250)
    first, second, third = located("a", 0), located("a", 100), located("a", 200)
    cache.read([first, second])
    cache.read([first])
    cache.read([third])
    assert cache.size_bytes == 200
    store.reads.clear()
    cache.read([first, third])
    assert store.reads == []
    cache.read([second])
    assert len(store.reads) == 1
    assert cache.read([located("b", 0, 1_000)])[located("b", 0, 1_000)] == CONTENT[:1_000]
    assert cache.size_bytes == 0


@pytest.mark.parametrize("damaged", [CONTENT[:50] + b"x" + CONTENT[51:], CONTENT[:60]])
def test_damage_is_told(damaged: bytes, store: CountingStore, tmp_path: Path) -> None:
    """Changed bytes and an object that was cut are told, and nothing of them is kept."""
    (tmp_path / "a").write_bytes(damaged)
    cache = FrameCache(store)
    for _ in range(2):
        with pytest.raises(DamagedObject, match="a is damaged"):
            cache.read([located("a", 0)])
        with pytest.raises(DamagedObject, match="a is damaged"):
            asyncio.run(cache.read_aside([located("a", 0)]))
    assert cache.read([located("b", 0)])


def test_missing_and_no_store(store: CountingStore) -> None:
    """A missing object and a missing store are each told with the object's name."""
    with pytest.raises(ObjectMissing, match="c"):
        FrameCache(store).read([located("c", 0)])
    with pytest.raises(NoObjectStore, match="a lies in an object store"):
        FrameCache(None).read([located("a", 0)])
