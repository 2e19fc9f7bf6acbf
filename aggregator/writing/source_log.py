"""Which log a shard has folded, stored beside what was folded of it, so that another log is found out."""

from collections.abc import Mapping

from aggregator.layout.keys import ShardKeys
from aggregator.layout.write import ShardWrite


class SourceLog:
    """Notes on the log: `topic_id`, and `leader_epoch` of the message before the next offset."""

    def __init__(self, stored: Mapping[bytes, bytes]) -> None:
        self.notes = {name.decode(): value.decode() for name, value in stored.items()}
        self._to_write: dict[str, str] = {}

    def note(self, name: str, value: str) -> None:
        """Note what is known of the log now; stored with the next step."""
        if self.notes.get(name) != value:
            self.notes[name] = self._to_write[name] = value

    def write(self, keys: ShardKeys, write: ShardWrite) -> None:
        """Store what has been noted since the last step."""
        for name, value in self._to_write.items():
            write.set(keys.log, name, value)
        self._to_write = {}
