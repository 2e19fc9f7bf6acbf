"""Backups made by themselves: by one worker of however many run, as soon as the newest is old enough."""

import logging
import secrets
import threading
import time
from collections.abc import Callable

import redis

from aggregator.layout.backup import DamagedBackup
from aggregator.objects.object_store import ObjectStore, ObjectStoreAway
from aggregator.store.backup_state import BackupState
from aggregator.store.connection import StoreTrouble
from aggregator.store.key_copying import NoInstant
from aggregator.time_units import SECOND_US
from callmeter.backups.keeping import prune, read_manifest, stored_backups
from callmeter.backups.making import make_backup

log = logging.getLogger(__name__)

# Looked for so often whether one is due: a list of a few names.
LOOK_S = 300.0

WIPED = "no backup is made: Redis has lost what it held at the newest one"
REMEDY = "`callmeter backup restore` brings it back; `callmeter backup make` begins with what is there now"


class RegularBackups:
    """Makes a backup every `every_s` seconds, and deletes those older than `keep_s`. `now_us`: the clock."""

    def __init__(
        self,
        client: redis.Redis,
        namespace: str,
        objects: ObjectStore,
        every_s: int,
        keep_s: int,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._objects = objects
        self._every_us, self._keep_s = every_s * SECOND_US, keep_s
        self._now_us = now_us
        self._state = BackupState(client, namespace)
        self._holder = secrets.token_hex(8)

    def start(self) -> None:
        """Look from time to time, on a thread that ends with the process."""
        threading.Thread(target=self._run, name="backups", daemon=True).start()

    def look(self) -> str | None:
        """Make a backup if one is due and nobody else is about it; its name. Raises what may go wrong."""
        whole = [one for one in stored_backups(self._objects, self._namespace) if one.is_whole]
        if whole and whole[-1].modified_us + self._every_us > self._now_us():
            return None
        if whole:
            newest = whole[-1].name
            if read_manifest(self._objects, self._namespace, newest).lineage != self._state.lineage():
                log.error(WIPED, extra={"newest": newest, "remedy": REMEDY})
                return None
        if not self._state.take_turn(self._holder):
            return None
        try:
            began_s = time.monotonic()
            name, manifest = make_backup(self._client, self._namespace, self._objects, self._now_us())
            pruned = prune(self._objects, self._namespace, self._keep_s, self._now_us())
        finally:
            self._state.end_turn(self._holder)
        log.info(
            "made a backup of what Redis holds",
            extra={
                "backup": name,
                "bytes": manifest.size_bytes,
                "seconds": round(time.monotonic() - began_s, 1),
                "pruned": len(pruned),
            },
        )
        return name

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_S)
            try:
                self.look()
            except (*StoreTrouble, ObjectStoreAway, NoInstant, DamagedBackup) as why:
                log.warning("no backup yet; it is tried again", extra={"why": str(why)})
            except Exception:
                log.exception("no backup yet; it is tried again")
