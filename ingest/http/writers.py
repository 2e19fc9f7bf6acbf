"""Who may send events of which projects: access keys with the scope `write`."""

import base64
from typing import Protocol

from aggregator.access.key import AccessKey
from aggregator.access.key_ring import KeyRing
from aggregator.store.key_store import KeyStoreAway
from ingest.http.refusal import Refused, try_later

NO_KEY = "Send an access key: HTTP Basic with the key as password, or as a Bearer token."
UNKNOWN_KEY = (
    "This access key is not known: it was revoked, or the Redis that held it was wiped (`callmeter keys list`)."
)


class Writer(Protocol):
    """Someone who may send."""

    @property
    def projects(self) -> tuple[str, ...] | None:
        """Return the projects that may be sent to; None: all."""
        ...

    def may_write(self, project_id: str) -> bool:
        """Whether events of this project may be sent, whether it exists or not."""
        ...


class Writers(Protocol):
    """Decides who is sending."""

    async def writer(self, authorization: str | None) -> Writer:
        """The writer of an `Authorization` header. Raises Refused: 401, or 503 while it cannot be known."""
        ...


class KeyedWriters:
    """Access by key: the password of HTTP Basic, as Weave's clients send it, or a Bearer token."""

    def __init__(self, ring: KeyRing) -> None:
        self._ring = ring

    async def writer(self, authorization: str | None) -> Writer:
        """See Writers."""
        shown = _shown_key(authorization)
        try:
            key = await self._ring.recognise(shown)
        except KeyStoreAway:
            raise try_later(503, "The access keys cannot be looked up at the moment; please retry.") from None
        if key is None:
            raise Refused(401, UNKNOWN_KEY if shown else NO_KEY, {"WWW-Authenticate": "Basic"})
        return key


class OpenWriters:
    """Everyone may send everything: for one's own machine."""

    async def writer(self, authorization: str | None) -> Writer:
        """See Writers."""
        return _EVERYONE


def require(writer: Writer, projects: set[str]) -> None:
    """Raises Refused (403) for a project that the writer may not send to; it does not tell whether there is one."""
    if not all(map(writer.may_write, projects)):
        raise Refused(403, "This key may not send events of that project.")


def _shown_key(authorization: str | None) -> str:
    scheme, _, credentials = (authorization or "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


_EVERYONE = AccessKey("", "everyone", "", None, 0, ("write",))
