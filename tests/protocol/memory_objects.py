"""An object store in memory: what workers put there stays, whatever Redis forgets."""

from collections.abc import Callable, Iterable, Sequence

from aggregator.objects.object_store import AlreadyThere, ObjectMissing, ObjectStoreAway, Span, StoredObject
from tests.protocol.memory_store import Fault, nothing_happens


class Kept(dict[str, bytes]):
    """All that an object store holds, by name, and whether workers reach it."""

    is_away = False


class MemoryObjects:
    """An ObjectStore as one client sees it; `kept` is shared. `before` is called with each command."""

    def __init__(self, kept: Kept, before: Callable[[str], Fault | None] = nothing_happens) -> None:
        self._kept = kept
        self._before = before

    def put(self, name: str, content: bytes) -> None:
        fault = self._before("put")
        if fault is Fault.UNSENT:
            raise ObjectStoreAway("the connection was cut")
        if name in self._kept:
            raise AlreadyThere(name)
        self._kept[name] = content
        if fault is not None:
            raise ObjectStoreAway("the connection was cut")

    def read(self, name: str, spans: Sequence[Span]) -> list[bytes]:
        content = self.read_whole(name)
        return [content[offset : offset + length] for offset, length in spans]

    def read_whole(self, name: str) -> bytes:
        if self._before("get") is not None:
            raise ObjectStoreAway("the connection was cut")
        if name not in self._kept:
            raise ObjectMissing(name)
        return self._kept[name]

    def delete(self, names: Iterable[str]) -> None:
        if self._before("delete") is not None:
            raise ObjectStoreAway("the connection was cut")
        for name in names:
            self._kept.pop(name, None)

    def listed(self, prefix: str) -> list[StoredObject]:
        if self._before("list") is not None:
            raise ObjectStoreAway("the connection was cut")
        names = sorted(name for name in self._kept if name.startswith(prefix))
        return [StoredObject(name, len(self._kept[name]), 0) for name in names]
