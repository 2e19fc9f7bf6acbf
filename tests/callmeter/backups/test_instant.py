"""A backup that is made while a worker writes is of one instant: exactly what is below its next offset."""

import threading
import time
from typing import Any

import pytest
import redis

from aggregator.calls.event import Event
from aggregator.layout.backup import Manifest
from aggregator.store import key_copying
from tests.support.backing_up import back_up, bring_back
from tests.support.folding import NOW_US, apply, fold_all
from tests.support.moving import FailingStore, open_moving, state
from tests.support.sealing import some_calls

BATCH = 20
BACKUPS_MIN = 2
# Whether something changes while it is read hangs on the machine: more are made until one was, but not for ever.
BACKUPS_MAX = 30


class Writing:
    """Applies batches of calls, sealing and moving between them, without pause, on a connection of its own."""

    def __init__(self, redis_url: str, objects: FailingStore) -> None:
        self.events: list[Event] = []
        self._client = redis.Redis.from_url(redis_url)
        self._objects = objects
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def __enter__(self) -> "Writing":
        self._thread.start()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stopping.set()
        self._thread.join()
        self._client.close()

    def _write(self) -> None:
        shard = open_moving(self._client, self._objects)
        while not self._stopping.is_set():
            # Half of them come again: what is sealed is looked up, and what is moved taken out.
            events = some_calls(BATCH, len(self.events) // 2)
            self.events += events
            apply(shard, events)
            shard.seal(NOW_US)


def test_of_one_instant(redis_url: str, client: Any, objects: FailingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Backups under constant writing each come back as the fold of what lies below their next offset."""
    monkeypatch.setattr(key_copying, "KEYS_PER_STEP", 2)  # so that batches come between
    with Writing(redis_url, objects) as writing:
        made: list[tuple[str, Manifest]] = []
        is_read_again = False
        while len(made) < (BACKUPS_MIN if is_read_again else BACKUPS_MAX):
            before = len(writing.events)
            while len(writing.events) < before + 10 * BATCH:
                time.sleep(0.01)
            made.append(back_up(client, objects))
            is_read_again |= made[-1][1].keys > client.dbsize()  # a key that is read again is there twice
    offsets = [manifest.shards[0].next_offset or 0 for _, manifest in made]
    assert offsets == sorted(set(offsets))
    assert is_read_again
    for (name, _), offset in zip(made, offsets, strict=True):
        client.flushall()
        bring_back(client, objects, name)
        found = state(client, objects)
        batches = [writing.events[at : at + BATCH] for at in range(0, offset, BATCH)]
        assert found == fold_all(client, batches)
