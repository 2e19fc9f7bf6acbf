"""Parts of objects on disk: read once a machine, right whatever has become of the files, and within their bound."""

import logging
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from aggregator.objects.cached_store import CachedStore
from aggregator.objects.directory_store import DirectoryStore
from aggregator.objects.object_store import ObjectMissing, ObjectStoreAway, Span
from aggregator.objects.opening import open_store
from tests.servers.s3_server import S3Server

CONTENT = bytes(range(256)) * 40
ONE, OTHER = Span(0, 100), Span(300, 200)


class CountingStore(DirectoryStore):
    """Knows what was read of it, and may be away."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: list[tuple[str, list[Span]]] = []

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        self.reads.append((name, list(spans)))
        return super().read(name, spans)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    """A store with two objects that differ."""
    found = CountingStore(tmp_path / "objects")
    found.put("a", CONTENT)
    found.put("b", CONTENT[::-1])
    return found


def cached(store: DirectoryStore, tmp_path: Path, bytes_max: int = 100_000, url: str = "s3://one") -> CachedStore:
    """Returns the store with a directory of what was read, as another process has it too."""
    return CachedStore(store, url, tmp_path / "kept", bytes_max)


def part(span: Span, content: bytes = CONTENT) -> bytes:
    """Returns what an object says there."""
    return content[span.offset : span.offset + span.length]


def files(tmp_path: Path) -> list[Path]:
    """Returns what is kept."""
    return sorted((tmp_path / "kept").iterdir())


def test_read_once_a_machine(store: CountingStore, tmp_path: Path) -> None:
    """No process asks the store for what another one has read; what is missing is asked for alone."""
    assert cached(store, tmp_path).read("a", [ONE]) == [part(ONE)]
    other = cached(store, tmp_path)
    assert other.read("a", [OTHER, ONE]) == [part(OTHER), part(ONE)]
    assert other.read("b", [ONE]) == [part(ONE, CONTENT[::-1])]
    assert cached(store, tmp_path).read("a", [ONE, OTHER]) == [part(ONE), part(OTHER)]
    assert store.reads == [("a", [ONE]), ("a", [OTHER]), ("b", [ONE])]


def test_another_store(store: CountingStore, tmp_path: Path) -> None:
    """Nothing that was read of one store is taken for what is in another under the same name."""
    cached(store, tmp_path).read("a", [ONE])
    other = DirectoryStore(tmp_path / "others")
    with pytest.raises(ObjectMissing):
        cached(other, tmp_path, url="s3://other").read("a", [ONE])


def test_damage_is_nothing(store: CountingStore, tmp_path: Path) -> None:
    """An entry with a wrong byte anywhere, or without its end, is read anew and written anew."""
    cached(store, tmp_path).read("a", [ONE])
    [kept] = files(tmp_path)
    whole = kept.read_bytes()
    wrong = [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for damaged in [*wrong, whole[:-1], whole[:5], b"", whole + b"x"]:
        kept.write_bytes(damaged)
        assert cached(store, tmp_path).read("a", [ONE]) == [part(ONE)]
        assert kept.read_bytes() == whole


def test_under_the_name_of_another(store: CountingStore, tmp_path: Path) -> None:
    """An entry that was given the name of another one is not taken for it."""
    cached(store, tmp_path).read("a", [ONE])
    [of_a] = files(tmp_path)
    cached(store, tmp_path).read("b", [ONE])
    [of_b] = [one for one in files(tmp_path) if one != of_a]
    of_b.write_bytes(of_a.read_bytes())
    assert cached(store, tmp_path).read("b", [ONE]) == [part(ONE, CONTENT[::-1])]


def test_bounded(store: CountingStore, tmp_path: Path) -> None:
    """Entries that were of use last stay; all, with what a killed process left, is about within it."""
    process = cached(store, tmp_path, bytes_max=4_000)
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / ".unfinished-of-a-killed-process").write_bytes(b"x" * 1_000)
    spans = [Span(at, 150) for at in range(0, 9_000, 150)]
    for age, span in enumerate(spans):
        process.read("a", [span])
        for one in files(tmp_path):  # as if a day lay between any two
            status = one.stat()
            os.utime(one, (status.st_atime, status.st_mtime - 86_400))
        assert process.read("a", [spans[0]]) == [part(spans[0])]
        assert sum(one.stat().st_size for one in files(tmp_path)) <= 4_000 + 4_000 // 20 + 166, age
    assert [span for _, [span] in store.reads] == spans
    assert not any(one.name.startswith(".") for one in files(tmp_path))
    process.read("a", [Span(0, 201)])
    before = len(store.reads)
    process.read("a", [Span(0, 201)])
    assert len(store.reads) == before + 1  # too large a part of the bound


def test_many_at_once(store: CountingStore, tmp_path: Path) -> None:
    """Threads of several processes that read, write and delete at once get what the objects say."""
    wrong: list[object] = []

    def read(seed: int) -> None:
        process = cached(store, tmp_path, bytes_max=3_000)
        for at in range(150):
            span = Span((seed * 7 + at * 13) % 40 * 100, 100)
            for name, content in (("a", CONTENT), ("b", CONTENT[::-1])):
                if process.read(name, [span]) != [part(span, content)]:
                    wrong.append((name, span))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_directory(store: CountingStore, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Answers go on where nothing can be kept, and it is said once."""
    (tmp_path / "kept").write_bytes(b"a file")
    process = cached(store, tmp_path)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert process.read("a", [ONE, OTHER]) == [part(ONE), part(OTHER)]
    assert [record.message for record in caplog.records] == ["parts of objects are not kept on disk"]


def test_all_else_is_the_store(store: CountingStore, tmp_path: Path) -> None:
    """Objects are put, read whole, listed and deleted as without it."""
    process = cached(store, tmp_path)
    process.put("c/d", b"new")
    assert process.read_whole("c/d") == b"new"
    assert [one.name for one in process.listed("c/")] == ["c/d"]
    process.delete(["c/d"])
    with pytest.raises(ObjectMissing):
        process.read("c/d", [Span(0, 1)])


def test_a_bucket_that_is_away(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that were read of a bucket are there while it cannot be reached; the rest is not."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    url = f"{s3_server.url}/{tmp_path.name}"
    bucket = open_store(url)
    assert bucket is not None
    bucket.put("a", CONTENT)
    assert CachedStore(bucket, url, tmp_path / "kept", 100_000).read("a", [ONE]) == [part(ONE)]
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    away = open_store(url)
    assert away is not None
    again = CachedStore(away, url, tmp_path / "kept", 100_000)
    assert again.read("a", [ONE]) == [part(ONE)]
    with pytest.raises(ObjectStoreAway):
        again.read("a", [ONE, OTHER])
