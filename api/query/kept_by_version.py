"""What was worked out before, kept for as long as nothing that it was read from has changed, up to a size of memory.

It goes by the versions of what it was read from, never by time: what comes from here is what reading again would give.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Made = TypeVar("Made")


class _Kept(NamedTuple, Generic[Made]):
    fingerprint: bytes
    made: Made
    size_bytes: int


class KeptByVersion(Generic[Key, Made]):
    """What was used last, up to `bytes_max` of memory."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._kept: OrderedDict[Key, _Kept[Made]] = OrderedDict()

    def find(self, key: Key, fingerprint: bytes) -> Made | None:
        """Return what is kept under the key, if it is of this fingerprint."""
        kept = self._kept.get(key)
        if kept is None or kept.fingerprint != fingerprint:
            return None
        self._kept.move_to_end(key)
        return kept.made

    def put(self, key: Key, fingerprint: bytes, made: Made, size_bytes: int) -> None:
        """Keep this, instead of what was kept under the key, as long as there is room."""
        before = self._kept.pop(key, None)
        if before is not None:
            self._bytes -= before.size_bytes
        self._kept[key] = _Kept(fingerprint, made, size_bytes)
        self._bytes += size_bytes
        while self._bytes > self._bytes_max:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= oldest.size_bytes
