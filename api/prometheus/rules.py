"""Alert rules and their alerts, as Prometheus' rules and alerts show its own. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from aggregator.layout.shown_rules import ShownAlert, ShownRule, ShownRules
from aggregator.time_units import SECOND_US
from api.prometheus.bad_query import BadQuery

Parameters = Sequence[tuple[str, str]]
# What Prometheus says of a rule that was never evaluated.
_NEVER = "0001-01-01T00:00:00Z"


def rule_groups(shown: ShownRules | None, readable: Sequence[ShownRule], parameters: Parameters) -> dict[str, Any]:
    """The readable rules, a group for each project, as far as the parameters ask for them. Raises BadQuery."""
    kind = dict(parameters).get("type", "")
    if kind not in ("", "alert", "record"):
        raise BadQuery(f'invalid parameter "type": not supported value "{kind[:100]}"')
    if shown is None or kind == "record":
        return {"groups": []}
    names, groups, files = (_asked(parameters, name) for name in ("rule_name", "rule_group", "file"))
    if files and shown.file not in files:
        return {"groups": []}
    with_alerts = dict(parameters).get("exclude_alerts", "").lower() not in ("true", "1", "t")
    by_project: dict[str, list[ShownRule]] = {}
    for rule in readable:
        if (not names or rule.name in names) and (not groups or rule.project in groups):
            by_project.setdefault(rule.project, []).append(rule)
    return {"groups": [_group(shown, project, rules, with_alerts) for project, rules in by_project.items()]}


def alerts_of(readable: Sequence[ShownRule]) -> dict[str, Any]:
    """All alerts of the readable rules."""
    return {"alerts": [_alert(alert) for rule in readable for alert in rule.alerts]}


def _asked(parameters: Parameters, name: str) -> set[str]:
    return {value for given, value in parameters if given == f"{name}[]"}


def _group(shown: ShownRules, project: str, rules: Sequence[ShownRule], with_alerts: bool) -> dict[str, Any]:
    evaluated = [rule.evaluated_us for rule in rules if rule.evaluated_us is not None]
    return {
        "name": project,
        "file": shown.file,
        "rules": [dict(_rule(rule, with_alerts)) for rule in rules],
        "interval": shown.interval_s,
        "limit": 0,
        "evaluationTime": 0,
        "lastEvaluation": _instant(max(evaluated, default=None)),
    }


def _rule(rule: ShownRule, with_alerts: bool) -> Iterator[tuple[str, Any]]:
    states = {alert.is_firing for alert in rule.alerts}
    yield "state", "firing" if True in states else "pending" if states else "inactive"
    yield "name", rule.name
    yield "query", rule.condition
    yield "duration", rule.for_s
    yield "keepFiringFor", rule.keep_firing_for_s
    yield "labels", rule.labels
    yield "annotations", rule.annotations
    if with_alerts:
        yield "alerts", [_alert(alert) for alert in rule.alerts]
    yield "health", "err" if rule.trouble else "ok"
    if rule.trouble:
        yield "lastError", rule.trouble
    yield "evaluationTime", 0
    yield "lastEvaluation", _instant(rule.evaluated_us)
    yield "type", "alerting"


def _alert(alert: ShownAlert) -> dict[str, Any]:
    return {
        "labels": alert.labels,
        "annotations": alert.annotations,
        "state": "firing" if alert.is_firing else "pending",
        "activeAt": _instant(alert.began_us),
        "value": "NaN" if alert.value is None else f"{alert.value:e}",
    }


def _instant(at_us: int | None) -> str:
    if at_us is None:
        return _NEVER
    return datetime.fromtimestamp(at_us / SECOND_US, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
