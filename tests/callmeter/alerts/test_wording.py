"""What alerts say, and the bodies that each kind of receiver is sent."""

import json
from typing import Any

import pytest

from aggregator.time_units import SECOND_US
from callmeter.alerts.deciding import EpisodeEvent, deliveries_of, episode_id
from callmeter.alerts.episodes import Episode, Event
from callmeter.alerts.measuring import Seen
from callmeter.alerts.notifications import NOT_OVER, Delivery, alertmanager_request, request_of
from callmeter.alerts.receivers import AlertmanagerReceiver
from callmeter.alerts.wording import annotations_of, labels_of, value_text
from tests.callmeter.alerts.rule_files import rule, rule_file

AT_US = 1_800_000_000 * SECOND_US
OP = "chat <!channel> & co"


def delivery(event: Event, receiver: str = "hook") -> Delivery:
    """A notification of errors of an op whose name is markup."""
    told = rule(group_by="op_name", severity="page", summary="{value} of {group} fail", labels={"team": "agents"})
    said = annotations_of(told, OP, Seen(0.25, True, 0.05), AT_US, ["c-1", "c-2"], "https://callmeter.example/")
    episode = Episode(told.name, OP, AT_US, AT_US, 0.25, AT_US, AT_US, labels_of(told, OP), said, (receiver,))
    [found] = deliveries_of(
        EpisodeEvent(event, ("errors", "acme/agents", OP), episode, AT_US + 90 * SECOND_US), 7, AT_US
    )
    return found


def sent(receiver: dict[str, Any], event: Event) -> tuple[str, dict[str, str], Any]:
    """Address, headers and body of what a receiver is sent."""
    file = rule_file({"name": "a", "kind": "stale", "above": "1m"}, receivers=[{"name": "r"} | receiver])
    request = request_of(file.receivers[0], delivery(event, "r"), AT_US + 90 * SECOND_US)
    return request.url, request.headers, json.loads(request.body)


def test_what_is_said() -> None:
    """Value, threshold, window, as-of, link and examples, and the words of the template."""
    said = delivery(Event.FIRING).annotations
    assert said == {
        "summary": f"25 % of {OP} fail",
        "value": "25 %",
        "threshold": "5 %",
        "window": "5m",
        "as_of": "2027-01-15T08:00:00Z",
        "link": "https://callmeter.example/?project=acme/agents&from=2027-01-15T07:45:00Z&to=2027-01-15T08:00:00Z"
        "&op=chat%20%3C%21channel%3E%20%26%20co&by=op_name",
        "examples": "c-1, c-2",
    }


def test_labels_name_the_alert() -> None:
    """The rule's own cannot hide which rule, project and severity it is."""
    told = rule(group_by="op_name", labels={"team": "agents", "severity": "none"}, severity="page")
    assert labels_of(told, "chat") == {
        "alertname": "errors",
        "project": "acme/agents",
        "severity": "page",
        "team": "agents",
        "op_name": "chat",
    }
    assert "op_name" not in labels_of(told, "")


@pytest.mark.parametrize(
    ("told", "value", "text"),
    [
        ({"kind": "threshold", "metric": "total_tokens", "window": "5m", "above": 1}, 12_345.0, "12,345"),
        ({"kind": "rate", "metric": "call_count", "window": "5m", "above": 1}, 2.5, "2.5 per second"),
        ({"kind": "cost", "per": "hour", "above": 1}, 12.345, "$12.35 per hour"),
        ({"kind": "cost", "per": "day", "above": 1}, 0.0123456, "$0.01235 per day"),
        ({"kind": "percentile", "percentile": 95, "window": "5m", "above": 1}, 4_193.2, "4,193 ms"),
        ({"kind": "change", "metric": "call_count", "window": "5m", "above": 1}, 0.5, "+50 %"),
        ({"kind": "burn_rate", "objective": 0.9}, 15.04, "15 times the budget"),
        ({"kind": "no_data", "window": "5m"}, 0.0, "0 calls"),
        ({"kind": "stale", "above": "60s"}, 61.2, "61 s"),
    ],
)
def test_values_have_units(told: dict[str, Any], value: float, text: str) -> None:
    """Values have units, as people say them."""
    assert value_text(rule(**told), value) == text


def test_the_webhook_form() -> None:
    """Version 4, as Alertmanager sends it; the id of the delivery is the same however often it is sent."""
    hook = {"type": "webhook", "url": "http://h/x", "authorization": "Bearer t"}
    url, headers, body = sent(hook, Event.FIRING)
    assert url == "http://h/x"
    assert headers["Authorization"] == "Bearer t"
    assert headers["Idempotency-Key"] == delivery(Event.FIRING, "r").id
    assert set(body) == {
        *("version", "groupKey", "truncatedAlerts", "status", "receiver", "groupLabels", "commonLabels"),
        *("commonAnnotations", "externalURL", "alerts"),
    }
    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "r")
    [alert] = body["alerts"]
    assert set(alert) == {*("status", "labels", "annotations", "startsAt", "endsAt", "generatorURL", "fingerprint")}
    assert (alert["startsAt"], alert["endsAt"]) == ("2027-01-15T08:00:00Z", NOT_OVER)
    _, headers, resolved = sent(hook, Event.RESOLVED)
    assert headers["Idempotency-Key"] != delivery(Event.FIRING, "r").id
    assert (resolved["status"], resolved["alerts"][0]["endsAt"]) == ("resolved", "2027-01-15T08:01:30Z")
    assert resolved["groupKey"] == body["groupKey"]


def test_slack_takes_no_markup_from_producers() -> None:
    """Names of ops mention nobody."""
    _, _, body = sent({"type": "slack", "url": "https://hooks.slack.example/x"}, Event.FIRING)
    assert body["text"] == "[FIRING] 25 % of chat &lt;!channel&gt; &amp; co fail"
    assert "<!channel>" not in json.dumps(body)
    assert body["attachments"][0]["color"] == "danger"


def test_pagerduty_events() -> None:
    """Trigger and resolve have one key; the severity is one that PagerDuty knows."""
    url, _, body = sent({"type": "pagerduty", "routing_key": "R"}, Event.FIRING)
    assert url == "https://events.pagerduty.com/v2/enqueue"
    assert (body["event_action"], body["routing_key"], body["payload"]["severity"]) == ("trigger", "R", "critical")
    _, _, resolved = sent({"type": "pagerduty", "routing_key": "R"}, Event.RESOLVED)
    assert resolved == {"routing_key": "R", "event_action": "resolve", "dedup_key": body["dedup_key"]}


def test_alertmanager_is_told_until_when() -> None:
    """An alert that fires is held for minutes from now on; one that is over ended when it did."""
    url, _, [alert] = sent({"type": "alertmanager", "url": "http://am:9093/"}, Event.FIRING)
    assert url == "http://am:9093/api/v2/alerts"
    assert (alert["startsAt"], alert["endsAt"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:04:30Z")
    receiver = AlertmanagerReceiver.model_validate({"name": "am", "type": "alertmanager", "url": "http://am:9093"})
    [over] = json.loads(alertmanager_request(receiver, [delivery(Event.RESOLVED)], AT_US).body)
    assert over["endsAt"] == "2027-01-15T08:01:30Z"


def test_two_episodes_are_told_apart() -> None:
    """An alert with the same labels at another time is another episode."""
    one = Episode("errors", None, 0, 0, 1.0, 5, 5, {"alertname": "errors"})
    other = Episode("errors", None, 0, 0, 1.0, 6, 6, {"alertname": "errors"})
    assert episode_id(one) != episode_id(other)
