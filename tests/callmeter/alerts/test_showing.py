"""What is shown of rules: conditions in words, and no more alerts than anybody reads."""

from typing import Any

import pytest

from aggregator.layout.shown_rules import ALERTS_SHOWN_MAX
from callmeter.alerts.deciding import Key, Look
from callmeter.alerts.episodes import Episode
from callmeter.alerts.showing import condition_of, shown_rules
from tests.callmeter.alerts.rule_files import PROJECT, rule

NOW_US = 1_800_000_000_000_000


@pytest.mark.parametrize(
    ("told", "condition"),
    [
        ({"kind": "threshold", "metric": "call_count", "window": "5m", "below": 3}, "call_count over 5m < 3"),
        (
            {"kind": "rate", "metric": "error_count", "window": "5m", "per": "minute", "above": 1.5},
            "error_count per minute over 5m > 1.5",
        ),
        (
            {"kind": "ratio", "window": "1m", "above": 0.5, "group_by": "op_name"},
            "error_count / call_count over 1m > 0.5 by op_name",
        ),
        (
            {"kind": "percentile", "percentile": 99.9, "window": "5m", "above": 2000},
            "p99.9 of latency_ms over 5m > 2000",
        ),
        ({"kind": "cost", "per": "hour", "above": 10}, "total_cost per hour over 1h > 10"),
        (
            {"kind": "change", "metric": "call_count", "window": "1h", "below": -0.5},
            "change of call_count against the week before over 1h < -0.5",
        ),
        ({"kind": "no_data", "window": "10m", "group_by": "model"}, "no call for 10m by model"),
        ({"kind": "stale", "above": "2m"}, "age of answers > 2m"),
        (
            {"kind": "burn_rate", "objective": 0.99, "windows": [{"long": "1h", "short": "5m", "factor": 14.4}]},
            "burn rate of the error budget of 0.99 over 1h and 5m > 14.4",
        ),
    ],
)
def test_conditions(told: dict[str, Any], condition: str) -> None:
    """Each kind of rule says what it looks at, over which window, beyond what, by which dimension."""
    assert condition_of(rule(**told)) == condition


def test_a_storm_is_cut() -> None:
    """Alerts that fire come first where there are more than are shown, the oldest before the others."""
    errors = rule()
    episodes: dict[Key, Episode] = {
        (errors.name, PROJECT, f"op-{at}"): Episode(
            errors.name, f"op-{at}", NOW_US - at, NOW_US, 1.0, fired_us=NOW_US if at % 2 else None
        )
        for at in range(3 * ALERTS_SHOWN_MAX)
    }
    [shown] = shown_rules("alerts.yaml", 1.0, [Look(errors, NOW_US, None)], episodes).rules
    assert len(shown.alerts) == ALERTS_SHOWN_MAX
    assert all(alert.is_firing for alert in shown.alerts)
    assert shown.alerts[0].began_us == NOW_US - (3 * ALERTS_SHOWN_MAX - 1)
    assert (shown.evaluated_us, shown.trouble) == (None, "the api does not answer")
