"""The api shows alert rules and alerts of an alerter in the form that a real Prometheus has for its own."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from callmeter.local.loopback_port import LOOPBACK
from tests.callmeter.alerts.rule_files import PROJECT
from tests.callmeter.alerts.webhooks import WebhookServer
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api
from tests.support.access_keys import ROOT_SHOWN, SHOWN
from tests.support.alerting import Folding, alerter_of
from tests.support.document_shape import shape
from tests.support.folding import SHARD
from tests.support.prometheus_process import prometheus

PATIENCE_S = 60.0
OTHER = "acme/others"
FAILS = {"name": "op-fails", "kind": "ratio", "group_by": "op_name", "window": "5m", "above": 0.5, "severity": "page"}
RULES = [
    FAILS,
    FAILS | {"name": "will-fail", "for": "1h", "description": "{rule} is on its way"},
    {"name": "quiet", "kind": "threshold", "metric": "call_count", "window": "5m", "above": 1_000_000},
    {"name": "others", "kind": "no_data", "window": "5m", "project": OTHER},
]


class Shown:
    """An api with keys, asked for what it shows with one of them."""

    def __init__(self, api: Api) -> None:
        self._base = f"http://{LOOPBACK}:{api.port}/prometheus/api/v1"

    def ask(self, path: str, key: str = ROOT_SHOWN, **parameters: str) -> Any:
        """The data of an answer."""
        token = base64.b64encode(f"api:{key}".encode()).decode()
        headers = {"authorization": f"Basic {token}"}
        body = httpx.get(f"{self._base}/{path}", params=parameters, headers=headers, timeout=10).json()
        assert body["status"] == "success", body
        return body["data"]

    def rules(self, key: str = ROOT_SHOWN, **parameters: str) -> dict[str, Any]:
        """All rules by name."""
        groups = self.ask("rules", key, **parameters)["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}


@pytest.fixture
def shown(redis_url: str, tmp_path: Path) -> Iterator[Shown]:
    """An alerter over an op of which all calls fail, and an api; the first look is over."""
    keys = f"{SHOWN} grafana read {PROJECT}\n{ROOT_SHOWN} ops"
    settings = {"REDIS__URL": redis_url, "REDIS__NAMESPACE": SHARD.namespace, "KEYS": keys}
    api = Api(settings, tmp_path / "api.log")
    api.start()
    with WebhookServer() as hook, Folding(redis_url) as folding:
        file = tmp_path / "alerts.yaml"
        receivers = [{"name": "hook", "type": "webhook", "url": hook.url}]
        file.write_text(yaml.safe_dump({"project": PROJECT, "receivers": receivers, "rules": RULES}))
        alerter = alerter_of(settings | {"ALERTS__KEY": ROOT_SHOWN}, 0, api, file, tmp_path)
        folding.calls("op", 20, failed=True)
        try:
            alerter.start_until_logged("this process evaluates alerts")
            asked = Shown(api)
            assert wait_until(lambda: len(asked.ask("alerts")["alerts"]) == 3, PATIENCE_S), alerter.log()
            yield asked
        finally:
            alerter.stop()
            api.stop()


def test_rules_and_alerts_are_shown(shown: Shown) -> None:
    """States, labels and values; to each key those of its projects; and what parameters leave out."""
    rules = shown.rules()
    states = {name: rule["state"] for name, rule in rules.items()}
    assert states == {"op-fails": "firing", "will-fail": "pending", "quiet": "inactive", "others": "firing"}
    assert rules["op-fails"]["query"] == "error_count / call_count over 5m > 0.5 by op_name"
    [alert] = rules["op-fails"]["alerts"]
    told = {"alertname": "op-fails", "op_name": "op", "project": PROJECT, "severity": "page"}
    assert (alert["labels"], alert["state"], float(alert["value"])) == (told, "firing", 1.0)
    assert alert["annotations"]["value"] == "100 %"
    assert rules["will-fail"]["duration"] == 3_600
    assert {one["state"] for one in shown.ask("alerts")["alerts"]} == {"firing", "pending"}
    assert set(shown.rules(SHOWN)) == {"op-fails", "will-fail", "quiet"}
    assert len(shown.ask("alerts", SHOWN)["alerts"]) == 2
    assert set(shown.rules(**{"rule_name[]": "quiet"})) == {"quiet"}
    assert set(shown.rules(**{"rule_group[]": OTHER})) == {"others"}
    assert shown.rules(type="record") == shown.rules(**{"file[]": "none.yaml"}) == {}
    assert "alerts" not in shown.rules(exclude_alerts="true")["op-fails"]


@pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="no Prometheus on this machine: apt-get install prometheus"
)
def test_the_form_is_that_of_a_prometheus(shown: Shown, tmp_path: Path) -> None:
    """A Prometheus with an alert that fires and one that is pending has the same fields, of the same kinds."""
    with evaluating(tmp_path) as theirs:

        def ask(path: str) -> Any:
            return httpx.get(f"{theirs}/api/v1/{path}", timeout=5).json()["data"]

        assert wait_until(lambda: len(ask("alerts")["alerts"]) == 2, PATIENCE_S)
        assert shape(shown.ask("alerts")) == shape(ask("alerts"))
        [their_group] = ask("rules")["groups"]
        [our_group] = shown.ask("rules", SHOWN)["groups"]
        their_rules, our_rules = their_group.pop("rules"), our_group.pop("rules")
        assert shape(our_group) == shape(their_group)
        for their_rule, our_rule in zip(their_rules, our_rules, strict=False):
            theirs_alone = {name: shape(one, name) for name, one in their_rule.items()}
            assert theirs_alone == {name: shape(one, name) for name, one in our_rule.items() if name in their_rule}


@contextmanager
def evaluating(tmp_path: Path) -> Iterator[str]:
    """A Prometheus with an alert that fires and one that is pending."""
    alerts = [{"alert": "one", "expr": "vector(1) > 0", "labels": {"a": "b"}, "annotations": {"c": "d"}}]
    alerts += [alerts[0] | {"alert": "two", "for": "1h", "keep_firing_for": "1m"}]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "g", "interval": "1s", "rules": alerts}]}))
    with prometheus(tmp_path, {"rule_files": ["rules.yml"]}) as address:
        yield address
