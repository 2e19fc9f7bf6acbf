"""What every object store does, a directory or a bucket: the same contract."""

import threading
import time
from pathlib import Path

import pytest

from aggregator.objects.directory_store import TEMPORARY_PREFIX, DirectoryStore
from aggregator.objects.object_store import AlreadyThere, ObjectMissing, ObjectStore, ObjectStoreAway, Span
from aggregator.objects.opening import open_store
from tests.servers.s3_server import S3Server

CONTENT = bytes(range(256)) * 50


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty one."""
    url = (tmp_path / "objects").as_uri()
    if request.param == "s3":
        server: S3Server = request.getfixturevalue("s3_server")
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        url = f"{server.url}/{tmp_path.name}"
    opened = open_store(url)
    assert opened is not None
    return opened


def test_what_was_put_is_read(store: ObjectStore) -> None:
    """Whole, and in any parts."""
    store.put("base/calls/0/one", CONTENT)
    assert store.read_whole("base/calls/0/one") == CONTENT
    spans = [Span(0, 10), Span(300, 1), Span(10, 2_000), Span(len(CONTENT) - 5, 5)]
    assert store.read("base/calls/0/one", spans) == [CONTENT[at : at + length] for at, length in spans]


def test_created_once(store: ObjectStore) -> None:
    """A second one of a name is refused, and the first stays."""
    store.put("base/calls/0/one", CONTENT)
    with pytest.raises(AlreadyThere):
        store.put("base/calls/0/one", b"other")
    assert store.read_whole("base/calls/0/one") == CONTENT


def test_of_many_who_put_one_wins(store: ObjectStore) -> None:
    """Whoever is told that it is there finds what another one put."""
    won: list[bytes] = []

    def put(content: bytes) -> None:
        try:
            store.put("base/calls/0/one", content)
        except AlreadyThere:
            return
        won.append(content)

    threads = [threading.Thread(target=put, args=(b"%d" % number * 1_000,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [store.read_whole("base/calls/0/one")] == won


def test_what_is_not_there_is_missing(store: ObjectStore) -> None:
    """An object that is not there is told missing by its name, and deleting it changes nothing."""
    with pytest.raises(ObjectMissing, match="base/calls/0/none"):
        store.read("base/calls/0/none", [Span(0, 1)])
    with pytest.raises(ObjectMissing, match="base/calls/0/none"):
        store.read_whole("base/calls/0/none")
    store.delete(["base/calls/0/none"])


def test_listed_by_prefix(store: ObjectStore) -> None:
    """All below it with size and time, nothing beside it, and nothing that was deleted."""
    for name in ("base/calls/0/b", "base/calls/0/a", "base/calls/1/c", "base.2/calls/0/d", "base/calls/00/e"):
        store.put(name, CONTENT[: len(name)])
    store.delete(["base/calls/1/c"])
    assert [one.name for one in store.listed("base/calls/0/")] == ["base/calls/0/a", "base/calls/0/b"]
    assert [one.name for one in store.listed("base/")] == ["base/calls/0/a", "base/calls/0/b", "base/calls/00/e"]
    assert store.listed("base/calls/1/") == []
    assert store.listed("other/") == []
    [one] = store.listed("base.2/")
    assert one.size_bytes == len("base.2/calls/0/d")
    assert abs(one.modified_us / 1e6 - time.time()) < 60


def test_a_part_beyond_the_end_is_short_or_refused(store: ObjectStore) -> None:
    """Never as long as was asked for: who reads notices."""
    store.put("base/calls/0/one", CONTENT[:100])
    try:
        [found] = store.read("base/calls/0/one", [Span(90, 50)])
    except ObjectStoreAway:
        return
    assert found == CONTENT[90:100]


def test_a_bucket_that_is_not_there_is_away(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket that is not there is away for writers; a server that does not answer is away for all."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    store = open_store("s3://nobodys/callmeter")
    assert store is not None
    with pytest.raises(ObjectStoreAway, match=r"a/b in s3://nobodys/callmeter cannot be written"):
        store.put("a/b", CONTENT)
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:9")
    silent = open_store(s3_server.url)
    assert silent is not None
    with pytest.raises(ObjectStoreAway, match="cannot be read"):
        silent.read("a/b", [Span(0, 1)])


def test_a_directory_that_cannot_be_written_is_away(tmp_path: Path) -> None:
    """A directory that cannot be written is named as away, and the object that was begun is not there."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ObjectStoreAway, match="file/base"):
        DirectoryStore(tmp_path / "file").put("base/one", CONTENT)


def test_a_file_that_was_not_finished_has_another_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that ends before the link leaves something that is listed, and no object."""
    store = DirectoryStore(tmp_path)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aggregator.objects.directory_store.os.fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        store.put("one", CONTENT)
    monkeypatch.undo()
    [left] = store.listed("")
    assert left.name.startswith(TEMPORARY_PREFIX)
    store.put("one", CONTENT)
    store.delete([left.name])
    assert [one.name for one in store.listed("")] == ["one"]


@pytest.mark.parametrize(
    "url",
    [
        "file://host/path",
        "file:relative",
        "file:///",
        "/var/lib",
        "s3:///path",
        "http://bucket/path",
        "ftp://bucket",
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    """A URL that names no store is refused, and the refusal says what a right one looks like."""
    with pytest.raises(ValueError, match="like file:///"):
        open_store(url)


def test_none_is_set() -> None:
    """An empty URL is no store."""
    assert open_store("") is None
