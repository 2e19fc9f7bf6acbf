"""Asks the api what rules want to know: equal questions once, long windows not every second; and how fresh it is."""

import json
import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import quote

from aggregator.timestamps import parse_timestamp_us
from callmeter.alerts.deciding import Look
from callmeter.alerts.measuring import FILTER_OF, Answer, Group, Question, filter_of, rfc3339, seen, staleness
from callmeter.alerts.measuring import questions as questions_of
from callmeter.alerts.rules import Rule, Stale
from callmeter.alerts.wording import EXAMPLES, examples_kind, examples_window_us
from callmeter.api_client import ApiClient, NotAnswered

log = logging.getLogger(__name__)

# A lookup of examples by model, which no filter tells apart, looks through so many.
EXAMPLES_LOOKED_AT = 100
ANSWERS_KEPT_MAX = 2_000


class _Kept(NamedTuple):
    asked_s: float
    answer: Answer


class ApiReading:
    """Answers from an api, kept for as long as their questions allow. `elapsed`: seconds. Used by many threads."""

    def __init__(self, client: ApiClient, elapsed: Callable[[], float]) -> None:
        self._client = client
        self._elapsed = elapsed
        self._kept: dict[Question, _Kept] = {}
        self._as_of: dict[str, int] = {}
        self._lock = threading.Lock()
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
            answers = [self._answer(one) for one in questions_of(rule, at_us)]
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

    def _answer(self, question: Question) -> Answer:
        now_s = self._elapsed()
        kept = self._kept.get(question)
        if kept is not None and now_s - kept.asked_s < question.age_s_max:
            return kept.answer
        answer, _ = self._client.ask(question.path, question.body.encode())
        if question.age_s_max > 1:
            with self._lock:
                if len(self._kept) >= ANSWERS_KEPT_MAX:
                    self._kept.clear()
                self._kept[question] = _Kept(now_s, answer)
        return answer

    def _say(self, what: str, why: str) -> None:
        """Log why something was not answered, once until it is again."""
        if self._unanswered.get(what, "") == why:
            return
        self._unanswered[what] = why
        if why:
            log.warning("not answered; its alerts stay as they are", extra={"of": what, "why": why})
        else:
            log.info("answered again", extra={"of": what})
