"""Which expiries are set already: a key is told its expiry once, and again only when it moves."""

from collections.abc import Iterable, Mapping
from itertools import islice

from aggregator.layout.write import Field, Key, ShardWrite, Value
from aggregator.time_units import SECOND_US

_NONE: Mapping[Field, Value] = {}


class KnownExpiries:
    """The expiry, in seconds since 1970, of each key that is known to have one."""

    def __init__(self) -> None:
        self._expiries: dict[Key, int] = {}

    def leave_known(self, now_us: int, write: ShardWrite) -> None:
        """Tell each key its expiry once: it only moves later. One that is past is told again: its key may be new."""
        for key, at_unix_s in list(write.expiries.items()):
            if now_us < at_unix_s * SECOND_US and self._expiries.get(key, 0) >= at_unix_s:
                del write.expiries[key]

    def note(self, write: ShardWrite) -> None:
        """Remember the expiries of keys that exist now; a key that deletions may have emptied forgets its own.

        Fields are set before others are deleted: a key with one that is set, and not deleted, is never empty.
        """
        emptied = {
            key for key, deleted in write.deletions.items() if write.fields.get(key, _NONE).keys() <= set(deleted)
        }
        written = {*write.fields, *write.names, *write.new_versions} - emptied
        self._expiries.update((key, at_unix_s) for key, at_unix_s in write.expiries.items() if key in written)
        for key in emptied:
            self._expiries.pop(key, None)

    def forget(self, keys: Iterable[Key]) -> None:
        """Forget the expiries of keys that have been told otherwise."""
        for key in keys:
            self._expiries.pop(key, None)

    def trim(self, size_max: int) -> None:
        """Forget the oldest beyond `size_max`: those keys are only told their expiry once more."""
        for key in list(islice(self._expiries, max(0, len(self._expiries) - size_max))):
            del self._expiries[key]
