"""Who evaluates: one process of however many run, and another within seconds when it is gone."""

import logging
import secrets
import threading
from collections.abc import Callable

from aggregator.store.alert_store import LEASE_MS, AlertStore
from aggregator.store.connection import StoreTrouble

log = logging.getLogger(__name__)

# Several times within a lease: one lost answer must not cost it.
RENEW_S = LEASE_MS / 1_000 / 4


class Lease:
    """Takes the lease as soon as it is free, and renews it on a thread of its own. `elapsed`: seconds."""

    def __init__(self, store: AlertStore, elapsed: Callable[[], float]) -> None:
        self._store = store
        self._elapsed = elapsed
        self._name = secrets.token_hex(8)
        self._token: str | None = None
        self._until_s = 0.0
        self._waits = False
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        """Begin to ask for it."""
        self._thread.start()

    @property
    def token(self) -> str | None:
        """Return what writes are fenced by; None while another process evaluates."""
        return self._token if self._elapsed() < self._until_s else None

    def stop(self) -> None:
        """Let another one begin at once."""
        self._stopping.set()
        self._thread.join(RENEW_S * 4)
        try:
            if self._token is not None:
                self._store.give_lease_back(self._token)
        except StoreTrouble:
            log.debug("the lease ends by itself")
        self._token = None

    def keep(self) -> None:
        """Take it or renew it, once."""
        asked_s = self._elapsed()
        try:
            if self._token is not None and not self._store.renew_lease(self._token):
                log.warning("another process evaluates alerts now")
                self._token = None
            if self._token is None:
                self._token = self._store.take_lease(self._name)
                self._say()
            if self._token is not None:
                # From when it was asked for: Redis counts from later on.
                self._until_s = asked_s + LEASE_MS / 1_000
        except StoreTrouble as away:
            log.warning("Redis does not answer; alerts wait", extra={"why": str(away)})

    def _say(self) -> None:
        if self._token is not None:
            log.info("this process evaluates alerts", extra={"term": self._token.rpartition(":")[2]})
        elif not self._waits:
            log.info("another process evaluates alerts; this one waits")
        self._waits = self._token is None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.keep()
            self._stopping.wait(RENEW_S)
