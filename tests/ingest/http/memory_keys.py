"""Access keys in memory, and the headers that show them."""

import base64

from aggregator.access.key import AccessKey
from aggregator.store.key_store import KeyStoreAway


class MemoryKeys:
    """Keys by id; away when told so."""

    def __init__(self, *keys: AccessKey) -> None:
        self.keys = {key.key_id: key for key in keys}
        self.away = False

    async def find(self, key_id: str) -> AccessKey | None:
        """The key of this id."""
        if self.away:
            raise KeyStoreAway("away")
        return self.keys.get(key_id)

    async def mark_used(self, key_id: str, now_us: int) -> None:
        """Nobody looks."""


def headers_of(shown: str, scheme: str) -> dict[str, str]:
    """An `Authorization` header with this key."""
    token = shown if scheme == "Bearer" else base64.b64encode(f"api:{shown}".encode()).decode()
    return {"authorization": f"{scheme} {token}"}
