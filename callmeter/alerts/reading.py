"""Asks the api what rules want to know, and how fresh it is."""

import json
import logging
from collections.abc import Sequence
from urllib.parse import quote

from aggregator.timestamps import parse_timestamp_us
from callmeter.alerts.deciding import Look
from callmeter.alerts.measuring import FILTER_OF, Group, filter_of, rfc3339, seen, staleness
from callmeter.alerts.measuring import questions as questions_of
from callmeter.alerts.rules import Rule, Stale
from callmeter.alerts.wording import EXAMPLES, examples_kind, examples_window_us
from callmeter.api_client import ApiClient, NotAnswered

log = logging.getLogger(__name__)

# A lookup of examples by model, which no filter tells apart, looks through so many.
EXAMPLES_LOOKED_AT = 100


class ApiReading:
    """Answers from an api. Used by many threads."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._as_of: dict[str, int] = {}
        self._unanswered: dict[str, str] = {}

    def as_of_us(self, project: str) -> int | None:
        """Through when a project's events are counted; while the api does not answer, what it last said of it."""
        try:
            answer, _ = self._client.ask(f"/projects?prefix={quote(project, safe='')}&limit=1", None)
        except NotAnswered as away:
            self._say(f"project {project}", str(away))
            return self._as_of.get(project)
        self._say(f"project {project}", "")
        for one in answer["projects"]:
            if one["project_id"] == project and one["as_of"] is not None:
                self._as_of[project] = parse_timestamp_us(one["as_of"])
                return self._as_of[project]
        return None

    def look(self, rule: Rule, as_of_us: int | None, now_us: int) -> Look:
        """Return what a rule sees of a project whose events are counted through `as_of_us` (None: it has none yet)."""
        if isinstance(rule, Stale):
            return Look(rule, now_us, staleness(rule, as_of_us, now_us))
        at_us = now_us if as_of_us is None else as_of_us
        try:
            answers = [self._client.ask(one.path, one.body.encode())[0] for one in questions_of(rule, at_us)]
            found = seen(rule, at_us, answers)
        except NotAnswered as refused:
            self._say(f"rule {rule.name}", str(refused))
            return Look(rule, at_us, None)
        except (AttributeError, LookupError, TypeError, ValueError) as odd:
            # An api of another version must not keep the other rules from being looked at.
            self._say(f"rule {rule.name}", f"the answer is not as expected: {odd!r}")
            return Look(rule, at_us, None)
        self._say(f"rule {rule.name}", "")
        return Look(rule, at_us, found)

    def examples(self, rule: Rule, group: Group, at_us: int) -> Sequence[str]:
        """Ids of calls that show what a rule is about; none where the api does not answer."""
        kind = examples_kind(rule)
        if not kind:
            return ()
        start_us, end_us = examples_window_us(rule, at_us)
        asked = filter_of(rule) or {}
        field = FILTER_OF.get(rule.group_by or "")
        if field is not None and group:
            asked |= {field: [group]}
        by_model = rule.group_by == "model"
        body = {
            "project_id": rule.project,
            "start": rfc3339(start_us),
            "end": rfc3339(end_us),
            "kind": kind,
            "filter": asked,
            "limit": EXAMPLES_LOOKED_AT if by_model else EXAMPLES,
        }
        try:
            answer, _ = self._client.ask("/calls/examples", json.dumps(body).encode())
        except NotAnswered as refused:
            log.warning("no examples", extra={"rule": rule.name, "why": str(refused)})
            return ()
        return [one["id"] for one in answer["calls"] if not by_model or group in one["models"]][:EXAMPLES]

    def _say(self, what: str, why: str) -> None:
        """Log why something was not answered, once until it is again."""
        if self._unanswered.get(what, "") == why:
            return
        self._unanswered[what] = why
        if why:
            log.warning("not answered; its alerts stay as they are", extra={"of": what, "why": why})
        else:
            log.info("answered again", extra={"of": what})
