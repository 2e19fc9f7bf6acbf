"""Backups: how fast what Redis holds is copied and brought back, and how long Redis is busy with one step of it."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from aggregator.objects.directory_store import DirectoryStore
from aggregator.store.connection import connect
from aggregator.store.key_loading import KeyLoader
from aggregator.store.shard_store import ShardStore
from aggregator.writing.shard import Shard
from bench.measuring import Line, alone
from bench.memory import SHARD, events_at
from bench.month import RETENTION, fold, last_minute, prices
from bench.scale import Scale, tell
from bench.sealing import AT_ONCE, LATER
from bench.stage import Stage
from callmeter.backups.making import make_backup
from callmeter.backups.restoring import restore

CALLS_PER_S = 10.0
BATCH_EVENTS = 2_000
MORE_CALLS = 60_000
PAUSE_S = 0.1  # between two batches, as a worker makes under load
MB = 1e6
WRITER = "writer"
SLOW_US, SLOW_KEPT = 200, 2_000


def run(scale: Scale) -> Iterator[Line]:
    """Copies the same calls hot, and sealed in Redis."""
    calls = scale.amount(200_000, 40_000, least=4_000)
    end = last_minute()
    for form, limits in (("hot", LATER), ("sealed", AT_ONCE)):
        with Stage(broker=False) as stage, tempfile.TemporaryDirectory() as directory:
            fold(stage.redis_server.url, SHARD, events_at(calls, CALLS_PER_S, end), end, limits)
            client: Any = connect(stage.redis_server.url)
            now_us = round(end.timestamp() * 1e6)
            shard = Shard(ShardStore(client, SHARD), prices(), RETENTION, limits)
            while shard.seal(now_us):
                pass
            tell(f"backing up {calls:,} calls, {form}")
            yield from _copied(stage, form, client, DirectoryStore(Path(directory)), now_us)


def _copied(stage: Stage, form: str, client: Any, objects: DirectoryStore, now_us: int) -> Iterator[Line]:
    client.config_set("slowlog-log-slower-than", SLOW_US)
    client.config_set("slowlog-max-len", SLOW_KEPT)
    client.slowlog_reset()
    held = client.info("memory")["used_memory_dataset"]
    begun_s, cpu_s = time.perf_counter(), time.process_time()
    name, manifest = make_backup(client, SHARD.namespace, objects, now_us)
    took_s, cpu_s = time.perf_counter() - begun_s, time.process_time() - cpu_s
    yield alone(f"backup, {form}: memory of Redis a second", "MB/s", [held / took_s / MB])
    yield alone(f"backup, {form}: processor time of who copies, of 1 GB", "s", [cpu_s / held * 1e9])
    yield alone(f"backup, {form}: size / memory of Redis", "", [manifest.size_bytes / held])
    yield alone(f"backup, {form}: longest command, while nobody writes", "ms", [_longest_ms(client)])
    loader = KeyLoader(client, SHARD.namespace, manifest.generation)
    begun_s = time.perf_counter()
    restore(loader, objects, name, manifest, {})
    yield alone(f"restore, {form}: memory of Redis a second", "MB/s", [held / (time.perf_counter() - begun_s) / MB])
    client.slowlog_reset()
    writing = _Writing(stage, now_us)
    begun_s = time.perf_counter()
    make_backup(client, SHARD.namespace, objects, now_us)
    took_s = time.perf_counter() - begun_s
    writing.stop()
    tell(f"{writing.batches} batches were written in {took_s:.1f} s")
    yield alone(f"backup, {form}: memory of Redis a second, while a worker writes", "MB/s", [held / took_s / MB])
    yield alone(f"backup, {form}: longest command, while a worker writes", "ms", [_longest_ms(client)])


def _longest_ms(client: Any) -> float:
    """How long the server was busy with the longest command of who copied, in its own words; 0: none is to be told."""
    took = [one["duration"] for one in client.slowlog_get(SLOW_KEPT) if one["client_name"] != WRITER.encode()]
    return max(took, default=0) / 1e3


class _Writing:
    """Applies batches of new calls, with a pause after each."""

    def __init__(self, stage: Stage, now_us: int) -> None:
        self.batches = 0
        self._events = list(events_at(MORE_CALLS, 1_000.0, last_minute()))
        self._url = stage.redis_server.url
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write, args=(now_us,))
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._stopping.set()
        self._thread.join()

    def _write(self, now_us: int) -> None:
        client = redis.Redis.from_url(self._url, client_name=WRITER)
        shard = Shard(ShardStore(client, SHARD), prices(), RETENTION, LATER)
        while not self._stopping.wait(PAUSE_S) and self._events:
            batch, self._events = self._events[:BATCH_EVENTS], self._events[BATCH_EVENTS:]
            shard.apply(batch, (shard.next_offset or 0) + len(batch), now_us, now_us, {})
            self.batches += 1
