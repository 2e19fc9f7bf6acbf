"""The keys that were shown to this process, found in Redis and believed for some seconds."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aggregator.access.key import AccessKey, is_secret_of, split_key
from aggregator.time_units import MINUTE_US, SECOND_US

# How long a key that was found is believed without asking Redis again: a revoked key is refused after that.
KEY_BELIEVED_US_MAX = 10 * SECOND_US
# Keys remembered; some 0.5 kB each. Beyond that the one remembered first is asked for again.
KEYS_REMEMBERED_MAX = 1_024
# One write per key and minute tells an operator which keys are in use; one per request would tell no more.
USE_NOTED_US_MIN = MINUTE_US


class Keys(Protocol):
    """Where keys are found; see aggregator/store/key_store.py. Finding raises KeyStoreAway."""

    async def find(self, key_id: str) -> AccessKey | None:
        """The key of this id."""
        ...

    async def mark_used(self, key_id: str, now_us: int) -> None:
        """Note a use."""
        ...


@dataclass(slots=True)
class _Remembered:
    key: AccessKey
    found_us: int
    noted_us: int


class KeyRing:
    """Recognises keys. `clock`: microseconds since the epoch, and never fixed: that would keep revoked keys alive."""

    def __init__(self, keys: Keys, clock: Callable[[], int]) -> None:
        self._keys = keys
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}

    async def recognise(self, shown: str) -> AccessKey | None:
        """The key that `shown` is, or None where it is none (any more). Raises what the store of keys raises."""
        parts = split_key(shown)
        if parts is None:
            return None
        key_id, secret = parts
        remembered = await self._find(key_id)
        if remembered is None or not is_secret_of(secret, remembered.key):
            return None
        await self._note_use(remembered)
        return remembered.key

    async def _find(self, key_id: str) -> _Remembered | None:
        """The key from memory while it is believed, else from Redis. Ids that do not exist are not remembered."""
        now_us = self._clock()
        remembered = self._remembered.get(key_id)
        # A clock that was set back tells nothing of how long ago that was.
        if remembered is not None and 0 <= now_us - remembered.found_us < KEY_BELIEVED_US_MAX:
            return remembered
        key = await self._keys.find(key_id)
        self._remembered.pop(key_id, None)
        if key is None:
            return None
        noted_us = remembered.noted_us if remembered else now_us - USE_NOTED_US_MIN
        while len(self._remembered) >= KEYS_REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        fresh = _Remembered(key, now_us, noted_us)
        self._remembered[key_id] = fresh
        return fresh

    async def _note_use(self, remembered: _Remembered) -> None:
        now_us = self._clock()
        if not 0 <= now_us - remembered.noted_us < USE_NOTED_US_MIN:
            remembered.noted_us = now_us
            await self._keys.mark_used(remembered.key.key_id, now_us)
