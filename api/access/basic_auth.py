"""Who may read what: HTTP Basic with an access key as the password, as Weave's clients send it."""

import base64
import ipaddress
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aggregator.access.key import AccessKey, opens, split_key
from aggregator.store.key_store import KeyStoreAway
from api.refusals import Refusal, StoreAway

_USER = "api"
_US = 1_000_000

# How long a key that was found is believed without asking Redis again: a revoked key is refused after that.
KEY_BELIEVED_US_MAX = 10 * _US
# Keys remembered; some 0.5 kB each. Beyond that the one remembered first is asked for again.
KEYS_REMEMBERED_MAX = 1_024
# One write per key and minute tells an operator which keys are in use; one per request would tell no more.
USE_NOTED_US_MIN = 60 * _US


class ExposedWithoutKeys(ValueError):
    """An api without access keys would listen where other machines reach it."""


class Reader(Protocol):
    """Someone who may ask."""

    def may_read(self, project_id: str) -> bool:
        """Whether this project's calls may be read, whether it exists or not."""
        ...


class Access(Protocol):
    """Decides who is asking."""

    async def reader(self, authorization: str | None) -> Reader:
        """The reader of an `Authorization` header. Raises Refusal (401), or StoreAway when it cannot be known."""
        ...


class Keys(Protocol):
    """Where keys are found; see aggregator/key_store.py. Both raise KeyStoreAway."""

    async def find(self, key_id: str) -> AccessKey | None:
        """The key of this id."""
        ...

    async def mark_used(self, key_id: str, now_us: int) -> None:
        """Note a use."""
        ...


@dataclass(slots=True)
class _Remembered:
    key: AccessKey
    believed_until_us: int
    note_use_from_us: int


def wall_clock_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1_000


class KeyAccess:
    """Access by key. It has a clock of its own: a fixed `now` of the answers must not keep revoked keys alive."""

    def __init__(self, keys: Keys, clock: Callable[[], int] = wall_clock_us) -> None:
        self._keys = keys
        self._clock = clock
        self._remembered: dict[str, _Remembered] = {}

    async def reader(self, authorization: str | None) -> Reader:
        """See Access."""
        parts = split_key(_password(authorization))
        if parts is None:
            raise _unauthorized()
        key_id, secret = parts
        try:
            remembered = await self._find(key_id)
            if remembered is None or not opens(secret, remembered.key):
                raise _unauthorized()
            await self._note_use(remembered)
        except KeyStoreAway as trouble:
            raise StoreAway(str(trouble)) from trouble
        return remembered.key

    async def _find(self, key_id: str) -> _Remembered | None:
        """The key from memory while it is believed, else from Redis. Ids that do not exist are not remembered."""
        now_us = self._clock()
        remembered = self._remembered.get(key_id)
        if remembered is not None and now_us < remembered.believed_until_us:
            return remembered
        key = await self._keys.find(key_id)
        self._remembered.pop(key_id, None)
        if key is None:
            return None
        note_use_from_us = remembered.note_use_from_us if remembered else now_us
        while len(self._remembered) >= KEYS_REMEMBERED_MAX:
            del self._remembered[next(iter(self._remembered))]
        fresh = _Remembered(key, now_us + KEY_BELIEVED_US_MAX, note_use_from_us)
        self._remembered[key_id] = fresh
        return fresh

    async def _note_use(self, remembered: _Remembered) -> None:
        now_us = self._clock()
        if now_us >= remembered.note_use_from_us:
            remembered.note_use_from_us = now_us + USE_NOTED_US_MIN
            await self._keys.mark_used(remembered.key.key_id, now_us)


class OpenAccess:
    """Everyone may read everything: for one's own machine. See check_exposure."""

    async def reader(self, authorization: str | None) -> Reader:
        """See Access."""
        return _EVERYONE


def check_exposure(host: str, auth: bool) -> None:
    """Raises ExposedWithoutKeys if an api on `host` without `auth` could be reached from other machines."""
    if auth or host == "localhost":
        return
    try:
        loopback = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False  # a name may resolve to anything, and an empty one listens everywhere
    if not loopback:
        raise ExposedWithoutKeys(
            f"Without access keys the api listens on 127.0.0.1, ::1 or localhost, not on {host!r}."
        )


def forbidden() -> Refusal:
    """The 403 for a project that the key does not read; it does not tell whether there is such a project."""
    return Refusal(403, (), "This key may not read that project.", "forbidden")


def _unauthorized() -> Refusal:
    sentence = f"Send an access key: HTTP Basic, user {_USER!r}, the key as password."
    return Refusal(401, (), sentence, "unauthorized", headers={"WWW-Authenticate": "Basic"})


def _password(authorization: str | None) -> str:
    """The password of a Basic header; empty, which is no key, for anything else."""
    scheme, _, credentials = (authorization or "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        user, _, password = base64.b64decode(credentials.strip(), validate=True).decode().partition(":")
    except ValueError:
        return ""
    return password if user == _USER else ""


_EVERYONE = AccessKey("", "everyone", "", None, 0)
