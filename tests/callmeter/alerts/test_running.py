"""The loop of alerts in one process: answers of Redis that are lost, receivers that are gone, the end in order."""

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
import yaml

from aggregator.store.alert_store import AlertStore
from aggregator.store.connection import connect
from callmeter.alerts.measuring import rfc3339
from callmeter.alerts.reading import ApiReading
from callmeter.alerts.running import Alerter, RulesOfFile
from callmeter.api_client import Answer, Fresh
from tests.callmeter.alerts.rule_files import PROJECT, as_told
from tests.callmeter.alerts.said_api import SaidApi
from tests.callmeter.alerts.webhooks import WebhookServer
from tests.pipeline.patience import wait_until

PATIENCE_S = 20.0
# Some looks: whatever would be told twice is told again by then.
LOOKS_S = 3.5
ERRORS = {"name": "errors", "kind": "ratio", "window": "5m", "above": 0.05}


def failing(share: float) -> dict[str, Any]:
    """Returns what the api says while so many of a hundred calls fail."""
    return {"total": {"count": 100, "sum_error_count": 100 * share, "sum_call_count": 100}, "rows": []}


class MovingApi(SaidApi):
    """An api whose events are counted through now."""

    def ask(self, path: str, question: bytes | None) -> tuple[Answer, Fresh]:
        as_of = rfc3339(time.time_ns() // 1_000)
        self.answers["projects"] = {"projects": [{"project_id": PROJECT, "as_of": as_of}]}
        return super().ask(path, question)


class LosingStore(AlertStore):
    """Redis takes a change, and its answer is lost on the way, so often."""

    losses = 0

    def change(self, token: str, episodes: Mapping[str, bytes | None], deliveries: Sequence[tuple[str, bytes]]) -> bool:
        taken = super().change(token, episodes, deliveries)
        if deliveries and self.losses:
            self.losses -= 1
            raise redis.ConnectionError("lost")
        return taken


def rules(tmp_path: Path, **hooks: str) -> RulesOfFile:
    """A file that tells these webhooks."""
    receivers = [{"name": name, "type": "webhook", "url": url} for name, url in hooks.items()]
    file = tmp_path / "alerts.yaml"
    file.write_text(yaml.safe_dump(as_told(ERRORS, receivers=receivers)))
    return RulesOfFile(file)


@contextmanager
def running(file: RulesOfFile, api: SaidApi, store: AlertStore) -> Iterator[None]:
    """Looks at it each second, within."""
    reading = ApiReading(api)
    alerter = Alerter(file, reading, store, lambda: time.time_ns() // 1_000, time.monotonic)
    stopping = threading.Event()
    thread = threading.Thread(target=alerter.run, args=(stopping,))
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def statuses(hook: WebhookServer) -> list[str]:
    """Returns what a webhook was told."""
    return [one.body["status"] for one in hook.taken]


def test_an_answer_that_is_lost(redis_url: str, tmp_path: Path) -> None:
    """Redis took what fires, and what is to be sent, but did not say so: it is told once, and its end too."""
    store = LosingStore(connect(redis_url), "callmeter")
    store.losses = 1
    api = MovingApi(breakdown=failing(0.5), examples={"calls": []})
    with WebhookServer() as hook, running(rules(tmp_path, hook=hook.url), api, store):
        assert wait_until(lambda: statuses(hook) == ["firing"], PATIENCE_S)
        time.sleep(LOOKS_S)
        store.losses = 1
        api.answers["breakdown"] = failing(0.0)
        assert wait_until(lambda: statuses(hook) == ["firing", "resolved"], PATIENCE_S)
        time.sleep(LOOKS_S)
        assert statuses(hook) == ["firing", "resolved"]
    assert store.read() == ({}, {})


def test_a_receiver_that_is_gone(redis_url: str, tmp_path: Path) -> None:
    """Deliveries to a receiver that is gone are given up; the one that the file names now hears of the end."""
    store = AlertStore(connect(redis_url), "callmeter")
    api = MovingApi(breakdown=failing(0.5), examples={"calls": []})
    with WebhookServer() as hook:
        with running(rules(tmp_path, hook=hook.url, away="http://127.0.0.1:1"), api, store):
            assert wait_until(lambda: statuses(hook) == ["firing"], PATIENCE_S)
        assert len(store.read().deliveries) == 1
        with running(rules(tmp_path, hook=hook.url), api, store):
            assert wait_until(lambda: not store.read().deliveries, PATIENCE_S)
            api.answers["breakdown"] = failing(0.0)
            assert wait_until(lambda: statuses(hook) == ["firing", "resolved"], PATIENCE_S)


def test_the_lease_is_given_back(redis_url: str, tmp_path: Path) -> None:
    """Told to stop, the next one begins at once and goes on with what fires."""
    store = AlertStore(connect(redis_url), "callmeter")
    api = MovingApi(breakdown=failing(0.5), examples={"calls": []})
    with WebhookServer() as hook:
        with running(rules(tmp_path, hook=hook.url), api, store):
            assert wait_until(lambda: statuses(hook) == ["firing"], PATIENCE_S)
        token = store.take_lease("next")
        assert token is not None
        assert len(store.read().episodes) == 1
