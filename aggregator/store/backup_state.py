"""What Redis itself knows of its backups: which past it holds, and who makes one."""

import secrets
from typing import Any

import redis

from aggregator.store.scripts import DELETE_OURS

# A worker that ended while it made a backup keeps the others from it for so long; a terabyte takes no longer.
TURN_S = 3_600
_LINEAGE_BYTES = 8


def lineage_key(namespace: str) -> str:
    """The key of random digits that every backup has, and that a Redis that was wiped has not."""
    return f"{namespace}:lineage"


class BackupState:
    """The backups of a namespace, as Redis knows of them. Methods raise what the client raises."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._client: Any = client
        self._lineage = lineage_key(namespace)
        self._turn = f"{namespace}:backup:turn"

    def lineage(self) -> str | None:
        """The digits that are there; None: no backup was made of what Redis holds, nor was one restored."""
        stored = self._client.get(self._lineage)
        return None if stored is None else stored.decode()

    def begin(self) -> str:
        """The digits that are there from now on, if there were none before."""
        self._client.set(self._lineage, secrets.token_hex(_LINEAGE_BYTES), nx=True)
        return self.lineage() or ""

    def take_turn(self, holder: str) -> bool:
        """Whether it is this one's turn to make a backup."""
        return bool(self._client.set(self._turn, holder, nx=True, ex=TURN_S))

    def end_turn(self, holder: str) -> None:
        """Let others have their turn."""
        self._client.eval(DELETE_OURS, 1, self._turn, holder)
