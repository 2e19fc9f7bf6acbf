"""Objects as files of a directory: put there whole by a link, so that a name either has all of its bytes or none."""

import os
import secrets
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from aggregator.objects.object_store import AlreadyThere, ObjectMissing, ObjectStoreAway, Span, StoredObject

# What is being written, or was when its process ended: listed too, so that it is collected as nobody's.
TEMPORARY_PREFIX = ".unfinished-"


class DirectoryStore:
    """An ObjectStore below a directory, which is made with the first object."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, name: str, content: bytes) -> None:
        path = self._root / name
        temporary = path.with_name(TEMPORARY_PREFIX + secrets.token_hex(8))
        try:
            _make_directories(path.parent)
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                raise AlreadyThere(name) from None
            finally:
                temporary.unlink()
            _sync(path.parent)
        except OSError as why:
            raise ObjectStoreAway(f"{path} cannot be written: {why.strerror or why}") from why

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        file = self._open(name)
        try:
            return [os.pread(file, span.length, span.offset) for span in spans]
        except OSError as why:
            raise ObjectStoreAway(f"{name} cannot be read: {why.strerror or why}") from why
        finally:
            os.close(file)

    def read_whole(self, name: str) -> bytes:
        with os.fdopen(self._open(name), "rb") as file:
            try:
                return file.read()
            except OSError as why:
                raise ObjectStoreAway(f"{name} cannot be read: {why.strerror or why}") from why

    def delete(self, names: Iterable[str]) -> None:
        for name in names:
            path = self._root / name
            try:
                path.unlink(missing_ok=True)
            except OSError as why:
                raise ObjectStoreAway(f"{path} cannot be deleted: {why.strerror or why}") from why

    def listed(self, prefix: str) -> list[StoredObject]:
        found = []
        try:
            for folder, _, files in os.walk(self._root / prefix, onerror=_raise_unless_absent):
                for file in files:
                    path = Path(folder, file)
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        status = path.stat()
                        name = path.relative_to(self._root).as_posix()
                        found.append(StoredObject(name, status.st_size, status.st_mtime_ns // 1_000))
        except OSError as why:
            raise ObjectStoreAway(f"{self._root / prefix} cannot be listed: {why.strerror or why}") from why
        return sorted(found)

    def _open(self, name: str) -> int:
        try:
            return os.open(self._root / name, os.O_RDONLY)
        except FileNotFoundError:
            raise ObjectMissing(f"there is no object {name} in {self._root}") from None
        except OSError as why:
            raise ObjectStoreAway(f"{name} cannot be read: {why.strerror or why}") from why


def _make_directories(path: Path) -> None:
    """Make a directory and those above it, each known to the one above when this returns."""
    if not path.is_dir():
        _make_directories(path.parent)
        path.mkdir(exist_ok=True)
        _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _raise_unless_absent(why: OSError) -> None:
    if not isinstance(why, FileNotFoundError):
        raise why
