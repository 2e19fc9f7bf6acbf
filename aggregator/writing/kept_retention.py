"""How long the writer of a shard keeps things, told to those who read it, so that no answer claims more."""

from aggregator.layout.kept import decode_retention, encode_retention
from aggregator.layout.keys import ShardKeys
from aggregator.layout.write import ShardWrite
from aggregator.rollups.levels import Retention


class KeptRetention:
    """The retention in force, and the one that is stored: where it was made longer, what is gone stays gone."""

    def __init__(self, retention: Retention, stored: bytes | None) -> None:
        self._retention = retention
        self._stored = stored

    def note(self, now_us: int, keys: ShardKeys, write: ShardWrite) -> None:
        """Store what is kept, where that is new."""
        kept = self._retention
        if self._stored is not None:
            before = decode_retention(self._stored)
            kept = before if before.lengths_s == kept.lengths_s else kept.instead_of(before, now_us)
        if encode_retention(kept) != self._stored:
            self._stored = encode_retention(kept)
            write.set(keys.writer, "retention", self._stored)
