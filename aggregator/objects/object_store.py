"""What holds objects: created once, never changed, read in parts, deleted when nothing names them any more."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol


class ObjectStoreAway(OSError):
    """The object store cannot be reached, or refuses: the same may succeed later. An OSError, as Redis away is one."""


class ObjectMissing(ObjectStoreAway):
    """There is no object of this name: it was deleted by someone else, or the store is not the one it is in."""


class AlreadyThere(Exception):
    """An object of this name exists, and is left as it is."""


class Span(NamedTuple):
    """Consecutive bytes of an object."""

    offset: int
    length: int


class StoredObject(NamedTuple):
    """An object as the store lists it."""

    name: str
    size_bytes: int
    modified_us: int


class ObjectStore(Protocol):
    """Every method may raise ObjectStoreAway. Safe to call from several threads."""

    def put(self, name: str, content: bytes) -> None:
        """Make an object: all of it or nothing, and it outlives the process. Raises AlreadyThere."""

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        """Parts of an object; shorter where it ends before. Raises ObjectMissing."""

    def read_whole(self, name: str) -> bytes:
        """An object. Raises ObjectMissing."""

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects; those that are not there are passed over."""

    def listed(self, prefix: str) -> list[StoredObject]:
        """The objects whose names begin so, by name; `prefix` ends with a slash."""


class ForwardingStore:
    """An ObjectStore that passes all on to another one: what does a part of it otherwise is derived from it."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def put(self, name: str, content: bytes) -> None:
        self._store.put(name, content)

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        return self._store.read(name, spans)

    def read_whole(self, name: str) -> bytes:
        return self._store.read_whole(name)

    def delete(self, names: Iterable[str]) -> None:
        self._store.delete(names)

    def listed(self, prefix: str) -> list[StoredObject]:
        return self._store.listed(prefix)
