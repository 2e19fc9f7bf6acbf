"""docker-compose.yml: what its profile `monitoring` starts is pinned, finds its files, and they are right."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from callmeter.alerts.rule_file import read_rule_file
from callmeter.settings_reading import read_settings
from tests.support.paths import ROOT

MONITORING = {"alerter", "prometheus", "alertmanager", "grafana"}
PROVISIONED = ROOT / "ops" / "grafana"


def compose() -> dict[str, Any]:
    """The file, with what it refers to put in."""
    read: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read


def mounts(service: dict[str, Any]) -> list[tuple[str, str]]:
    """Returns where each mount of a service comes from, and where it is."""
    return [(source, target) for source, target, *_ in (one.split(":") for one in service.get("volumes", ()))]


def test_the_profile_starts_these_alone() -> None:
    """Nothing is started without the profile that was not before."""
    services = compose()["services"]
    assert {name for name, one in services.items() if one.get("profiles") == ["monitoring"]} == MONITORING
    assert not any(one.get("profiles") for name, one in services.items() if name not in MONITORING)


def test_images_are_pinned() -> None:
    """Images are pinned to a version, not to whatever is newest."""
    for name, service in compose()["services"].items():
        image = service["image"]
        assert image == "callmeter" or re.search(r":v?\d+\.\d+\.\d+", image), (name, image)


def test_all_mounts_are_there() -> None:
    """Files of the repository, or volumes that the file names."""
    document = compose()
    found = [source for one in document["services"].values() for source, _ in mounts(one)]
    assert len(found) > 5
    for source in found:
        if source.startswith("."):
            assert (ROOT / source).exists(), source
        else:
            assert source in document["volumes"], source
    asked = {name for one in document["services"].values() for name in one.get("depends_on", ())}
    assert asked <= set(document["services"])


def test_settings_of_all_services_are_known() -> None:
    """A variable that is none would stop its service."""
    seen = 0
    for name, service in compose()["services"].items():
        given = {variable: str(value) for variable, value in service.get("environment", {}).items()}
        if service["image"] == "callmeter":
            seen += len(given)
            assert read_settings({key: value for key, value in given.items() if not value.startswith("$")}), name
    assert seen > 6


def test_the_alerters_rules_are_right() -> None:
    """The alerter's rules are right, and tell the Alertmanager that is started beside it."""
    [receiver] = read_rule_file(ROOT / "ops" / "alerts.yaml").receivers
    assert receiver.address() == "http://alertmanager:9093"


def test_what_grafana_is_given() -> None:
    """Boards are where their provider looks, each with its own uid, and all of them ask the source that is given."""
    [source] = yaml.safe_load((PROVISIONED / "provisioning/datasources/callmeter.yaml").read_text())["datasources"]
    [provider] = yaml.safe_load((PROVISIONED / "provisioning/dashboards/callmeter.yaml").read_text())["providers"]
    grafana = compose()["services"]["grafana"]
    assert ("./ops/grafana/dashboards", provider["options"]["path"]) in mounts(grafana)
    for variable in re.findall(r"\$\{(\w+)\}", json.dumps(source)):
        assert variable in grafana["environment"]
    boards = [json.loads(path.read_text()) for path in sorted((PROVISIONED / "dashboards").glob("*.json"))]
    assert len({one["uid"] for one in boards}) == len(boards) == 3
    uids = {uid for board in boards for uid in re.findall(r'"type": "prometheus", "uid": "([^"]*)"', json.dumps(board))}
    assert uids == {source["uid"]}


def test_grafanas_alert_rules() -> None:
    """Each has a uid of its own, asks the source that is given, and its condition is one of its queries."""
    [source] = yaml.safe_load((PROVISIONED / "provisioning/datasources/callmeter.yaml").read_text())["datasources"]
    text = (PROVISIONED / "provisioning/alerting/callmeter.yaml").read_text()
    rules = [rule for group in yaml.safe_load(text)["groups"] for rule in group["rules"]]
    assert len({one["uid"] for one in rules}) == len(rules) == 4
    for rule in rules:
        asked, beyond = rule["data"]
        assert (asked["datasourceUid"], beyond["datasourceUid"]) == (source["uid"], "__expr__")
        assert (beyond["model"]["expression"], rule["condition"]) == (asked["refId"], beyond["refId"])
    # What stands alone would be a variable of Grafana's environment.
    assert not re.search(r"(?<!\$)\$(?!\$)", text.replace("$$", "").replace("`$`", ""))


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (("promtool", "check", "config"), "ops/prometheus/prometheus.yml"),
        (("amtool", "check-config"), "ops/alertmanager/alertmanager.yml"),
    ],
)
def test_their_own_checks_pass(command: tuple[str, ...], file: str) -> None:
    """The files pass the checks of Prometheus' and Alertmanager's own programs."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} on this machine: apt-get install prometheus prometheus-alertmanager")
    path = Path(file)
    done = subprocess.run([*command, path.name], cwd=ROOT / path.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout
