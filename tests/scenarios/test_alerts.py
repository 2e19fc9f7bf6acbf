"""`callmeter alerts run` as processes against a real api: who is told, when, and how often, while they are killed."""

import json
import random
import shutil
import signal
import subprocess
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from aggregator.calls.event import Event
from aggregator.store.connection import connect
from aggregator.store.shard_store import ShardStore
from aggregator.time_units import SECOND_US
from aggregator.writing.shard import Shard
from callmeter.local.loopback_port import free_loopback_port
from tests.callmeter.alerts.rule_files import PROJECT
from tests.callmeter.alerts.webhooks import WebhookServer
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api
from tests.pipeline.program import Program
from tests.support.folding import KEEP_ALL, SHARD, T0_US, end, prices, start

BURSTS = 12
CALLS = 20
PATIENCE_S = 60.0
# What would come twice comes within so long: a lease, and a look.
SETTLED_S = 3.0
# A burst is told of within so long at p99 (of so few, at the worst), a killed alerter's lease included.
TOLD_WITHIN_S = 5.0
EVENT = "this process evaluates alerts"


class Folding:
    """Folds calls as they come, on a thread, and keeps the shard as of now."""

    def __init__(self, redis_url: str) -> None:
        self._shard = Shard(ShardStore(connect(redis_url), SHARD), prices(), KEEP_ALL)
        self._lock = threading.Lock()
        self._coming: list[Event] = []
        self._offset = self._made = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Folding":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def calls(self, op_name: str, count: int, failed: bool) -> None:
        """So many calls of an op that begin and end now."""
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
    options = ("run", str(file), "--url", f"http://127.0.0.1:{api.port}")
    return Program("alerts", settings, tmp_path / f"alerter-{number}.log", options)


def kill_one(alerters: Sequence[Program], turns: random.Random) -> None:
    """One of them, at once, and start it again: whichever holds the lease or waits for it."""
    victim = alerters[turns.randrange(len(alerters))]
    victim.end_by(signal.SIGKILL)
    victim.start(lambda: True, PATIENCE_S)


def is_told(hook: WebhookServer, told: tuple[str, str]) -> bool:
    """Whether a webhook was told this."""
    return told in hook.told


def bursts(
    count: int, hook: WebhookServer, folding: Folding, alerters: Sequence[Program], turns: random.Random
) -> dict[str, float]:
    """Errors of one op after the other, each ended by many good calls, with kills in between; when each began."""
    began: dict[str, float] = {}
    for number in range(count):
        op = f"op-{number}"
        began[op] = time.time()
        folding.calls(op, CALLS, failed=True)
        time.sleep(turns.uniform(0, 1.2))
        if number % 2 == 0:
            kill_one(alerters, turns)
        assert wait_until(partial(is_told, hook, (op, "firing")), PATIENCE_S), op
        if number % 3 == 1:
            kill_one(alerters, turns)
        folding.calls(op, 10 * CALLS, failed=False)
    every = {(op, status) for op in began for status in ("firing", "resolved")}
    assert wait_until(lambda: every <= set(hook.told), PATIENCE_S)
    time.sleep(SETTLED_S)
    return began


def test_one_firing_and_one_resolved_over_kills(redis_url: str, tmp_path: Path) -> None:
    """Two alerters, killed by turns while bursts of errors come and end: each is told of once, and once after."""
    with WebhookServer() as hook, Folding(redis_url) as folding, api_of(redis_url, tmp_path) as api:
        file = write_rules(tmp_path, {"type": "webhook", "url": hook.url})
        alerters = [alerter(number, redis_url, api, file, tmp_path) for number in range(2)]
        folding.calls("steady", CALLS, failed=False)
        try:
            alerters[0].start_until_logged(EVENT)
            alerters[1].start_until_logged("another process evaluates alerts; this one waits")
            began = bursts(BURSTS, hook, folding, alerters, random.Random(15))
        finally:
            for one in alerters:
                one.stop()
    by_id = {one.delivery_id: one.told for one in hook.taken}
    assert Counter(by_id.values()) == Counter((op, status) for op in began for status in ("firing", "resolved"))
    # The one that was on its way when its sender was killed may come again, under the same id.
    assert len(hook.taken) - len(by_id) <= 1
    assert all(hook.told.index((op, "firing")) < hook.told.index((op, "resolved")) for op in began)
    told_s = {one.told: one.at_s for one in reversed(hook.taken)}
    waits = sorted(told_s[op, "firing"] - at_s for op, at_s in began.items())
    assert waits[-1] <= TOLD_WITHIN_S, waits
    said = next(one for one in hook.taken if one.told == ("op-0", "firing")).body["alerts"][0]["annotations"]
    assert said["value"] == "100 %"
    assert len(said["examples"].split(", ")) == 3
    assert "op=op-0" in said["link"]


