"""What tests of alerts share: calls folded as they come, an api over them, files of rules, processes that evaluate."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from aggregator.calls.event import Event
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.shard import Shard
from tests.callmeter.alerts.rule_files import PROJECT
from tests.pipeline.pipeline import Api
from tests.pipeline.program import Program
from tests.support.folding import KEEP_ALL, SHARD, T0_US, end, prices, start


class Folding:
    """Folds calls as they come, on a thread, and keeps the shard as of now."""

    def __init__(self, redis_url: str) -> None:
        self._shard = Shard(ShardStore(connect(redis_url), SHARD), prices(), KEEP_ALL)
        self._lock = threading.Lock()
        self._coming: list[Event] = []
        self._offset = self._shard.next_offset or 0
        self._made = self._offset
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Folding":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def calls(self, op_name: str, count: int, failed: bool) -> None:
        """Folds so many calls of an op that begin and end now."""
        now_s = time.time() - T0_US / SECOND_US
        with self._lock:
            for _ in range(count):
                self._made += 1
                name = f"call-{self._made}"
                self._coming.append(start(name, now_s, op_name=op_name))
                self._coming.append(end(name, now_s + 0.01, failed=failed))

    def _run(self) -> None:
        while not self._stopping.wait(0.1):
            with self._lock:
                events, self._coming = self._coming, []
            self._offset += len(events)
            now_us = time.time_ns() // 1_000
            self._shard.apply(events, self._offset, now_us, now_us, {})


@contextmanager
def api_of(redis_url: str, tmp_path: Path) -> Iterator[Api]:
    """An api without keys."""
    settings = {"REDIS__URL": redis_url, "REDIS__NAMESPACE": SHARD.namespace, "API__AUTH": "false"}
    api = Api(settings, tmp_path / "api.log")
    api.start()
    try:
        yield api
    finally:
        api.stop()


def write_rules(tmp_path: Path, receiver: dict[str, str], **told: Any) -> Path:
    """A file with one rule on the share of errors of each op, and one receiver."""
    rule = {"name": "op-fails", "kind": "ratio", "group_by": "op_name", "window": "1m", "above": 0.5} | told
    file = tmp_path / "alerts.yaml"
    page = "http://127.0.0.1:8080"
    receivers = [{"name": "r"} | receiver]
    file.write_text(yaml.safe_dump({"project": PROJECT, "page": page, "receivers": receivers, "rules": [rule]}))
    return file


def alerter(number: int, redis_url: str, api: Api, file: Path, tmp_path: Path) -> Program:
    """A process that evaluates."""
    settings = {"REDIS__URL": redis_url, "REDIS__NAMESPACE": SHARD.namespace}
    return alerter_of(settings, number, api, file, tmp_path)


def alerter_of(settings: Mapping[str, str], number: int, api: Api, file: Path, tmp_path: Path) -> Program:
    """A process that evaluates, with these settings."""
    options = ("run", str(file), "--url", f"http://127.0.0.1:{api.port}")
    return Program("alerts", settings, tmp_path / f"alerter-{number}.log", options)
