"""What a receiver is sent: Alertmanager's API v2, its webhooks' form version 4, Slack, PagerDuty Events v2. Pure."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from aggregator.time_units import SECOND_US
from callmeter.alerts.episodes import Event
from callmeter.alerts.measuring import rfc3339
from callmeter.alerts.receivers import AlertmanagerReceiver, PagerDutyReceiver, Receiver, SlackReceiver

# How long an Alertmanager holds what it is not told again; it is told every third of it.
ALERTMANAGER_HOLDS_S = 180
SUMMARY_CHARACTERS_MAX = 1_000  # PagerDuty takes 1,024
NOT_OVER = "0001-01-01T00:00:00Z"
_PAGERDUTY_SEVERITIES = ("critical", "error", "warning", "info")
_CRITICAL = ("page", "critical")
_SLACK_COLOURS = {Event.FIRING: "danger", Event.RESOLVED: "good"}


class Delivery(msgspec.Struct, frozen=True):
    """One notification to one receiver. `id` is the same however often it is sent, so a repeat can be told.

    `number` is its place in the order in which they came; `attempts` how often it was begun to be sent; `is_sent`: all
    of it is on its way, and whether it arrived is not known yet.
    """

    id: str
    number: int
    receiver: str
    event: Event
    episode_id: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_us: int
    ends_us: int | None
    queued_us: int
    attempts: int = 0
    is_sent: bool = False


class HttpRequest(NamedTuple):
    """A POST of JSON."""

    url: str
    headers: dict[str, str]
    body: bytes


def fingerprint(labels: Mapping[str, str]) -> str:
    """Return a fingerprint that is equal for equal labels."""
    return hashlib.sha256(json.dumps(dict(labels), sort_keys=True).encode()).hexdigest()[:16]


def request_of(receiver: Receiver, delivery: Delivery, now_us: int) -> HttpRequest:
    """Return what a delivery is sent as. Raises ValueError for a secret's file that cannot be read."""
    headers = {"Idempotency-Key": delivery.id}
    if isinstance(receiver, AlertmanagerReceiver):
        return alertmanager_request(receiver, [delivery], now_us)
    if isinstance(receiver, SlackReceiver):
        return _request(receiver, receiver.address(), headers, _slack(delivery))
    if isinstance(receiver, PagerDutyReceiver):
        return _request(receiver, receiver.address(), headers, _pagerduty(delivery, receiver.key()))
    return _request(receiver, receiver.address(), headers, _webhook(delivery))


def alertmanager_request(receiver: AlertmanagerReceiver, alerts: Sequence[Delivery], now_us: int) -> HttpRequest:
    """Return what an Alertmanager is told of alerts; of one that fires, that it does for some minutes from
    `now_us` on.
    """
    body = [
        {
            "labels": one.labels,
            "annotations": one.annotations,
            "startsAt": rfc3339(one.starts_us),
            "endsAt": rfc3339(now_us + ALERTMANAGER_HOLDS_S * SECOND_US if one.ends_us is None else one.ends_us),
            "generatorURL": one.annotations.get("link", ""),
        }
        for one in alerts
    ]
    return _request(receiver, receiver.address().rstrip("/") + "/api/v2/alerts", {}, body)


def _request(receiver: Receiver, url: str, headers: dict[str, str], body: Any) -> HttpRequest:
    authorization = receiver.authorization_header()
    sent = {"Content-Type": "application/json", "User-Agent": "callmeter", **headers}
    return HttpRequest(
        url, sent | ({"Authorization": authorization} if authorization else {}), json.dumps(body).encode()
    )


def _webhook(delivery: Delivery) -> Any:
    alert = {
        "status": delivery.event.value,
        "labels": delivery.labels,
        "annotations": delivery.annotations,
        "startsAt": rfc3339(delivery.starts_us),
        "endsAt": NOT_OVER if delivery.ends_us is None else rfc3339(delivery.ends_us),
        "generatorURL": delivery.annotations.get("link", ""),
        "fingerprint": fingerprint(delivery.labels),
    }
    return {
        "version": "4",
        "groupKey": delivery.episode_id,
        "truncatedAlerts": 0,
        "status": delivery.event.value,
        "receiver": delivery.receiver,
        "groupLabels": delivery.labels,
        "commonLabels": delivery.labels,
        "commonAnnotations": delivery.annotations,
        "externalURL": delivery.annotations.get("link", ""),
        "alerts": [alert],
    }


def _slack(delivery: Delivery) -> Any:
    said = delivery.annotations
    title = f"[{delivery.event.value.upper()}] {_escaped(said.get('summary', ''))}"
    lines = [_escaped(said["description"])] if said.get("description") else []
    lines.append(f"{_escaped(said.get('value', ''))} over {said.get('window', '')}, as of {said.get('as_of', '')}")
    if said.get("examples"):
        lines.append(f"Calls: {_escaped(said['examples'])}")
    if said.get("link"):
        lines.append(f"<{said['link'].replace('|', '%7C').replace('>', '%3E')}|Look at it>")
    return {"text": title, "attachments": [{"color": _SLACK_COLOURS[delivery.event], "text": "\n".join(lines)}]}


def _escaped(text: str) -> str:
    """Escape text as Slack wants it, so that names of ops are no markup nor mentions."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _pagerduty(delivery: Delivery, routing_key: str) -> Any:
    told = {"routing_key": routing_key, "dedup_key": delivery.episode_id}
    if delivery.event is Event.RESOLVED:
        return told | {"event_action": "resolve"}
    severity = delivery.labels.get("severity", "")
    known = "critical" if severity in _CRITICAL else severity if severity in _PAGERDUTY_SEVERITIES else "warning"
    link = delivery.annotations.get("link")
    return told | {
        "event_action": "trigger",
        "client": "callmeter",
        "payload": {
            "summary": delivery.annotations.get("summary", "")[:SUMMARY_CHARACTERS_MAX],
            "source": delivery.labels.get("project", "callmeter"),
            "severity": known,
            "timestamp": rfc3339(delivery.starts_us),
            "custom_details": {**delivery.labels, **delivery.annotations},
        },
        "links": [{"href": link, "text": "Look at it"}] if link else [],
    }
