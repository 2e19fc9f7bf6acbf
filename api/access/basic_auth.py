"""Who may read what: HTTP Basic with an access key as the password, as Weave's clients send it."""

import base64
import ipaddress
import time
from collections.abc import Callable
from typing import Protocol

from aggregator.access.key import AccessKey
from aggregator.access.key_ring import KeyRing, Keys
from aggregator.store.key_store import KeyStoreAway
from api.refusals import Refusal, StoreAway

_USER = "api"
NO_KEY = f"Send an access key: HTTP Basic, user {_USER!r}, the key as password."
# A Redis that was wiped has forgotten all keys; then every dashboard reads this, and knows that it did send one.
UNKNOWN_KEY = (
    "This access key is not known: it was revoked, or the Redis that held it was wiped (`callmeter keys list`)."
)


class ExposedWithoutKeys(ValueError):
    """An api without access keys would listen where other machines reach it."""


class Reader(Protocol):
    """Someone who may ask."""

    @property
    def key_id(self) -> str:
        """Return the id of the key; expensive questions of one key wait for each other."""
        ...

    @property
    def projects(self) -> tuple[str, ...] | None:
        """The only projects that may be read, if `may_read` says so; None: no project is left out."""
        ...

    def may_read(self, project_id: str) -> bool:
        """Whether this project's calls may be read, whether it exists or not."""
        ...


class Access(Protocol):
    """Decides who is asking."""

    async def reader(self, authorization: str | None) -> Reader:
        """The reader of an `Authorization` header. Raises Refusal (401), or StoreAway when it cannot be known."""
        ...


def wall_clock_us() -> int:
    """Microseconds since the epoch."""
    return time.time_ns() // 1_000


class KeyAccess:
    """Access by key. It has a clock of its own: a fixed `now` of the answers must not keep revoked keys alive."""

    def __init__(self, keys: Keys, clock: Callable[[], int] = wall_clock_us) -> None:
        self._ring = KeyRing(keys, clock)

    async def reader(self, authorization: str | None) -> Reader:
        """See Access."""
        shown = _password(authorization)
        try:
            key = await self._ring.recognise(shown)
        except KeyStoreAway as trouble:
            raise StoreAway(str(trouble)) from trouble
        if key is None:
            raise _unauthorized(UNKNOWN_KEY if shown else NO_KEY)
        return key


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


def _unauthorized(sentence: str) -> Refusal:
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