def test_a_paused_holder_tells_nothing_again(redis_url: str, tmp_path: Path) -> None:
    """Stopped for longer than its lease while a burst comes, it goes on after another one has told of it."""
    with WebhookServer() as hook, Folding(redis_url) as folding, api_of(redis_url, tmp_path) as api:
        file = write_rules(tmp_path, {"type": "webhook", "url": hook.url})
        holder, other = (alerter(number, redis_url, api, file, tmp_path) for number in range(2))
        folding.calls("steady", CALLS, failed=False)
        try:
            holder.start_until_logged(EVENT)
            other.start_until_logged("another process evaluates alerts; this one waits")
            holder.signal(signal.SIGSTOP)
            folding.calls("op", CALLS, failed=True)
            assert wait_until(partial(is_told, hook, ("op", "firing")), PATIENCE_S)
            holder.signal(signal.SIGCONT)
            assert wait_until(lambda: bool(holder.logged("another process evaluates alerts now")), PATIENCE_S)
            folding.calls("op", 10 * CALLS, failed=False)
            assert wait_until(partial(is_told, hook, ("op", "resolved")), PATIENCE_S)
            time.sleep(SETTLED_S)
        finally:
            holder.stop()
            other.stop()
    assert hook.told == [("op", "firing"), ("op", "resolved")]


def test_a_rule_that_is_taken_out_is_over(redis_url: str, tmp_path: Path) -> None:
    """The file is read again: what fired by a rule that is gone is resolved; a wrong file changes nothing."""
    with WebhookServer() as hook, Folding(redis_url) as folding, api_of(redis_url, tmp_path) as api:
        file = write_rules(tmp_path, {"type": "webhook", "url": hook.url})
        one = alerter(0, redis_url, api, file, tmp_path)
        folding.calls("op", CALLS, failed=True)
        try:
            one.start_until_logged(EVENT)
            assert wait_until(lambda: hook.told == [("op", "firing")], PATIENCE_S)
            file.write_text("rules: [")
            assert wait_until(
                lambda: bool(one.logged("the file of rules is wrong; the rules from before stay")), PATIENCE_S
            )
            write_rules(tmp_path, {"type": "webhook", "url": hook.url}, name="another", above=2)
            assert wait_until(lambda: ("op", "resolved") in hook.told, PATIENCE_S)
            assert one.terminate() == 0
        finally:
            one.stop()
    assert hook.told == [("op", "firing"), ("op", "resolved")]


@pytest.mark.skipif(
    shutil.which("prometheus-alertmanager") is None,
    reason="no Alertmanager on this machine: apt-get install prometheus-alertmanager",
)
def test_a_real_alertmanager_takes_ours(redis_url: str, tmp_path: Path) -> None:
    """It shows what fires, with labels and annotations, and no more once it is over; it tells its own webhook."""
    with (
        WebhookServer() as behind,
        Folding(redis_url) as folding,
        api_of(redis_url, tmp_path) as api,
        alertmanager(behind.url, tmp_path) as url,
    ):
        file = write_rules(tmp_path, {"type": "alertmanager", "url": url}, severity="page")
        one = alerter(0, redis_url, api, file, tmp_path)
        folding.calls("op", CALLS, failed=True)
        try:
            one.start_until_logged(EVENT)

            def shown() -> Any:
                with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
                    return json.load(answer)

            assert wait_until(lambda: bool(shown()), PATIENCE_S), one.log()
            [alert] = shown()
            assert alert["labels"] == {
                "alertname": "op-fails",
                "op_name": "op",
                "project": PROJECT,
                "severity": "page",
            }
            assert alert["annotations"]["value"] == "100 %"
            folding.calls("op", 10 * CALLS, failed=False)
            assert wait_until(lambda: not shown(), PATIENCE_S)
            assert wait_until(
                lambda: [taken.body["status"] for taken in behind.taken] == ["firing", "resolved"], PATIENCE_S
            )
        finally:
            one.stop()
    ours = {"version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels"}
    assert ours <= set(behind.taken[0].body)  # the form that our own webhooks have


@contextmanager
def alertmanager(webhook_url: str, tmp_path: Path) -> Iterator[str]:
    """A real one that tells a webhook at once."""
    port = free_loopback_port()
    receiver = {"name": "behind", "webhook_configs": [{"url": webhook_url, "send_resolved": True}]}
    route = {"receiver": "behind", "group_wait": "0s", "group_interval": "1s", "group_by": ["alertname", "op_name"]}
    (tmp_path / "am.yml").write_text(json.dumps({"route": route, "receivers": [receiver]}))
    command = [
        "prometheus-alertmanager",
        f"--config.file={tmp_path}/am.yml",
        f"--storage.path={tmp_path}/am",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (tmp_path / "am.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:

        def ready() -> bool:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        try:
            assert wait_until(ready, PATIENCE_S), (tmp_path / "am.log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
