"""Files of rules for tests, from what differs."""

from typing import Any

import yaml

from callmeter.alerts.rule_file import rules_of
from callmeter.alerts.rules import Rule, RuleFile

PROJECT = "acme/agents"
HOOK = {"name": "hook", "type": "webhook", "url": "http://127.0.0.1:1/hook"}


def rule_file(*rules: dict[str, Any], **told: Any) -> RuleFile:
    """A file with these rules, and a webhook."""
    return rules_of(yaml.safe_dump(as_told(*rules, **told)).encode(), "alerts.yaml")


def as_told(*rules: dict[str, Any], **told: Any) -> dict[str, Any]:
    """Returns what stands in such a file."""
    return {"project": PROJECT, "receivers": [HOOK], "rules": list(rules)} | told


def rule(**told: Any) -> Rule:
    """A rule; by itself one on the share of errors."""
    usual = {"name": "errors", "kind": "ratio", "window": "5m", "above": 0.05}
    usual = usual if "kind" not in told else {"name": "one"}
    return rule_file(usual | told).rules[0]
