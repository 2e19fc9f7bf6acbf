"""`callmeter alerts run` as processes against a real api: who is told, when, and how often, while they are killed."""

import json
import random
import shutil
import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from callmeter.local.loopback_port import free_loopback_port
from tests.callmeter.alerts.rule_files import PROJECT
from tests.callmeter.alerts.webhooks import WebhookServer
from tests.pipeline.patience import wait_until
from tests.pipeline.program import Program
from tests.servers.redis_server import RedisServer
from tests.support.alerting import Folding, alerter, api_of, write_rules

BURSTS = 12
CALLS = 20
PATIENCE_S = 60.0
# What would come twice comes within so long: a lease, and a look.
SETTLED_S = 3.0
# After so long Redis has on disk what it was told (appendfsync everysec).
SYNCED_S = 2.5
EVENT = "this process evaluates alerts"


def kill_one(alerters: Sequence[Program], turns: random.Random) -> None:
    """Kills one of them at once and starts it again: whichever holds the lease or waits for it."""
    victim = alerters[turns.randrange(len(alerters))]
    victim.end_by(signal.SIGKILL)
    victim.start(lambda: True, PATIENCE_S)


def is_told(hook: WebhookServer, told: tuple[str, str]) -> bool:
    """Whether a webhook was told this."""
    return told in hook.told


def bursts(
    count: int, hook: WebhookServer, folding: Folding, alerters: Sequence[Program], turns: random.Random
) -> tuple[list[str], int]:
    """Errors of one op after the other, each ended by many good calls, with kills in between: the ops, and how many."""
    ops, kills = [f"op-{number}" for number in range(count)], 0
    for number, op in enumerate(ops):
        folding.calls(op, CALLS, failed=True)
        time.sleep(turns.uniform(0, 1.2))
        if number % 2 == 0:
            kill_one(alerters, turns)
            kills += 1
        assert wait_until(partial(is_told, hook, (op, "firing")), PATIENCE_S), op
        if number % 3 == 1:
            kill_one(alerters, turns)
            kills += 1
        folding.calls(op, 10 * CALLS, failed=False)
    every = {(op, status) for op in ops for status in ("firing", "resolved")}
    assert wait_until(lambda: every <= set(hook.told), PATIENCE_S)
    time.sleep(SETTLED_S)
    return ops, kills


def test_one_firing_and_one_resolved_over_kills(redis_url: str, tmp_path: Path) -> None:
    """Two alerters, killed by turns while bursts of errors come and end: each is told of once, and once after."""
    with WebhookServer() as hook, Folding(redis_url) as folding, api_of(redis_url, tmp_path) as api:
        file = write_rules(tmp_path, {"type": "webhook", "url": hook.url})
        alerters = [alerter(number, redis_url, api, file, tmp_path) for number in range(2)]
        folding.calls("steady", CALLS, failed=False)
        try:
            alerters[0].start_until_logged(EVENT)
            alerters[1].start_until_logged("another process evaluates alerts; this one waits")
            ops, kills = bursts(BURSTS, hook, folding, alerters, random.Random(15))
        finally:
            for one in alerters:
                one.stop()
    by_id = {one.delivery_id: one.told for one in hook.taken}
    assert Counter(by_id.values()) == Counter((op, status) for op in ops for status in ("firing", "resolved"))
    # The one that was on its way when its sender was killed may come again, under the same id; `python -m bench.bursts`
    # says how soon bursts are told of.
    assert len(hook.taken) - len(by_id) <= kills
    assert all(hook.told.index((op, "firing")) < hook.told.index((op, "resolved")) for op in ops)
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


@pytest.mark.single_redis
def test_redis_killed_in_between(tmp_path: Path) -> None:
    """Redis comes back with what it held: what was told is not told again, and its end once."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    with WebhookServer() as hook, api_of(server.url, tmp_path) as api:
        file = write_rules(tmp_path, {"type": "webhook", "url": hook.url})
        one = alerter(0, server.url, api, file, tmp_path)
        try:
            with Folding(server.url) as folding:
                folding.calls("op", CALLS, failed=True)
                one.start_until_logged(EVENT)
                assert wait_until(partial(is_told, hook, ("op", "firing")), PATIENCE_S)
                time.sleep(SYNCED_S)
            server.kill()
            assert wait_until(lambda: bool(one.logged("Redis does not answer; alerts wait")), PATIENCE_S)
            server.start()
            with Folding(server.url) as folding:
                time.sleep(SETTLED_S)
                assert hook.told == [("op", "firing")]
                folding.calls("op", 10 * CALLS, failed=False)
                assert wait_until(partial(is_told, hook, ("op", "resolved")), PATIENCE_S), one.log()
                time.sleep(SETTLED_S)
        finally:
            one.stop()
            server.stop()
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
    """A real Alertmanager shows what fires, with labels and annotations, and no more once it is over; it tells its own
    webhook."""
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
